//! One file for each command.

pub(crate) mod app;
pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod logits;
pub(crate) mod perplexity;
pub(crate) mod plan;
pub(crate) mod pull;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod shell;
