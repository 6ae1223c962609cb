//! For tests only: f64 oracles, golden-file reader, GGUF writer, seeded generators.
//!
//! This crate knows file containers and plain numbers; it does not know how any of our crates computes. What it
//! offers panics with a sentence where it is used wrongly: a test has nobody to return an error to.
//!
//! Reading order: [`seeded`], [`oracle`], [`golden`], [`path`], [`gguf`].

pub mod gguf;
pub mod golden;
pub mod oracle;
pub mod path;
pub mod seeded;

pub use golden::Golden;
pub use path::{builtin_model, golden_dir};
