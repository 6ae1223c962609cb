//! Any chat template, run in a sandbox.
//!
//! A template is a program from an untrusted file. It runs in bounded time and memory (`sandbox.rs`). Message texts do
//! not enter it (`sentinel.rs`). What the template writes around them is searched for the vocabulary's special
//! tokens; the messages' texts never are.
//!
//! The environment is the one Hugging Face gives templates: blocks trimmed, Python's string methods, `tojson` in
//! Python's style, `raise_exception`, `tools` and `documents` present and none. `strftime_now` is absent, as templates
//! allow for: the same conversation gives the same prompt on every day.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::Value;

use super::pieces::Pieces;
use super::sandbox;
use super::sentinel::{self, Stretch, Texts};
use super::{Message, Prompt, Role, Thinking};
use crate::added::{self, TextSet};
use crate::error::Error;
use crate::reasoning::THINK_OPEN;
use crate::tokenizer::Tokenizer;

/// How often messages may stand in the output in full.
const REPEATS_MAX: usize = 4;

/// A parsed chat template with the special tokens it may write. Cheap to clone.
#[derive(Clone)]
pub struct ForeignTemplate {
    inner: Arc<Inner>,
}

struct Inner {
    source: Arc<str>,
    specials: Option<TextSet>,
    tokenizer: Tokenizer,
}

impl std::fmt::Debug for ForeignTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ForeignTemplate")
    }
}

impl ForeignTemplate {
    /// Parses a template for a model with this tokenizer.
    ///
    /// # Errors
    /// If the template is too long, does not parse, or could forge the stand-ins of messages.
    pub fn new(source: &str, tokenizer: &Tokenizer) -> Result<Self, Error> {
        if source.len() > sandbox::SOURCE_BYTES_MAX {
            return Err(Error::TemplateLength { found: source.len(), max: sandbox::SOURCE_BYTES_MAX });
        }
        if sentinel::occurs_in(source) {
            return Err(Error::TemplateSyntax { reason: "it holds characters for private use".into() });
        }
        let specials = TextSet::new(tokenizer.markup())?;
        let source: Arc<str> = source.into();
        sandbox::check(&source)?;
        Ok(Self { inner: Arc::new(Inner { source, specials, tokenizer: tokenizer.clone() }) })
    }

    /// Renders a conversation.
    ///
    /// # Errors
    /// If the template fails, refuses, runs out of fuel, writes too much, or takes a message's text apart.
    pub(super) fn render(&self, messages: &[Message], thinking: Thinking) -> Result<Prompt, Error> {
        let mut texts = Texts::default();
        let context = context(messages, thinking, &mut texts, &self.inner.tokenizer);
        let output = sandbox::run(&self.inner.source, context, messages.len())?;
        self.pieces(&output, &texts, messages)
    }

    /// Cuts the output into messages' texts, special tokens and the template's own words.
    fn pieces(&self, output: &str, texts: &Texts, messages: &[Message]) -> Result<Prompt, Error> {
        let stretches = texts.cut(output)?;
        let own: usize =
            messages.iter().map(|m| m.content.len() + m.reasoning.as_ref().map_or(0, String::len)).sum();
        let max = own.saturating_mul(REPEATS_MAX).max(sandbox::OUTPUT_BYTES_MAX);
        let total: usize =
            stretches.iter().map(|(Stretch::Template(text) | Stretch::Message(text))| text.len()).sum();
        if total > max {
            return Err(Error::TemplateOutput { max });
        }
        let mut pieces = Pieces::new();
        for stretch in stretches {
            match stretch {
                Stretch::Message(text) => pieces.text(text),
                Stretch::Template(text) => self.template_text(text, &mut pieces),
            }
        }
        let opened = output.trim_end().ends_with(THINK_OPEN);
        Ok(pieces.prompt(opened))
    }

    fn template_text(&self, text: &str, pieces: &mut Pieces) {
        let Some(specials) = &self.inner.specials else { return pieces.text(text) };
        specials.cut(text, |stretch| match stretch {
            added::Stretch::Text(text) => pieces.text(text),
            added::Stretch::Token(id) => {
                pieces.special(&String::from_utf8_lossy(self.inner.tokenizer.token_bytes(id)));
            }
        });
    }
}

/// The variables a template sees.
fn context<'t>(
    messages: &'t [Message],
    thinking: Thinking,
    texts: &mut Texts<'t>,
    tokenizer: &Tokenizer,
) -> Value {
    let mut list = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let content = match message.role {
            Role::Assistant => texts.said(&message.content, index),
            _ => texts.stand_in(&message.content, index),
        };
        let mut fields = vec![("role", Value::from(message.role.name())), ("content", Value::from(content))];
        if let Some(reasoning) = &message.reasoning {
            fields.push(("reasoning_content", Value::from(texts.stand_in(reasoning, index))));
        }
        list.push(map(fields));
    }
    let mut variables = vec![
        ("messages", Value::from(list)),
        ("add_generation_prompt", Value::from(true)),
        ("tools", Value::from(())),
        ("documents", Value::from(())),
    ];
    for (name, text) in [("bos_token", tokenizer.bos_text()), ("eos_token", tokenizer.eos_text())] {
        variables.push((name, Value::from(text.unwrap_or_default())));
    }
    if let Some(on) = match thinking {
        Thinking::On => Some(true),
        Thinking::Off => Some(false),
        Thinking::Default => None,
    } {
        variables.extend([("enable_thinking", Value::from(on)), ("thinking", Value::from(on))]);
    }
    map(variables)
}

fn map(fields: Vec<(&'static str, Value)>) -> Value {
    Value::from(fields.into_iter().collect::<BTreeMap<_, _>>())
}
