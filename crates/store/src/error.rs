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
    /// A file has become shorter than it was when its header was read.
    #[error("{file} holds {held} bytes, but held {expected} when it was opened")]
    Shrunk {
        /// Its path.
        file: String,
        /// Its length.
        held: u64,
        /// Its length before.
        expected: u64,
    },
    /// A file ended where weights should be.
    #[error(
        "expected {expected} bytes at offset {offset} of {file}, found the end of the file after {found}"
    )]
    Short {
        /// Its path.
        file: String,
        /// Where the read began.
        offset: u64,
        /// Bytes that were needed.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// A drive does not answer.
    #[error("no answer for {} seconds to a read at offset {offset} of {file}", limit.as_secs_f32())]
    Stalled {
        /// The file's path.
        file: String,
        /// Where the read began.
        offset: u64,
        /// How long was waited.
        limit: std::time::Duration,
    },
    /// The budget leaves no room for the experts.
    #[error(
        "the budget leaves {budget} for experts of {slot_bytes} each, fewer than the {needed} that a layer needs at a time"
    )]
    TooFewSlots {
        /// What is left.
        budget: Bytes,
        /// Memory of one expert.
        slot_bytes: Bytes,
        /// Experts that must fit.
        needed: usize,
    },
    /// A read failed.
    #[error(transparent)]
    Read(#[from] shoal_checkpoint::Error),
}
