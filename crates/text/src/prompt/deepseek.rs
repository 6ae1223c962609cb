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
//! All system messages stand at the front, joined by a blank line (V2: in place). Source: the chat templates in the
//! models' `tokenizer_config.json`; the distilled models share R1's.

use super::pieces::Pieces;
use super::{Message, Prompt, Role, Thinking};
use crate::reasoning::{THINK_CLOSE, THINK_OPEN};

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
        }
    }
    pieces.text("Assistant:");
    pieces.prompt(false)
}

pub(super) fn v3(messages: &[Message], reasoning: Reasoning, thinking: Thinking) -> Prompt {
    let mut pieces = opening(messages);
    for message in messages {
        match message.role {
            Role::System => {}
            Role::User => {
                pieces.special(USER);
                pieces.text(&message.content);
            }
            Role::Assistant => {
                pieces.special(ASSISTANT);
                let cut = if reasoning == Reasoning::Never {
                    None
                } else {
                    message.content.rsplit_once(THINK_CLOSE)
                };
                pieces.text(cut.map_or(&message.content, |(_, answer)| answer));
                pieces.special(EOS);
            }
        }
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

pub(super) fn v31(messages: &[Message], thinking: Thinking) -> Prompt {
    let mut pieces = opening(messages);
    // An assistant's message that follows another goes on with it, without a marker of its own.
    let mut after_user = false;
    for message in messages {
        match message.role {
            Role::System => {}
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
                pieces.special(EOS);
                after_user = false;
            }
        }
    }
    let open = after_user && thinking == Thinking::On;
    if after_user {
        pieces.special(ASSISTANT);
        pieces.special(if open { THINK_OPEN } else { THINK_CLOSE });
    }
    pieces.prompt(open)
}

/// Beginning of sentence and all system messages.
fn opening(messages: &[Message]) -> Pieces {
    let mut pieces = Pieces::new();
    pieces.special(BOS);
    for (idx, message) in messages.iter().filter(|message| message.role == Role::System).enumerate() {
        if idx > 0 {
            pieces.text("\n\n");
        }
        pieces.text(&message.content);
    }
    pieces
}
