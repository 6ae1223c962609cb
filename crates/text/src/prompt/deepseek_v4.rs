//! The formats of DeepSeek-V4: the preview's and that of the releases with a date in their names.
//!
//! Write B, E, U, A for the tokens begin of sentence, end of sentence, User and Assistant.
//!
//! ```text
//! B effort system U question A <think>  reasoning</think>answer E     </think> at once where the model is not to reason
//! …</think>\n\n⟨calls⟩ E U <tool_result>…</tool_result>\n\n<tool_result>…</tool_result> A <think>  …
//! ```
//! Results of calls are the user's, and what one says in several messages stands in one turn, with empty lines between. Where the model has functions all
//! that it thought is kept, and where it has none nothing is.
//!
//! | | preview | dated |
//! |---|---|---|
//! | effort | a text for `max` | that text for `high`, another for `max` |
//! | system messages | in place | at the front, with empty lines between |
//! | format of the answer | a section for a schema | and a sentence for any JSON object |
//! | an assistant's message after another | goes on | has a marker |
//!
//! `latest_reminder` stands before the first question: what the day is, where the user is. A message may end in a
//! [`Task`]: a token that asks for a short answer of one kind.
//!
//! Source: `encoding/encoding_dsv4.py` in DeepSeek's model repository; for the dated releases the crate `deepseek-recipe-encoding` 0.2.0.

use super::deepseek::{ASSISTANT, BOS, EOS, USER};
use super::pieces::Pieces;
use super::{Effort, Message, Prompt, PromptOptions, Role, Task, format_section};
use crate::grammar::Shape;
use crate::reasoning::{THINK_CLOSE, THINK_OPEN};
use crate::tools::{CallFormat, V4Release, describe, write_calls, write_result};

const REMINDER: &str = "<｜latest_reminder｜>";

const MUCH: &str = "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n\
    You MUST be very thorough in your thinking and comprehensively decompose the problem to resolve the root cause, rigorously stress-testing your logic against all potential paths, edge cases, and adversarial scenarios.\n\
    Explicitly write out your entire deliberation process, documenting every intermediate step, considered alternative, and rejected hypothesis to ensure absolutely no assumption is left unchecked.\n\n";
const MORE: &str = "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n\
    You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: exhaustively decompose the problem into its most fundamental components, trace every causal chain to its root, and resolve the underlying cause rather than any surface symptom.\n\
    Do not stop reasoning until you have independently verified the solution from multiple angles and are certain that no assumption remains unchecked and no error remains undiscovered.\n\n";
const ANY_JSON: &str = "You are a helpful assistant designed to output JSON.\n## Response Format:\n\nReply with JSON object ONLY.";

const fn effort_text(release: V4Release, effort: Effort) -> &'static str {
    match (release, effort) {
        (V4Release::Preview, Effort::Max) | (V4Release::Dated, Effort::High) => MUCH,
        (V4Release::Dated, Effort::Max) => MORE,
        (V4Release::Preview, Effort::High) | (_, Effort::Low) => "",
    }
}

impl Task {
    const fn token(self) -> &'static str {
        match self {
            Self::Action => "<｜action｜>",
            Self::Query => "<｜query｜>",
            Self::Authority => "<｜authority｜>",
            Self::Domain => "<｜domain｜>",
            Self::Title => "<｜title｜>",
            Self::ReadUrl => "<｜read_url｜>",
        }
    }
}

pub(super) fn render(messages: &[Message], options: &PromptOptions, release: V4Release) -> Prompt {
    let thinks = options.thinks();
    let mut pieces = Pieces::new();
    pieces.special(BOS);
    if thinks {
        pieces.text(effort_text(release, options.effort));
    }
    let has_developer = messages.iter().any(|message| message.role == Role::Developer);
    let instructions = Some(options);
    let mut writer = Writer { pieces, options, release, instructions, has_developer, turn: Turn::Nobody };
    writer.open(messages);
    let asks = |message: &Message| matches!(message.role, Role::User | Role::Developer | Role::Tool);
    let last_question = messages.iter().rposition(asks);
    for (idx, message) in messages.iter().enumerate() {
        let is_kept = !options.tools.is_empty()
            || (release == V4Release::Preview && last_question.is_none_or(|last| idx > last));
        writer.message(message, thinks && is_kept);
    }
    let task = if let Turn::Task(task) = writer.turn { Some(task) } else { None };
    writer.ask(task, thinks);
    writer.pieces.prompt(thinks && task.is_none_or(|task| task == Task::Action))
}

/// Whose words stand last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Nobody,
    User,
    /// The user's, with a task at their end.
    Task(Task),
    Assistant,
}

struct Writer<'o> {
    pieces: Pieces,
    options: &'o PromptOptions<'o>,
    release: V4Release,
    /// What has to be said beside the instructions, until it is.
    instructions: Option<&'o PromptOptions<'o>>,
    /// Whether it is said in a developer's message.
    has_developer: bool,
    turn: Turn,
}

impl Writer<'_> {
    /// Writes what stands before all turns.
    fn open(&mut self, messages: &[Message]) {
        if self.release == V4Release::Dated {
            let systems = messages.iter().filter(|message| message.role == Role::System);
            let texts: Vec<&str> =
                systems.map(|system| system.content.as_str()).filter(|text| !text.is_empty()).collect();
            self.pieces.text(&texts.join("\n\n"));
        }
        let is_front = self.release == V4Release::Dated
            || messages.first().is_none_or(|first| first.role != Role::System);
        if is_front && !self.has_developer {
            self.instruct();
        }
    }

    /// Writes one message; `is_kept` says whether what was thought before it is.
    fn message(&mut self, message: &Message, is_kept: bool) {
        match message.role {
            Role::System if self.release == V4Release::Dated => return,
            Role::System => {
                self.pieces.text(&message.content);
                if !self.has_developer {
                    self.instruct();
                }
                self.turn = Turn::Nobody;
            }
            Role::Reminder => {
                self.pieces.special(REMINDER);
                self.pieces.text(&message.content);
                self.turn = Turn::Nobody;
            }
            Role::Developer => {
                self.pieces.special(USER);
                self.pieces.text(&message.content);
                self.instruct();
                self.turn = Turn::User;
            }
            Role::User | Role::Tool => {
                if self.turn == Turn::User {
                    self.pieces.text("\n\n");
                } else {
                    self.pieces.special(USER);
                }
                if message.role == Role::Tool {
                    write_result(self.format(), &message.content, &mut self.pieces);
                } else {
                    self.pieces.text(&message.content);
                }
                self.turn = Turn::User;
            }
            Role::Assistant => self.answer(message, is_kept),
        }
        if let Some(task) = message.task {
            self.turn = Turn::Task(task);
        }
    }

    fn answer(&mut self, message: &Message, is_kept: bool) {
        let is_kept = is_kept && !matches!(self.turn, Turn::Task(_));
        match self.turn {
            Turn::Task(task) => self.ask(Some(task), self.options.thinks()),
            Turn::Assistant if self.release == V4Release::Preview => {}
            Turn::Nobody | Turn::User | Turn::Assistant => self.ask(None, is_kept),
        }
        if is_kept {
            self.pieces.text(message.reasoning.as_deref().unwrap_or_default());
            self.pieces.special(THINK_CLOSE);
        }
        self.pieces.text(&message.content);
        write_calls(self.format(), &message.calls, &mut self.pieces);
        self.pieces.special(EOS);
        self.turn = Turn::Assistant;
    }

    /// Hands over to the model, which reasons if `is_open` says so.
    fn ask(&mut self, task: Option<Task>, is_open: bool) {
        if task.is_none_or(|task| task == Task::Action) {
            self.pieces.special(ASSISTANT);
            self.pieces.special(if is_open { THINK_OPEN } else { THINK_CLOSE });
        }
        if let Some(task) = task {
            self.pieces.special(task.token());
        }
    }

    /// Writes what stands in the instructions beside them: functions, and the format of the answer.
    fn instruct(&mut self) {
        let Some(options) = self.instructions.take() else { return };
        if !options.tools.is_empty() {
            self.pieces.text("\n\n");
            describe(self.format(), options.tools, &mut self.pieces);
        }
        let section = match (self.release, options.shape) {
            (V4Release::Dated, Some(Shape::JsonObject)) => Some(ANY_JSON.to_owned()),
            (_, shape) => format_section(shape),
        };
        if let Some(section) = section {
            self.pieces.text("\n\n");
            self.pieces.text(&section);
        }
    }

    const fn format(&self) -> CallFormat {
        CallFormat::DeepseekV4(self.release)
    }
}
