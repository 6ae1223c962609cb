//! The formats of DeepSeek V2, V3, R1 and V3.1.
//!
//! Write B, E, U, A for the tokens begin of sentence, end of sentence, User and Assistant.
//!
//! * V2: `B`, `system\n\n`, then `User: x\n\nAssistant: y` E per turn, ending in `Assistant:`.
//! * V3, R1: B system U x A y E U x A. R1 continues with `<think>\n`. Of an assistant's message only what follows the
//!   last `</think>` is kept.
//! * V3.1: B system U x A `</think>` y E U x A, then `<think>` or `</think>`. Of an assistant's message only what
//!   follows the first `</think>` is kept.
//!
//! Calls of functions and their results: see `tools`. V3 puts marks around the results of a turn, V3.1 does not; in both the
//! assistant goes on after results without a marker.
//!
//! All system messages stand at the front, joined by a blank line (V2: in place). Source: the chat templates in the
//! models' `tokenizer_config.json`; the distilled models share R1's.

use super::pieces::Pieces;
use super::{Message, Prompt, Role, Thinking};
use crate::reasoning::{THINK_CLOSE, THINK_OPEN};
use crate::tools::{CallFormat, OUTPUTS_BEGIN, OUTPUTS_END, Tool, describe, write_calls, write_result};

pub(super) const BOS: &str = "<｜begin▁of▁sentence｜>";
pub(super) const EOS: &str = "<｜end▁of▁sentence｜>";
pub(super) const USER: &str = "<｜User｜>";
pub(super) const ASSISTANT: &str = "<｜Assistant｜>";

/// Whether and when a prompt in V3's format opens reasoning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reasoning {
    /// Never: the vocabulary has no marks for it.
    Never,
    /// When thinking is asked for.
    OnRequest,
    /// Unless answering directly is asked for, as in R1. A direct answer is had by closing reasoning at once.
    ByDefault,
}

pub(super) fn v2(messages: &[Message]) -> Prompt {
    let mut pieces = Pieces::new();
    pieces.special(BOS);
    for message in messages {
        match message.role {
            Role::System => {
                pieces.text(&message.content);
                pieces.text("\n\n");
            }
            Role::User => {
                pieces.text("User: ");
                pieces.text(&message.content);
                pieces.text("\n\n");
            }
            Role::Assistant => {
                pieces.text("Assistant: ");
                pieces.text(&message.content);
                pieces.special(EOS);
            }
            // Nobody who knows no calls has results; other roles came as these.
            Role::Tool | Role::Developer | Role::Reminder => {}
        }
    }
    pieces.text("Assistant:");
    pieces.prompt(false)
}

pub(super) fn v3(messages: &[Message], tools: &[Tool], reasoning: Reasoning, thinking: Thinking) -> Prompt {
    const FORMAT: CallFormat = CallFormat::DeepseekV3;
    let mut pieces = opening(messages, tools, FORMAT);
    // After results the model goes on without a marker of its own.
    let mut after_results = false;
    for message in messages {
        match message.role {
            // They stand at the front, as what other roles say.
            Role::System | Role::Developer | Role::Reminder => continue,
            Role::Tool => {
                if after_results {
                    pieces.text("\n")
                } else {
                    pieces.special(OUTPUTS_BEGIN)
                }
                write_result(FORMAT, &message.content, &mut pieces);
                after_results = true;
                continue;
            }
            Role::User => {
                close_results(&mut pieces, after_results);
                pieces.special(USER);
                pieces.text(&message.content);
            }
            Role::Assistant => {
                close_results(&mut pieces, after_results);
                if !after_results {
                    pieces.special(ASSISTANT);
                }
                let cut = if reasoning == Reasoning::Never {
                    None
                } else {
                    message.content.rsplit_once(THINK_CLOSE)
                };
                pieces.text(cut.map_or(&message.content, |(_, answer)| answer));
                write_calls(FORMAT, &message.calls, &mut pieces);
                pieces.special(EOS);
            }
        }
        after_results = false;
    }
    close_results(&mut pieces, after_results);
    if after_results {
        return pieces.prompt(false);
    }
    pieces.special(ASSISTANT);
    let open = match (reasoning, thinking) {
        (Reasoning::Never, _) | (Reasoning::OnRequest, Thinking::Off | Thinking::Default) => false,
        (Reasoning::OnRequest, Thinking::On) | (Reasoning::ByDefault, Thinking::On | Thinking::Default) => {
            true
        }
        (Reasoning::ByDefault, Thinking::Off) => {
            pieces.special(THINK_OPEN);
            pieces.text("\n\n");
            pieces.special(THINK_CLOSE);
            pieces.text("\n\n");
            false
        }
    };
    if open {
        pieces.special(THINK_OPEN);
        pieces.text("\n");
    }
    pieces.prompt(open)
}

fn close_results(pieces: &mut Pieces, after_results: bool) {
    if after_results {
        pieces.special(OUTPUTS_END);
    }
}

pub(super) fn v31(messages: &[Message], tools: &[Tool], thinking: Thinking) -> Prompt {
    const FORMAT: CallFormat = CallFormat::DeepseekV31;
    let mut pieces = opening(messages, tools, FORMAT);
    // An assistant's message that follows another, or results, goes on without a marker of its own.
    let mut after_user = false;
    let mut after_results = false;
    for message in messages {
        match message.role {
            Role::System | Role::Developer | Role::Reminder => continue,
            Role::Tool => {
                write_result(FORMAT, &message.content, &mut pieces);
                after_user = false;
            }
            Role::User => {
                pieces.special(USER);
                pieces.text(&message.content);
                after_user = true;
            }
            Role::Assistant => {
                if after_user {
                    pieces.special(ASSISTANT);
                    pieces.special(THINK_CLOSE);
                }
                pieces.text(
                    message.content.split_once(THINK_CLOSE).map_or(&message.content, |(_, answer)| answer),
                );
                write_calls(FORMAT, &message.calls, &mut pieces);
                pieces.special(EOS);
                after_user = false;
            }
        }
        after_results = message.role == Role::Tool;
    }
    let open = after_user && thinking == Thinking::On;
    if after_user && !after_results {
        pieces.special(ASSISTANT);
        pieces.special(if open { THINK_OPEN } else { THINK_CLOSE });
    }
    pieces.prompt(open)
}

/// Beginning of sentence, all system messages, and the functions that may be called.
fn opening(messages: &[Message], tools: &[Tool], format: CallFormat) -> Pieces {
    let mut pieces = Pieces::new();
    pieces.special(BOS);
    let mut is_first = true;
    for message in messages.iter().filter(|message| message.role == Role::System) {
        if !is_first {
            pieces.text("\n\n");
        }
        pieces.text(&message.content);
        is_first = false;
    }
    if !tools.is_empty() {
        if !is_first {
            pieces.text("\n\n");
        }
        describe(format, tools, &mut pieces);
    }
    pieces
}
