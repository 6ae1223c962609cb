//! What can be wrong with a question.

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file says too little of itself.
    #[error("{file}: `{key}` is missing; expected {expected}")]
    Missing {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// A file of another family.
    #[error(
        "{file}: architecture `{found}` is not known; expected deepseek2, deepseek32, deepseek4, llama or qwen2"
    )]
    Architecture {
        /// The file.
        file: String,
        /// What it says.
        found: String,
    },
    /// A machine that cannot be.
    #[error("--on {spec}: {reason}")]
    Hardware {
        /// What was typed.
        spec: String,
        /// One clause.
        reason: String,
    },
}
