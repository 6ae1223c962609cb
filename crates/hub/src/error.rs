//! Why a model could not be fetched: one sentence each.

use std::io;
use std::path::PathBuf;

use crate::Source;

/// Why [`crate::pull`] gave up.
#[allow(missing_docs, reason = "each variant's sentence says what its fields are")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot fetch `{model}`{}: {}", offline(.failures), reasons(.failures))]
    Unreachable { model: String, failures: Vec<(Source, Failure)> },
    #[error(
        "fetching `{model}` was stopped; {kept} bytes of {file} are kept, and the next attempt goes on from there"
    )]
    Cancelled { model: String, file: String, kept: u64 },
    #[error("`{model}` is being fetched by another process, which holds the lock {}", path.display())]
    Busy { model: String, path: PathBuf },
    #[error(
        "the file name `{path}` is not safe: expected letters, digits, `.`, `_`, `-` and a name that ends in .gguf"
    )]
    UnsafeName { path: String },
    #[error("{url} {failure}")]
    Remote { url: String, failure: Failure },
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl Error {
    /// Whether nothing at all could be reached: this computer seems to have no network.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        matches!(self, Self::Unreachable { failures, .. } if no_connection(failures))
    }
}

/// Whether no hub could be reached. A package does not count: another program fetches it, whose reasons are text.
fn no_connection(failures: &[(Source, Failure)]) -> bool {
    let mut hubs = failures.iter().filter(|(source, _)| !matches!(source, Source::Package { .. })).peekable();
    hubs.peek().is_some() && hubs.all(|(_, failure)| matches!(failure, Failure::NoConnection { .. }))
}

fn offline(failures: &[(Source, Failure)]) -> &'static str {
    if no_connection(failures) { ", this computer seems to be offline" } else { "" }
}

fn reasons(failures: &[(Source, Failure)]) -> String {
    let reasons: Vec<String> =
        failures.iter().map(|(source, failure)| format!("{source} {failure}")).collect();
    reasons.join("; ")
}

/// Why one source did not give a file: the end of a sentence that begins with the source.
#[allow(missing_docs, reason = "each variant's sentence says what its fields are")]
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("cannot be reached ({reason})")]
    NoConnection { reason: String },
    #[error("answers {status} for {file}{}", hint(*.status))]
    Status { status: u16, file: String },
    #[error("sent an answer that is not understood: {reason}")]
    Protocol { reason: String },
    #[error("broke off after {received} of {expected} bytes of {file} ({reason})")]
    Interrupted { file: String, received: u64, expected: u64, reason: String },
    #[error("has {file} with {found} bytes: expected {expected}")]
    WrongSize { file: String, expected: u64, found: u64 },
    #[error("has {file} with the SHA-256 {found}: expected {expected}; what was received is removed")]
    WrongChecksum { file: String, expected: String, found: String },
    #[error("cannot be used: {reason}")]
    Unusable { reason: String },
}

const fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => ", which asks for a token with access",
        404 => ", which it does not have",
        429 => ", which means too many requests: try again later",
        _ => "",
    }
}
