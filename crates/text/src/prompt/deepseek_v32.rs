//! The format of DeepSeek-V3.2.
//!
//! Write B, E, U, A for the tokens begin of sentence, end of sentence, User and Assistant.
//!
//! ```text
//! B system U question A <think>  reasoning</think>answer E      <think> after the last question, if the model is to reason,
//!                                                               </think> after every other
//! …</think>\n\n⟨calls⟩ E \n\n<function_results>\n<result>…</result>\n</function_results>\n\n<think>  …
//! ```
//! What was thought before the last question is left out; what was thought since, between calls, is kept. System messages stand in place; the functions
//! and the format of the answer follow the first one. The prompt of a developer is a question with functions of its own.
//!
//! Source: `encoding/encoding_dsv32.py` in DeepSeek's model repository.

use super::deepseek::{ASSISTANT, BOS, EOS, USER};
use super::pieces::Pieces;
use super::{Message, Prompt, PromptOptions, Role, format_section};
use crate::reasoning::{THINK_CLOSE, THINK_OPEN};
use crate::tools::{CallFormat, describe, write_calls, write_result};

const FORMAT: CallFormat = CallFormat::DeepseekV32;

pub(super) fn render(messages: &[Message], options: &PromptOptions) -> Prompt {
    let thinks = options.thinks();
    let asks = |message: &Message| matches!(message.role, Role::User | Role::Developer);
    let last_question = messages.iter().rposition(asks);
    let has_developer = messages.iter().any(|message| message.role == Role::Developer);
    let mut writer = Writer { pieces: Pieces::new(), instructions: Some(options), has_developer, open: None };
    writer.pieces.special(BOS);
    if !has_developer && messages.first().is_none_or(|first| first.role != Role::System) {
        writer.instruct();
    }
    for (idx, message) in messages.iter().enumerate() {
        let thinks_here = thinks && last_question.is_none_or(|last| idx >= last);
        if message.role == Role::Tool {
            let is_result = |idx: usize| messages.get(idx).is_some_and(|other| other.role == Role::Tool);
            let is_first = idx == 0 || !is_result(idx - 1);
            writer.result(message, is_first, !is_result(idx + 1), thinks_here);
        } else {
            writer.message(message, thinks_here);
        }
    }
    if writer.open.is_none() {
        writer.pieces.special(ASSISTANT);
        writer.hand_over(thinks);
    }
    writer.pieces.prompt(writer.open == Some(true))
}

struct Writer<'o> {
    pieces: Pieces,
    /// What has to be said beside the instructions, until it is.
    instructions: Option<&'o PromptOptions<'o>>,
    /// Whether it is said in a developer's message.
    has_developer: bool,
    /// While the model is at its turn: whether it reasons.
    open: Option<bool>,
}

impl Writer<'_> {
    /// Writes anything but a result.
    fn message(&mut self, message: &Message, thinks: bool) {
        match message.role {
            Role::User | Role::Developer => {
                self.pieces.special(USER);
                if message.role == Role::Developer {
                    self.instruct();
                    self.pieces.text("\n\n# The user's message is: ");
                }
                self.pieces.text(&message.content);
                self.pieces.special(ASSISTANT);
                self.hand_over(thinks);
            }
            Role::Assistant => {
                if thinks {
                    self.pieces.text(message.reasoning.as_deref().unwrap_or_default());
                    self.pieces.special(THINK_CLOSE);
                }
                self.pieces.text(&message.content);
                write_calls(FORMAT, &message.calls, &mut self.pieces);
                self.pieces.special(EOS);
                self.open = None;
            }
            // What other roles say came as a system message.
            Role::System | Role::Tool | Role::Reminder => {
                self.pieces.text(&message.content);
                if !self.has_developer {
                    self.instruct();
                }
                self.open = None;
            }
        }
    }

    /// Writes a result, the first or the last of its turn perhaps.
    fn result(&mut self, message: &Message, is_first: bool, is_last: bool, thinks: bool) {
        if is_first {
            self.pieces.text("\n\n<function_results>");
        }
        self.pieces.text("\n");
        write_result(FORMAT, &message.content, &mut self.pieces);
        if is_last {
            self.pieces.text("\n</function_results>\n\n");
            self.hand_over(thinks);
        }
    }

    fn hand_over(&mut self, thinks: bool) {
        self.pieces.special(if thinks { THINK_OPEN } else { THINK_CLOSE });
        self.open = Some(thinks);
    }

    /// Writes what stands in the instructions beside them: functions, and the format of the answer.
    fn instruct(&mut self) {
        let Some(options) = self.instructions.take() else { return };
        if !options.tools.is_empty() {
            self.pieces.text("\n\n");
            describe(FORMAT, options.tools, &mut self.pieces);
        }
        if let Some(section) = format_section(options.shape) {
            self.pieces.text("\n\n");
            self.pieces.text(&section);
        }
    }
}
