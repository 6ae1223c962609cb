//! What is known of a tensor before its bytes are read.

use shoal_quant::Dtype;

/// A tensor's name, type, shape and place. All sizes have been checked: `offset + bytes` lies within the source,
/// rows are whole blocks, and products of dimensions fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the file.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// One to four dimensions, the fastest first, each at least 1: `[cols, rows, ...]`.
    pub shape: Vec<u64>,
    /// Index into [`crate::Checkpoint::sources`].
    pub source_idx: usize,
    /// First byte, from the start of the source.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

impl TensorInfo {
    /// Elements of a row: the fastest dimension.
    #[must_use]
    pub fn cols(&self) -> u64 {
        self.shape[0]
    }

    /// Number of rows: the product of the other dimensions.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.shape[1..].iter().product()
    }

    /// Bytes of a row.
    #[must_use]
    pub fn row_bytes(&self) -> u64 {
        self.bytes / self.rows()
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}
