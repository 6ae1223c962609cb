//! Finds a model's prompt style.
//!
//! Names and substrings lie: people edit templates. So the template is run on short conversations, and a native style
//! is chosen only if it writes the same text for all of them, with thinking left alone, on and off. Otherwise the
//! template itself is obeyed. Only a template that does not run at all is judged by the words in it.
//!
//! V3.2 and V4 are the exception: they were published with programs instead of templates, so whatever template a file of theirs holds is a
//! converter's translation, and none of those says all that the programs say. Such a template tells which format it is by the
//! block that it writes calls in; without one the vocabulary tells V4, and the architecture V3.2, whose vocabulary is V3.1's. See decision 0011.

use super::chatml;
use super::deepseek::{ASSISTANT, BOS, EOS, Reasoning, USER};
use super::{ForeignTemplate, Message, PromptStyle, Role, Thinking};
use crate::error::Error;
use crate::reasoning::{THINK_CLOSE, THINK_OPEN};
use crate::tokenizer::Tokenizer;
use crate::tools::{CallFormat, V4Release};

/// What a file says of the model in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The architecture, as GGUF names it.
    pub architecture: String,
    /// The model's name and version, and those of the model that it was made from, however they are written.
    pub names: Vec<String>,
}

pub(super) fn detect(
    template: Option<&str>,
    tokenizer: &Tokenizer,
    origin: &Origin,
) -> Result<PromptStyle, Error> {
    let has = |texts: &[&str]| texts.iter().all(|text| tokenizer.special(text).is_some());
    let has_marks = has(&[THINK_OPEN, THINK_CLOSE]);
    if has_marks
        && has(&[BOS, EOS, USER, ASSISTANT])
        && let Some(style) = detect_dsml(template, tokenizer, origin)
    {
        return Ok(style);
    }
    let on_request = if has_marks { Reasoning::OnRequest } else { Reasoning::Never };
    let Some(source) = template.filter(|source| !source.trim().is_empty()) else {
        return Ok(if has(&[BOS, EOS, USER, ASSISTANT]) {
            PromptStyle::DeepseekV3 { reasoning: on_request }
        } else if has(&[chatml::START, chatml::END]) {
            PromptStyle::ChatMl { default_system: None, has_call_marks: has(&chatml::CALL_MARKS) }
        } else {
            PromptStyle::plain(tokenizer)
        });
    };
    let foreign = ForeignTemplate::new(source, tokenizer);
    let learnt = foreign.and_then(|foreign| Ok((learn_default_system(&foreign)?, foreign)));
    let (default_system, foreign) = match learnt {
        Ok(learnt) => learnt,
        Err(err) => return judge_by_words(source, &has, on_request).ok_or(err),
    };
    let mut candidates = Vec::new();
    if has(&[BOS, EOS, USER, ASSISTANT]) {
        candidates.push(PromptStyle::DeepseekV3 { reasoning: on_request });
        if has_marks {
            candidates.push(PromptStyle::DeepseekV3 { reasoning: Reasoning::ByDefault });
            candidates.push(PromptStyle::DeepseekV31);
        }
    }
    if has(&[BOS, EOS]) {
        candidates.push(PromptStyle::DeepseekV2);
    }
    if has(&[chatml::START, chatml::END]) {
        candidates.push(PromptStyle::ChatMl { default_system, has_call_marks: has(&chatml::CALL_MARKS) });
    }
    let foreign = PromptStyle::Template(Box::new(foreign));
    Ok(candidates.into_iter().find(|native| agrees(native, &foreign)).unwrap_or(foreign))
}

/// The style of a model that writes calls in DSML, if it is one whose prompts are known.
fn detect_dsml(template: Option<&str>, tokenizer: &Tokenizer, origin: &Origin) -> Option<PromptStyle> {
    const MARK: &str = "｜DSML｜";
    let release = release(origin);
    let fits_v4 = CallFormat::DeepseekV4(release).fits(tokenizer);
    match template.filter(|source| !source.trim().is_empty()) {
        // The template puts the mark and the tag together from parts.
        Some(source) if source.contains(MARK) && source.contains("function_calls>") => {
            Some(PromptStyle::DeepseekV32)
        }
        Some(source) if source.contains(MARK) && source.contains("tool_calls>") => {
            fits_v4.then_some(PromptStyle::DeepseekV4(release))
        }
        Some(_) => None,
        // V4.1 has a token for system messages, and other prompts.
        None if fits_v4 && tokenizer.special("<｜System｜>").is_none() => {
            Some(PromptStyle::DeepseekV4(release))
        }
        None => {
            let says = |word: &str| origin.names.iter().any(|name| words(name).contains(word));
            // V3.2-Exp was asked as V3.1 was.
            let is_v32 = (origin.architecture == "deepseek32" || says(" v3.2 ")) && !says(" exp ");
            is_v32.then_some(PromptStyle::DeepseekV32)
        }
    }
}

/// Which V4 a file holds. The preview has no date in its name and every later release has one, so a name that says V4 and no date is the
/// preview's. A file that does not say is taken for the newest.
fn release(origin: &Origin) -> V4Release {
    let is_date = |word: &str| {
        let number =
            word.parse::<u32>().ok().filter(|_| word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit()));
        number.is_some_and(|number| (1..=12).contains(&(number / 100)) && (1..=31).contains(&(number % 100)))
    };
    let names: Vec<String> = origin.names.iter().map(|name| words(name)).collect();
    let has_date = names.iter().any(|name| name.split(' ').any(is_date));
    if !has_date && names.iter().any(|name| name.contains(" v4 ")) {
        V4Release::Preview
    } else {
        V4Release::Dated
    }
}

/// A name in small letters, a space around each of its words.
fn words(name: &str) -> String {
    let separated = name.to_lowercase().replace(|c: char| !c.is_alphanumeric() && c != '.', " ");
    format!(" {} ", separated.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The probes: one question; an exchange under a system message; a longer exchange.
fn probes() -> [Vec<Message>; 3] {
    let user = |text: &str| Message::new(Role::User, text);
    let assistant = |text: &str| Message::new(Role::Assistant, text);
    [
        vec![user("first question")],
        vec![Message::new(Role::System, "instructions"), user("first"), assistant("answer"), user("second")],
        vec![user("first"), assistant("one"), user("second"), assistant("two"), user("third")],
    ]
}

/// Whether `native` may stand for `foreign`: both write the same. Of the native styles V3.1's follows a switch for
/// thinking as its template does; the template of any other must not have one, for the style would not follow it.
fn agrees(native: &PromptStyle, foreign: &PromptStyle) -> bool {
    let follows_switch = matches!(native, PromptStyle::DeepseekV31);
    probes().iter().all(|probe| {
        let text = |style: &PromptStyle, thinking| style.render(probe, thinking).map(|prompt| prompt.pieces);
        let default = text(foreign, Thinking::Default);
        default.is_ok()
            && text(native, Thinking::Default) == default
            && [Thinking::On, Thinking::Off].into_iter().all(|thinking| {
                let expected = if follows_switch { text(native, thinking) } else { default.clone() };
                text(foreign, thinking) == expected
            })
    })
}

/// The system message a ChatML template adds on its own.
fn learn_default_system(foreign: &ForeignTemplate) -> Result<Option<String>, Error> {
    let text = foreign.render(&probes()[0], Thinking::Default)?.text();
    let system = text.strip_prefix("<|im_start|>system\n").and_then(|rest| rest.split_once("<|im_end|>\n"));
    Ok(system.map(|(system, _)| system.to_owned()))
}

/// A guess for a template that does not run.
fn judge_by_words(source: &str, has: &dyn Fn(&[&str]) -> bool, on_request: Reasoning) -> Option<PromptStyle> {
    let says = |words: &str| source.contains(words);
    if says(USER) && says(ASSISTANT) && has(&[BOS, EOS, USER, ASSISTANT]) {
        let marks = on_request != Reasoning::Never;
        return Some(if marks && says("thinking") && says(THINK_CLOSE) {
            PromptStyle::DeepseekV31
        } else if marks && says("<think>\\n") {
            PromptStyle::DeepseekV3 { reasoning: Reasoning::ByDefault }
        } else {
            PromptStyle::DeepseekV3 { reasoning: on_request }
        });
    }
    let chatml = says(chatml::START) && says(chatml::END) && has(&[chatml::START, chatml::END]);
    let has_call_marks = has(&chatml::CALL_MARKS);
    chatml.then_some(PromptStyle::ChatMl { default_system: None, has_call_marks })
}
