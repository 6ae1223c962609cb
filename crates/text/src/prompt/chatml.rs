//! ChatML: each message stands between `<|im_start|>` with its role and `<|im_end|>`.
//!
//! Functions are described in the system message; results of calls come back in a message of the user's, those of one turn
//! together. Source: the chat templates of Qwen2.5 and SmolLM2. Reasoning marks mean nothing to them and stay in place.

use super::pieces::Pieces;
use super::{Message, Prompt, Role};
use crate::tools::{CallFormat, Tool, describe, write_calls, write_result};

pub(super) const START: &str = "<|im_start|>";
pub(super) const END: &str = "<|im_end|>";
pub(super) const CALL_MARKS: [&str; 2] = ["<tool_call>", "</tool_call>"];

pub(super) fn render(messages: &[Message], tools: &[Tool], default_system: Option<&str>) -> Prompt {
    let mut pieces = Pieces::new();
    let (own, rest) = match messages {
        [first, rest @ ..] if first.role == Role::System => (Some(first.content.as_str()), rest),
        _ => (None, messages),
    };
    system(&mut pieces, own.or(default_system), tools);
    for (idx, message) in rest.iter().enumerate() {
        let is_result = |idx: usize| rest.get(idx).is_some_and(|message| message.role == Role::Tool);
        if message.role == Role::Tool {
            if idx == 0 || !is_result(idx - 1) {
                open(&mut pieces, Role::User);
            } else {
                pieces.text("\n");
            }
            write_result(CallFormat::Hermes, &message.content, &mut pieces);
            if !is_result(idx + 1) {
                close(&mut pieces);
            }
            continue;
        }
        open(&mut pieces, message.role);
        pieces.text(&message.content);
        if !message.content.is_empty() && !message.calls.is_empty() {
            pieces.text("\n");
        }
        write_calls(CallFormat::Hermes, &message.calls, &mut pieces);
        close(&mut pieces);
    }
    open(&mut pieces, Role::Assistant);
    pieces.prompt(false)
}

fn system(pieces: &mut Pieces, text: Option<&str>, tools: &[Tool]) {
    if text.is_none() && tools.is_empty() {
        return;
    }
    open(pieces, Role::System);
    pieces.text(text.unwrap_or_default());
    if !tools.is_empty() {
        if text.is_some_and(|text| !text.is_empty()) {
            pieces.text("\n\n");
        }
        describe(CallFormat::Hermes, tools, pieces);
    }
    close(pieces);
}

fn open(pieces: &mut Pieces, role: Role) {
    pieces.special(START);
    pieces.text(role.name());
    pieces.text("\n");
}

fn close(pieces: &mut Pieces) {
    pieces.special(END);
    pieces.text("\n");
}
