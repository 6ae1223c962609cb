//! Functions that a model may call: how they are described to it, how it writes a call, how results come back.
//!
//! Each generation of the family was trained on one way of writing calls ([`CallFormat`]):
//!
//! ```text
//! V3, R1   ⟨calls begin⟩⟨call begin⟩function⟨sep⟩NAME\n```json\nARGUMENTS\n```⟨call end⟩ \n ⟨call begin⟩… ⟨calls end⟩
//! V3.1     ⟨calls begin⟩⟨call begin⟩NAME⟨sep⟩ARGUMENTS⟨call end⟩⟨call begin⟩… ⟨calls end⟩
//! V3.2     <｜DSML｜function_calls>\n<｜DSML｜invoke name="NAME">\n<｜DSML｜parameter name="KEY" string="true|false">VALUE</｜DSML｜parameter>\n…
//! V4       the same with `tool_calls`; there `｜DSML｜` is one token
//! Hermes   <tool_call>\n{"name": "NAME", "arguments": ARGUMENTS}\n</tool_call> \n <tool_call>…
//! ```
//! `describe` writes the functions into the instructions, `write` writes calls and results of earlier turns, [`CallParser`] reads the
//! calls of an answer as it is written, and [`CallFormat::grammar`] says which texts are calls at all. Marks that are
//! control tokens stand here in the letters of the vocabulary.
//!
//! A model that has no marks for calls, or was trained on none, is told of Hermes' format in plain text.
//!
//! Source: the chat templates in the models' `tokenizer_config.json` and V3.1's model card; Hermes is what Qwen2.5's template writes; for DSML see
//! `dsml`.

mod describe;
mod dsml;
mod grammar;
mod parse;
mod write;

use serde_json::Value;

pub(crate) use describe::describe;
pub use parse::{CallParser, CallPart};
pub(crate) use write::{as_text, write_calls, write_result};

use crate::tokenizer::Tokenizer;

const CALLS_BEGIN: &str = "<｜tool▁calls▁begin｜>";
const CALLS_END: &str = "<｜tool▁calls▁end｜>";
const CALL_BEGIN: &str = "<｜tool▁call▁begin｜>";
const CALL_END: &str = "<｜tool▁call▁end｜>";
const SEP: &str = "<｜tool▁sep｜>";
pub(crate) const OUTPUTS_BEGIN: &str = "<｜tool▁outputs▁begin｜>";
pub(crate) const OUTPUTS_END: &str = "<｜tool▁outputs▁end｜>";
const OUTPUT_BEGIN: &str = "<｜tool▁output▁begin｜>";
const OUTPUT_END: &str = "<｜tool▁output▁end｜>";
const HERMES_OPEN: &str = "<tool_call>";
const HERMES_CLOSE: &str = "</tool_call>";

/// A function that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name: letters, digits, `_`, `-` and `.`.
    pub name: String,
    /// What it is good for.
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    pub parameters: Value,
}

/// A call of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// What its result refers to.
    pub id: String,
    /// The function.
    pub name: String,
    /// The arguments: JSON, in the letters in which they were written.
    pub arguments: String,
}

/// Arguments that came as a value, in the letters in which models write them.
#[must_use]
pub fn arguments_text(arguments: &Value) -> String {
    crate::prompt::spaced_json(arguments)
}

/// How a model writes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallFormat {
    /// DeepSeek V3, R1 and the distilled models.
    DeepseekV3,
    /// DeepSeek V3.1.
    DeepseekV31,
    /// DeepSeek V3.2: DSML in plain text.
    DeepseekV32,
    /// DeepSeek V4: DSML, whose mark is a token.
    DeepseekV4(V4Release),
    /// A JSON object between `<tool_call>` marks: Qwen and others with ChatML.
    Hermes,
}

/// Which V4: its prompts changed between the preview and the releases with a date in their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum V4Release {
    /// V4-Flash and V4-Pro of April 2026.
    Preview,
    /// V4-Flash-0731, V4-Pro-0813 and what follows them.
    Dated,
}

/// Which calls an answer must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// None, or any number.
    Free,
    /// One or more.
    Some,
    /// None or one.
    AtMostOne,
    /// One.
    One,
}

impl CallFormat {
    /// The marks that the format is written with: tokens in the vocabularies of models that were trained on it, Hermes' plain text in others,
    /// V3.2's in all.
    #[must_use]
    pub const fn marks(self) -> &'static [&'static str] {
        match self {
            Self::DeepseekV3 | Self::DeepseekV31 => &[CALLS_BEGIN, CALLS_END, CALL_BEGIN, CALL_END, SEP],
            Self::DeepseekV32 | Self::DeepseekV4(_) => &[dsml::MARK],
            Self::Hermes => &[HERMES_OPEN, HERMES_CLOSE],
        }
    }

    /// Whether a vocabulary has what the format is written with.
    #[must_use]
    pub fn fits(self, tokenizer: &Tokenizer) -> bool {
        let results: &[&str] = match self {
            // Plain text is always there.
            Self::DeepseekV32 | Self::Hermes => return true,
            Self::DeepseekV3 => &[OUTPUTS_BEGIN, OUTPUTS_END, OUTPUT_BEGIN, OUTPUT_END],
            Self::DeepseekV31 => &[OUTPUT_BEGIN, OUTPUT_END],
            Self::DeepseekV4(_) => &[],
        };
        self.marks().iter().chain(results).all(|mark| tokenizer.special(mark).is_some())
    }
}
