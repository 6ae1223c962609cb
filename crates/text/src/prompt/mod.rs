//! Prompts: a conversation as the model was trained to read it.
//!
//! Each generation of the family has its own format; the known ones are rendered here natively, a file per style.
//! Which style a model wants is found by experiment rather than by name: the model's own chat template is run once in
//! a sandbox on short conversations, and a native style is taken only if it writes exactly the same (`detect.rs`). Any
//! other template is run in the sandbox for every prompt (`template.rs`).
//!
//! In every style, message texts become [`Piece::Text`] and nothing else, so a user cannot write a control token.
//! Markers that are plain text to the model, such as V2's `User:`, can be imitated by a user; that is the format's
//! doing.

mod chatml;
mod deepseek;
mod detect;
pub(crate) mod pieces;
mod rewrite;
mod sandbox;
mod sentinel;
mod template;
mod tojson;
mod values;

pub use deepseek::Reasoning;
pub use template::ForeignTemplate;
pub(crate) use tojson::spaced_json;

use crate::error::Error;
use crate::tokenizer::{Piece, Tokenizer};
use crate::tools::{CallFormat, Tool, ToolCall, as_text};

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions for the whole conversation.
    System,
    /// The person asking.
    User,
    /// The model.
    Assistant,
    /// A function that the model has called.
    Tool,
}

impl Role {
    /// The role's name in chat templates.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// What the model thought before it said this, if it is known. The native styles leave it out, as the official
    /// templates do; a foreign template gets it as `reasoning_content`.
    pub reasoning: Option<String>,
    /// Functions that the model called after it said this.
    pub calls: Vec<ToolCall>,
}

impl Message {
    /// A message without reasoning.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), reasoning: None, calls: Vec::new() }
    }
}

/// Whether the model is to reason before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Thinking {
    /// Reason. Models that cannot answer directly.
    On,
    /// Answer directly.
    Off,
    /// What the model's own template does.
    #[default]
    Default,
}

/// A conversation ready for the tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Parts in order, the beginning-of-sequence token among them where the style has one. No two texts adjoin.
    pub pieces: Vec<Piece>,
    /// Whether what the model writes first is already reasoning.
    pub reasoning_open: bool,
}

impl Prompt {
    /// The prompt as one text, for a person to read; special tokens cannot be told from text in it.
    #[must_use]
    pub fn text(&self) -> String {
        self.pieces.iter().map(|(Piece::Text(text) | Piece::Special(text))| text.as_str()).collect()
    }
}

/// How a model reads a conversation.
#[derive(Clone, Debug)]
pub enum PromptStyle {
    /// DeepSeek-V2 and V2-Lite: `User: x`, blank line, `Assistant:`.
    DeepseekV2,
    /// DeepSeek-V3, V3-0324, R1 and the distilled models: `<｜User｜>x<｜Assistant｜>`.
    DeepseekV3 {
        /// Whether and when the prompt opens reasoning.
        reasoning: Reasoning,
    },
    /// DeepSeek-V3.1: like V3, and every answer opens with `<think>` or `</think>`.
    DeepseekV31,
    /// `<|im_start|>role`, text, `<|im_end|>`: Qwen, SmolLM and many others.
    ChatMl {
        /// System message the model's own template adds where a conversation has none at its start.
        default_system: Option<String>,
        /// Whether the vocabulary has tokens for the marks of calls.
        has_call_marks: bool,
    },
    /// Any other template, run in the sandbox.
    Template(Box<ForeignTemplate>),
    /// No chat format: a base model. Texts are joined by blank lines.
    Plain {
        /// Token that opens a sequence, if the tokenizer adds one.
        bos: Option<String>,
    },
}

impl PromptStyle {
    /// Finds the style of a model from its chat template, or without one from its vocabulary.
    ///
    /// # Errors
    /// If the template does not parse, or does not run and gives no hint at a known style.
    pub fn detect(template: Option<&str>, tokenizer: &Tokenizer) -> Result<Self, Error> {
        detect::detect(template, tokenizer)
    }

    /// The style of a model that goes on with what it is given.
    #[must_use]
    pub fn plain(tokenizer: &Tokenizer) -> Self {
        Self::Plain { bos: tokenizer.bos_text().filter(|_| tokenizer.adds_bos()).map(str::to_owned) }
    }

    /// A short name for people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::DeepseekV2 => "deepseek-v2",
            Self::DeepseekV3 { reasoning: Reasoning::ByDefault } => "deepseek-r1",
            Self::DeepseekV3 { .. } => "deepseek-v3",
            Self::DeepseekV31 => "deepseek-v3.1",
            Self::ChatMl { .. } => "chatml",
            Self::Template(_) => "template",
            Self::Plain { .. } => "plain",
        }
    }

    /// How the model is to write calls of functions: as it was trained to, if its vocabulary has the marks for it, and else in
    /// Hermes' format, of which it is told in plain text.
    #[must_use]
    pub fn call_format(&self, tokenizer: &Tokenizer) -> CallFormat {
        let format = match self {
            Self::DeepseekV3 { .. } => CallFormat::DeepseekV3,
            Self::DeepseekV31 => CallFormat::DeepseekV31,
            _ => CallFormat::Hermes,
        };
        if format.fits(tokenizer) { format } else { CallFormat::Hermes }
    }

    /// Renders a conversation up to where the model goes on.
    ///
    /// # Errors
    /// If there is no message, or a foreign template fails or refuses.
    pub fn render(&self, messages: &[Message], thinking: Thinking) -> Result<Prompt, Error> {
        self.render_with_tools(messages, &[], CallFormat::Hermes, thinking)
    }

    /// Renders a conversation in which the model may call `tools`; `format` is that of [`PromptStyle::call_format`].
    ///
    /// # Errors
    /// As [`PromptStyle::render`].
    pub fn render_with_tools(
        &self,
        messages: &[Message],
        tools: &[Tool],
        format: CallFormat,
        thinking: Thinking,
    ) -> Result<Prompt, Error> {
        if messages.is_empty() {
            return Err(Error::NoMessages);
        }
        let is_native = match self {
            Self::DeepseekV3 { .. } | Self::DeepseekV31 => format != CallFormat::Hermes,
            Self::ChatMl { has_call_marks, .. } => *has_call_marks,
            Self::DeepseekV2 | Self::Template(_) | Self::Plain { .. } => false,
        };
        let has_calls = |message: &Message| message.role == Role::Tool || !message.calls.is_empty();
        if !is_native && (!tools.is_empty() || messages.iter().any(has_calls)) {
            let messages = as_text(messages, tools, self.default_system());
            return self.render_with_tools(&messages, &[], format, thinking);
        }
        Ok(match self {
            Self::DeepseekV2 => deepseek::v2(messages),
            Self::DeepseekV3 { reasoning } => deepseek::v3(messages, tools, *reasoning, thinking),
            Self::DeepseekV31 => deepseek::v31(messages, tools, thinking),
            Self::ChatMl { default_system, .. } => chatml::render(messages, tools, default_system.as_deref()),
            Self::Template(template) => template.render(messages, thinking)?,
            Self::Plain { bos } => plain(messages, bos.as_deref()),
        })
    }
}

impl PromptStyle {
    /// The system message that stands where a conversation has none.
    fn default_system(&self) -> Option<&str> {
        match self {
            Self::ChatMl { default_system, .. } => default_system.as_deref(),
            _ => None,
        }
    }
}

fn plain(messages: &[Message], bos: Option<&str>) -> Prompt {
    let mut pieces = pieces::Pieces::new();
    if let Some(bos) = bos {
        pieces.special(bos);
    }
    for (idx, message) in messages.iter().enumerate() {
        if idx > 0 {
            pieces.text("\n\n");
        }
        pieces.text(&message.content);
    }
    pieces.prompt(false)
}
