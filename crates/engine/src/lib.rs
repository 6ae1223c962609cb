//! Token ids only: requests, step plans, KV blocks, sampling.
//!
//! An [`Engine`] takes [`Request`]s (ids of a prompt, how to sample, when to stop) and yields tokens, step by step. What
//! runs in a step is decided by a pure function ([`scheduler::plan`]); which token follows by another
//! ([`sampler::Sampler::sample`]). A [`Scorer`] runs given tokens and hands out logits, for perplexity and comparisons.
//!
//! What it does not know: text, model files, HTTP, clocks. Who wants a speed measures around [`Engine::step`], which
//! reports how many tokens and weight bytes went by, and may tell the engine ([`Engine::took`]), which then sees whether drafts pay.
//!
//! Reading order: [`request`], [`sampler`], [`prefix`], [`kv_blocks`], [`kv_files`], `sequence`, `kv`, [`scheduler`], `draft`, `speculation`, [`engine`], [`scorer`].

mod draft;
pub mod engine;
mod error;
mod kv;
pub mod kv_blocks;
pub mod kv_files;
pub mod prefix;
pub mod request;
pub mod sampler;
pub mod scheduler;
pub mod scorer;
mod sequence;
mod speculation;

pub use engine::{Engine, EngineOptions, Event, FinishReason, PromptProgress, StepReport};
pub use error::Error;
pub use request::{Constraint, Request, SamplingParams, SequenceId, TokenSet};
pub use sampler::{Logprob, Logprobs};
pub use scorer::Scorer;
