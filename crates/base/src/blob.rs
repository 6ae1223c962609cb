//! Owned bytes that many may read: where a weight lives once it has been read from disk.
//!
//! A [`BlobBuf`] is filled once (by a read, a decode or a copy), then frozen into a [`Blob`], which is cheap to
//! clone and to cut into parts. Memory returns when the last part is dropped, so holding a `Blob` is what keeps
//! a weight resident.

use std::ops::Range;
use std::sync::Arc;

/// Alignment of a blob's first byte: one page, which direct reads from disk ask for and every SIMD load likes.
pub const BLOB_ALIGNMENT: usize = 4096;

/// Page-aligned memory of a fixed length, zeroed, not yet shared.
pub struct BlobBuf {
    storage: Vec<u8>,
    range: Range<usize>,
}

impl BlobBuf {
    /// Takes memory for `len` bytes, all zero.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let storage = vec![0u8; len + BLOB_ALIGNMENT];
        let start = storage.as_ptr().align_offset(BLOB_ALIGNMENT);
        // `align_offset` may give up only in const evaluation; an unaligned blob is slower, never wrong.
        let start = if start <= BLOB_ALIGNMENT { start } else { 0 };
        Self { storage, range: start..start + len }
    }

    /// The bytes to fill.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.storage[self.range.clone()]
    }

    /// Ends writing: from here on the bytes are shared and never change.
    #[must_use]
    pub fn freeze(self) -> Blob {
        Blob { storage: Arc::new(Storage::Owned(self.storage)), range: self.range }
    }
}

enum Storage {
    Owned(Vec<u8>),
    Static(&'static [u8]),
}

/// A shared, immutable range of bytes.
#[derive(Clone)]
pub struct Blob {
    storage: Arc<Storage>,
    range: Range<usize>,
}

impl Blob {
    /// Bytes that are part of the program itself; they cost no memory of their own.
    #[must_use]
    pub fn from_static(bytes: &'static [u8]) -> Self {
        Self { storage: Arc::new(Storage::Static(bytes)), range: 0..bytes.len() }
    }

    /// A copy of `bytes`.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut buf = BlobBuf::zeroed(bytes.len());
        buf.as_mut_slice().copy_from_slice(bytes);
        buf.freeze()
    }

    /// The bytes.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match &*self.storage {
            Storage::Owned(bytes) => &bytes[self.range.clone()],
            Storage::Static(bytes) => &bytes[self.range.clone()],
        }
    }

    /// The part `range` of this blob, sharing its memory.
    ///
    /// # Panics
    /// If `range` does not lie within the blob.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "slice {range:?} of a blob of {}",
            self.len()
        );
        let base = self.range.start;
        Self { storage: Arc::clone(&self.storage), range: base + range.start..base + range.end }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blob({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_aligned_and_cuts_share_it() {
        let mut buf = BlobBuf::zeroed(100);
        buf.as_mut_slice()[40] = 7;
        let blob = buf.freeze();
        assert_eq!(blob.as_slice().as_ptr().align_offset(BLOB_ALIGNMENT), 0);
        let part = blob.slice(40..50).slice(0..2);
        assert_eq!(part.as_slice(), [7, 0]);
        drop(blob);
        assert_eq!(part.as_slice()[0], 7);
    }
}
