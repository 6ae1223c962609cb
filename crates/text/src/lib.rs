//! Text in, token ids out, and back: tokenizer, prompts per model generation, reasoning, calls of functions, stop strings, grammars.
//!
//! This crate knows no files, no weights and no HTTP. A vocabulary comes in as a [`VocabSpec`], whichever format it
//! was stored in; a chat template comes in as its text. Both are hostile: they are checked, bounded and never trusted
//! to say which parts of a prompt are the user's.
//!
//! **The injection rule.** What a user writes can never become a control token. A prompt is a list of [`Piece`]s;
//! only a [`Piece::Special`], which the renderer makes and never the user, becomes a control token, and
//! [`Tokenizer::encode`] has no way to yield one. The rule for user-defined tokens stands in `added.rs`.
//!
//! Reading order: `vocab`, `pretokenizer`, [`Tokenizer`], [`Detokenizer`], [`ReasoningSplitter`], [`StopMatcher`],
//! [`AnswerStream`], which joins those three, [`prompt`], [`tools`], [`Grammar`].

mod added;
mod answer;
mod byte_letters;
mod detokenize;
mod error;
mod grammar;
mod pretokenizer;
pub mod prompt;
mod reasoning;
mod stop;
mod tokenizer;
pub mod tools;
mod vocab;

pub use answer::AnswerStream;
pub use byte_letters::byte_vocabulary;
pub use detokenize::Detokenizer;
pub use error::Error;
pub use grammar::{Grammar, GrammarCompiler, Shape};
pub use prompt::{Effort, Message, Origin, Prompt, PromptOptions, PromptStyle, Role, Task, Thinking};
pub use reasoning::{ReasoningSplitter, Segment, THINK_CLOSE, THINK_OPEN};
pub use stop::StopMatcher;
pub use tokenizer::{Piece, Tokenizer};
pub use vocab::VocabSpec;
