//! The same block of every row of a tile.
//!
//! Rows lie at one distance from each other, so one check of the last row covers them all, and a load is an address and
//! no more. Kernels load some hundred times for each check.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use super::Vector;

/// A block of `BYTES` bytes of each of `V::ROWS` rows.
pub(crate) struct Blocks<'a, V, const BYTES: usize> {
    /// From the first row's block on. At least `(V::ROWS - 1) * stride + BYTES` long: `new` sees to it.
    bytes: &'a [u8],
    /// From one row to the next.
    stride: usize,
    rows: PhantomData<V>,
}

impl<'a, V: Vector, const BYTES: usize> Blocks<'a, V, BYTES> {
    /// The blocks at the beginning of `bytes` and every `stride` bytes from there.
    ///
    /// # Panics
    /// If `bytes` does not hold the last of them.
    #[inline(always)]
    pub(crate) fn new(bytes: &'a [u8], stride: usize) -> Self {
        let before_last = stride.checked_mul(V::ROWS - 1).expect("the rows of a tile lie in memory");
        assert!(before_last <= bytes.len() && bytes.len() - before_last >= BYTES, "a whole tile of blocks");
        Self { bytes, stride, rows: PhantomData }
    }

    /// The `N` bytes at `at` of the block of row `row`.
    ///
    /// # Panics
    /// If there is no such row, or the block ends before. Both are constants wherever speed matters.
    #[inline(always)]
    pub(crate) fn part<const N: usize>(&self, row: usize, at: usize) -> &'a [u8; N] {
        assert!(row < V::ROWS && at <= BYTES && N <= BYTES - at, "the part lies within the block");
        let first = self.bytes.as_ptr().wrapping_add(row * self.stride + at);
        // SAFETY: the asserted bounds and the length that `new` checked put all `N` bytes inside `bytes`:
        // row * stride + at + N <= (ROWS - 1) * stride + BYTES <= bytes.len(), and bytes have no alignment.
        unsafe { &*first.cast::<[u8; N]>() }
    }

    /// The little-endian word at `at` of the block of row `row`.
    #[inline(always)]
    pub(crate) fn word(&self, row: usize, at: usize) -> i32 {
        i32::from_le_bytes(*self.part(row, at))
    }
}
