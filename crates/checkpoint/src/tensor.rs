//! What is known of a tensor before its bytes are read.

use shoal_quant::Dtype;
use shoal_quant::packed::Packed;

/// Some bytes of a source, which has them: that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index into [`crate::Checkpoint::sources`].
    pub source_idx: usize,
    /// First byte, from the start of the source.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
}

/// Where a tensor is stored, or one of several equal parts of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes, or its codes if it is packed.
    pub codes: Place,
    /// Its scales, if it is packed with some.
    pub scales: Option<Place>,
}

/// A tensor's name, type, shape and place. All sizes have been checked: places lie within their sources, rows are whole
/// blocks, and products of dimensions fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name; that of GGUF files whatever the format.
    pub name: String,
    /// Element type in memory.
    pub dtype: Dtype,
    /// One to four dimensions, the fastest first, each at least 1: `[cols, rows, ...]`.
    pub shape: Vec<u64>,
    /// Length in memory, in bytes.
    pub bytes: u64,
    /// Where it is stored: in one piece, or in one for each index of the slowest dimension.
    pub pieces: Vec<Piece>,
    /// How each piece is stored, if that is not as it will be in memory.
    pub packed: Option<Packed>,
}

impl TensorInfo {
    /// A tensor in one piece, stored as it will be in memory.
    #[must_use]
    pub fn plain(name: String, dtype: Dtype, shape: Vec<u64>, place: Place) -> Self {
        let pieces = vec![Piece { codes: place, scales: None }];
        Self { name, dtype, shape, bytes: place.bytes, pieces, packed: None }
    }

    /// The same in the source of this number.
    pub(crate) fn in_source(mut self, source_idx: usize) -> Self {
        self.pieces.iter_mut().for_each(|piece| piece.codes.source_idx = source_idx);
        self
    }

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

    /// Where each of `count` equal parts is stored; `None` if it is not stored in such parts.
    #[must_use]
    pub fn parts(&self, count: usize) -> Option<Vec<Piece>> {
        let [Piece { codes, scales: None }] = self.pieces[..] else {
            return Some(self.pieces.clone()).filter(|pieces| pieces.len() == count);
        };
        let bytes = codes.bytes.checked_div(count as u64)?;
        if bytes * count as u64 != codes.bytes || self.packed.is_some() && count > 1 {
            return None;
        }
        let part = |idx: u64| Place { offset: codes.offset + idx * bytes, bytes, ..codes };
        Some((0..count as u64).map(|idx| Piece { codes: part(idx), scales: None }).collect())
    }
}
