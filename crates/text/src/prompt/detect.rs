//! Finds a model's prompt style.
//!
//! Names and substrings lie: people edit templates. So the template is run on short conversations, and a native style
//! is chosen only if it writes the same text for all of them, with thinking left alone, on and off. Otherwise the
//! template itself is obeyed. Only a template that does not run at all is judged by the words in it.

use super::chatml;
use super::deepseek::{ASSISTANT, BOS, EOS, Reasoning, USER};
use super::{ForeignTemplate, Message, PromptStyle, Role, Thinking};
use crate::error::Error;
use crate::reasoning::{THINK_CLOSE, THINK_OPEN};
use crate::tokenizer::Tokenizer;

pub(super) fn detect(template: Option<&str>, tokenizer: &Tokenizer) -> Result<PromptStyle, Error> {
    let has = |texts: &[&str]| texts.iter().all(|text| tokenizer.special(text).is_some());
    let has_marks = has(&[THINK_OPEN, THINK_CLOSE]);
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
