//! For tests only: f64 oracles, golden-file reader, writers of GGUF and of the hub's files, seeded generators.
//!
//! This crate knows file containers and plain numbers; it does not know how any of our crates computes. What it
//! offers panics with a sentence where it is used wrongly: a test has nobody to return an error to.
//!
//! Reading order: [`seeded`], [`oracle`], [`golden`], [`path`], [`gguf`], [`gguf_reader`], [`safetensors`], [`hub`].

pub mod gguf;
pub mod gguf_reader;
pub mod golden;
pub mod hub;
pub mod oracle;
pub mod path;
pub mod safetensors;
pub mod seeded;

pub use golden::Golden;
pub use path::{builtin_model, golden_dir};
