//! Owned bytes that many may read: where a weight lives once it has been read from disk.
//!
//! A [`BlobBuf`] is filled once (by a read, a decode or a copy), then frozen into a [`Blob`], which is cheap to
//! clone and to cut into parts. Memory returns when the last part is dropped, so holding a `Blob` is what keeps
//! a weight resident.

use std::ops::Range;
use std::sync::Arc;

use memmap2::MmapMut;

use crate::slab::{LARGE, Part, advise_large};

/// Alignment of a blob's first byte: one page, which direct reads from disk ask for and every SIMD load likes.
pub const BLOB_ALIGNMENT: usize = 4096;

/// Page-aligned memory of a fixed length, zeroed, not yet shared.
pub struct BlobBuf {
    memory: Memory,
    range: Range<usize>,
}

impl BlobBuf {
    /// Takes memory for `len` bytes, all zero.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        // In whole pages, large ones where the system has them: a core that reads weights then misses fewer translations,
        // its prefetcher, which stops at the end of a page, runs on, and a drive writes megabytes to one place instead of
        // hundreds of small ones.
        if len >= LARGE
            && let Some(buf) = Self::large(len)
        {
            return buf;
        }
        let bytes = vec![0u8; len + BLOB_ALIGNMENT];
        let start = bytes.as_ptr().align_offset(BLOB_ALIGNMENT);
        // `align_offset` may give up only in const evaluation; an unaligned blob is slower, never wrong.
        let start = if start <= BLOB_ALIGNMENT { start } else { 0 };
        Self { memory: Memory::Heap(bytes), range: start..start + len }
    }

    /// Memory of each of the lengths `lens`, all zero, side by side, so that all of it lies in large pages whatever they are.
    /// The memory of each goes when it is dropped.
    ///
    /// # Panics
    /// If a length is not a multiple of [`BLOB_ALIGNMENT`].
    #[must_use]
    pub fn side_by_side(lens: &[usize]) -> Vec<Self> {
        for len in lens {
            assert!(len.is_multiple_of(BLOB_ALIGNMENT), "{len} bytes are not whole pages");
        }
        let parts = Part::cut(lens);
        if parts.len() < lens.len() {
            return lens.iter().map(|len| Self::zeroed(*len)).collect();
        }
        let whole = |(part, len): (Part, &usize)| Self { memory: Memory::Part(part), range: 0..*len };
        parts.into_iter().zip(lens).map(whole).collect()
    }

    /// Memory that begins at a large page. What is left over before it and behind is never touched, so it takes none.
    fn large(len: usize) -> Option<Self> {
        let pages = MmapMut::map_anon(len + LARGE).ok()?;
        let start = Some(pages.as_ptr().align_offset(LARGE)).filter(|start| *start <= LARGE).unwrap_or(0);
        advise_large(&pages, start, len);
        Some(Self { memory: Memory::Pages(pages), range: start..start + len })
    }

    /// The bytes to fill.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Heap(bytes) => &mut bytes[self.range.clone()],
            Memory::Pages(bytes) => &mut bytes[self.range.clone()],
            Memory::Part(part) => &mut part.bytes_mut()[self.range.clone()],
        }
    }

    /// Ends writing: from here on the bytes are shared and never change.
    #[must_use]
    pub fn freeze(self) -> Blob {
        Blob { storage: Arc::new(Storage::Owned(self.memory)), range: self.range }
    }
}

enum Memory {
    Heap(Vec<u8>),
    Pages(MmapMut),
    Part(Part),
}

enum Storage {
    Owned(Memory),
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
            Storage::Owned(Memory::Heap(bytes)) => &bytes[self.range.clone()],
            Storage::Owned(Memory::Pages(bytes)) => &bytes[self.range.clone()],
            Storage::Owned(Memory::Part(part)) => &part.bytes()[self.range.clone()],
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

    /// The memory, to be filled anew.
    ///
    /// # Errors
    /// If another blob shares it, or it is part of the program: the blob, as it was.
    pub fn into_buf(self) -> Result<BlobBuf, Self> {
        let Self { storage, range } = self;
        match Arc::try_unwrap(storage) {
            Ok(Storage::Owned(memory)) => Ok(BlobBuf { memory, range }),
            Ok(storage @ Storage::Static(_)) => Err(Self { storage: Arc::new(storage), range }),
            Err(storage) => Err(Self { storage, range }),
        }
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
        for len in [100, LARGE, 3 * LARGE + 100] {
            let mut buf = BlobBuf::zeroed(len);
            assert!(buf.as_mut_slice().iter().all(|byte| *byte == 0) && buf.as_mut_slice().len() == len);
            buf.as_mut_slice()[40] = 7;
            let blob = buf.freeze();
            assert_eq!(blob.as_slice().as_ptr().align_offset(BLOB_ALIGNMENT), 0);
            let part = blob.slice(40..50).slice(0..2);
            assert_eq!(part.as_slice(), [7, 0]);
            drop(blob);
            assert_eq!(part.as_slice()[0], 7);
        }
    }

    #[test]
    fn memory_comes_back_from_its_last_holder_only() {
        let mut buf = BlobBuf::zeroed(100);
        buf.as_mut_slice()[0] = 1;
        let blob = buf.freeze();
        let part = blob.slice(0..1);
        let blob = blob.into_buf().err().expect("a part is out");
        assert_eq!(part.as_slice(), [1]);
        drop(part);
        let Ok(mut buf) = blob.into_buf() else { panic!("nobody else holds it") };
        assert_eq!((buf.as_mut_slice().len(), buf.as_mut_slice()[0]), (100, 1));
        assert!(Blob::from_static(&[1]).into_buf().is_err(), "the program's own bytes stay");
    }
}
