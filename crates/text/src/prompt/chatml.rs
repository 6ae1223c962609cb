//! ChatML: each message stands between `<|im_start|>` with its role and `<|im_end|>`.
//!
//! Source: the chat templates of Qwen2.5 and SmolLM2. Reasoning marks mean nothing to them and stay in place.

use super::pieces::Pieces;
use super::{Message, Prompt, Role};

pub(super) const START: &str = "<|im_start|>";
pub(super) const END: &str = "<|im_end|>";

pub(super) fn render(messages: &[Message], default_system: Option<&str>) -> Prompt {
    let mut pieces = Pieces::new();
    let has_system = messages.first().is_some_and(|message| message.role == Role::System);
    if let Some(system) = default_system.filter(|_| !has_system) {
        turn(&mut pieces, Role::System, system);
    }
    for message in messages {
        turn(&mut pieces, message.role, &message.content);
    }
    pieces.special(START);
    pieces.text("assistant\n");
    pieces.prompt(false)
}

fn turn(pieces: &mut Pieces, role: Role, text: &str) {
    pieces.special(START);
    pieces.text(role.name());
    pieces.text("\n");
    pieces.text(text);
    pieces.special(END);
    pieces.text("\n");
}
