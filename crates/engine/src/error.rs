//! What a request can ask that an engine cannot do.

/// Why a request is refused or a step failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The prompt fills the context and leaves no room for an answer.
    #[error(
        "the prompt has {found} tokens, but the context holds {limit} and one must be left for the answer; shorten it or raise --ctx"
    )]
    PromptTooLong {
        /// Tokens in the prompt.
        found: usize,
        /// Tokens in the context.
        limit: usize,
    },
    /// Given tokens do not fit the context.
    #[error("the sequence has {found} tokens, but the context holds {limit}; shorten it or raise --ctx")]
    SequenceTooLong {
        /// Tokens given.
        found: usize,
        /// Tokens in the context.
        limit: usize,
    },
    /// There is nothing to continue.
    #[error("the prompt has no tokens; expected at least one")]
    EmptyPrompt,
    /// A token the model does not have.
    #[error("token id {found} at place {place} of the prompt: expected an id below {vocab_size}")]
    UnknownToken {
        /// The id.
        found: u32,
        /// Its index in the prompt, from 0.
        place: usize,
        /// Tokens in the vocabulary.
        vocab_size: usize,
    },
    /// A sampling parameter outside its range.
    #[error("{name}: expected {expected}, found {found}")]
    BadSampling {
        /// The parameter, as people name it.
        name: &'static str,
        /// Its range.
        expected: &'static str,
        /// The value given.
        found: f64,
    },
    /// As many requests run as the KV cache has contexts for.
    #[error("{limit} requests run already, and the KV cache is for that many; wait for one to end")]
    Full {
        /// Requests that may run at a time.
        limit: usize,
    },
    /// The model could not run.
    #[error(transparent)]
    Model(#[from] shoal_model::Error),
}
