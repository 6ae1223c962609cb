//! What can be wrong with a model file that reads well.

/// Why a model cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A family this program does not run.
    #[error("{model}: expected an architecture of {known}, found `{found}`")]
    UnknownArchitecture {
        /// The checkpoint's name.
        model: String,
        /// The architectures that run.
        known: &'static str,
        /// The one in the file.
        found: String,
    },
    /// A number in the metadata that no model can have.
    #[error("metadata `{key}`: expected {expected}, found {found}")]
    BadConfig {
        /// The metadata key.
        key: String,
        /// What would be right.
        expected: String,
        /// What the file says.
        found: String,
    },
    /// A file that was named for its draft layer has none.
    #[error(
        "{file} holds no draft layer for this model: expected tensors `blk.{layer}.nextn.*` or `mtp.0.*`, found none"
    )]
    NoDraftLayer {
        /// The file.
        file: String,
        /// The number that the layer would have.
        layer: u32,
    },
    /// A model that is to have a draft layer of another file has its own.
    #[error(
        "{file} cannot give {model} a draft layer: expected a model without one, found one in its own files"
    )]
    SecondDraftLayer {
        /// The file.
        file: String,
        /// The checkpoint's name.
        model: String,
    },
    /// A tensor the architecture needs is not in the file.
    #[error("tensor `{name}` is missing; the architecture needs it")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor has another shape than the metadata says.
    #[error("tensor `{name}`: expected shape {expected:?} (fastest dimension first), found {found:?}")]
    WrongShape {
        /// Its name.
        name: String,
        /// The shape that follows from the metadata.
        expected: Vec<u64>,
        /// The shape in the file.
        found: Vec<u64>,
    },
    /// A tensor is stored in a format that cannot be used for what it is.
    #[error("tensor `{name}`: expected {expected}, found {found}")]
    WrongType {
        /// Its name.
        name: String,
        /// The formats that serve.
        expected: &'static str,
        /// The format in the file.
        found: &'static str,
    },
    /// A table names something that does not exist.
    #[error("tensor `{name}`: expected ids below {count}, found {found}")]
    UnknownId {
        /// Its name.
        name: String,
        /// How many there are.
        count: usize,
        /// The id in the file.
        found: u32,
    },
    /// The memory does not hold the model's fixed part and the experts of one token.
    #[error(
        "the weights that every token needs and the experts of one take {needed}, but the memory for the model is {memory}"
    )]
    TooLittleMemory {
        /// What is needed at the least.
        needed: shoal_base::Bytes,
        /// What there is.
        memory: shoal_base::Bytes,
    },
    /// The metadata could not be read.
    #[error(transparent)]
    Checkpoint(#[from] shoal_checkpoint::Error),
    /// Weights could not be had.
    #[error(transparent)]
    Store(#[from] shoal_store::Error),
}
