//! What can go wrong between a file and memory.

use shoal_base::Bytes;

/// Why weights could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The weights are larger than what they may take.
    #[error(
        "{model} needs {needed} of memory for its weights, but the budget is {budget}; give more with --memory, or take a smaller quantisation"
    )]
    OverBudget {
        /// The checkpoint's name.
        model: String,
        /// Memory that the weights take.
        needed: Bytes,
        /// Memory that they may take.
        budget: Bytes,
    },
    /// A tensor was asked for that the store was not opened with.
    #[error("tensor `{name}` was asked for, but it is not among the weights that were loaded")]
    NotLoaded {
        /// The tensor's name.
        name: String,
    },
    /// A stack of experts cannot be cut into equal parts.
    #[error("tensor `{name}` holds {bytes} bytes, which are not {expert_count} experts of one size")]
    UnevenExperts {
        /// The tensor's name.
        name: String,
        /// How many experts the model says it has.
        expert_count: usize,
        /// The tensor's size.
        bytes: u64,
    },
    /// A read failed.
    #[error(transparent)]
    Read(#[from] shoal_checkpoint::Error),
}
