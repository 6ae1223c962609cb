//! Handing disjoint parts of output buffers to the pool, safely for those who call it.
//!
//! An operation writes each output element from exactly one item. Cutting the buffers into chunks and giving
//! item `i` the `i`-th chunk says so in types: the one unsafe step, making many `&mut` from one, is here.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use super::Pool;

/// A buffer cut into chunks of `chunk_len` elements, the last one shorter if need be.
pub struct Chunked<'a, T> {
    data: &'a mut [T],
    chunk_len: usize,
}

impl<'a, T> Chunked<'a, T> {
    /// Cuts `data` into chunks of `chunk_len` elements.
    ///
    /// # Panics
    /// If `chunk_len` is 0.
    pub fn new(data: &'a mut [T], chunk_len: usize) -> Self {
        assert!(chunk_len > 0, "a chunk holds at least one element");
        Self { data, chunk_len }
    }

    fn count(&self) -> usize {
        self.data.len().div_ceil(self.chunk_len)
    }
}

/// A matrix of rows of `stride` elements cut into stripes of `width` columns, the last one narrower if need be.
pub struct Striped<'a, T> {
    data: &'a mut [T],
    stride: usize,
    width: usize,
}

impl<'a, T> Striped<'a, T> {
    /// Cuts `data` into stripes of `width` columns.
    ///
    /// # Panics
    /// If `data` is not whole rows or a stripe has no columns.
    pub fn new(data: &'a mut [T], stride: usize, width: usize) -> Self {
        assert!(
            width > 0 && (data.is_empty() || data.len().is_multiple_of(stride)),
            "whole rows of {stride}"
        );
        Self { data, stride, width }
    }

    fn count(&self) -> usize {
        if self.data.is_empty() { 0 } else { self.stride.div_ceil(self.width) }
    }
}

/// Some columns of every row of a matrix.
pub struct Stripe<'a, T> {
    first: *mut T,
    rows: usize,
    stride: usize,
    width: usize,
    lives: PhantomData<&'a mut [T]>,
}

impl<T> Stripe<'_, T> {
    /// Columns of the stripe.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// The stripe's part of row `row`.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: the row lies within the matrix that `for_each_stripe_of` cut this stripe from, its columns belong to
        // this stripe alone, and `self` is borrowed for as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(row * self.stride), self.width) }
    }
}

struct Base<T>(*mut T);
// SAFETY: the pointer is only turned into slices of disjoint ranges, one for each item (see `for_each_chunk_of`).
unsafe impl<T: Send> Sync for Base<T> {}

impl Pool {
    /// Calls `run(chunk_idx, chunk)` for every chunk of `chunk_len` elements of `data`.
    pub fn for_each_chunk<T: Send>(
        &self,
        data: &mut [T],
        chunk_len: usize,
        run: impl Fn(usize, &mut [T]) + Sync,
    ) {
        self.for_each_chunk_of(&mut [Chunked::new(data, chunk_len)], |_, chunk_idx, chunk| {
            run(chunk_idx, chunk)
        });
    }

    /// Calls `run(buffer_idx, chunk_idx, chunk)` for every chunk of every buffer, as one list of work.
    pub fn for_each_chunk_of<T: Send>(
        &self,
        buffers: &mut [Chunked<'_, T>],
        run: impl Fn(usize, usize, &mut [T]) + Sync,
    ) {
        let counts: Vec<usize> = buffers.iter().map(Chunked::count).collect();
        let parts: Vec<(Base<T>, usize, usize)> = buffers
            .iter_mut()
            .map(|buffer| (Base(buffer.data.as_mut_ptr()), buffer.data.len(), buffer.chunk_len))
            .collect();
        self.run_lists(&counts, |buffer_idx, chunk_idx| {
            let (base, len, chunk_len) = &parts[buffer_idx];
            let start = chunk_idx * chunk_len;
            let end = (start + chunk_len).min(*len);
            // SAFETY: `start < end <= len`, since `chunk_idx < count()`; each item is run once, so no two slices of
            // one buffer overlap; the buffers are borrowed mutably for the whole call.
            let chunk = unsafe { std::slice::from_raw_parts_mut(base.0.add(start), end - start) };
            run(buffer_idx, chunk_idx, chunk);
        });
    }

    /// Calls `run(matrix_idx, first_column, stripe)` for every stripe of every matrix, as one list of work.
    pub fn for_each_stripe_of<T: Send>(
        &self,
        matrices: &mut [Striped<'_, T>],
        run: impl Fn(usize, usize, &mut Stripe<'_, T>) + Sync,
    ) {
        let counts: Vec<usize> = matrices.iter().map(Striped::count).collect();
        let parts: Vec<_> = matrices
            .iter_mut()
            .map(|matrix| {
                let rows = matrix.data.len() / matrix.stride;
                (Base(matrix.data.as_mut_ptr()), rows, matrix.stride, matrix.width)
            })
            .collect();
        self.run_lists(&counts, |matrix_idx, stripe_idx| {
            let (base, rows, stride, width) = &parts[matrix_idx];
            let first_column = stripe_idx * width;
            let width = (*width).min(stride - first_column);
            // SAFETY: `first_column < stride` since `stripe_idx < count()`, and there is at least one row; each item
            // is run once, so no two stripes of a matrix share a column; the matrices are borrowed for the whole call.
            let first = unsafe { base.0.add(first_column) };
            let mut stripe = Stripe { first, rows: *rows, stride: *stride, width, lives: PhantomData };
            run(matrix_idx, first_column, &mut stripe);
        });
    }

    /// Runs several lists of items as one: `run(list_idx, item_idx)` for every item of every list.
    fn run_lists(&self, counts: &[usize], run: impl Fn(usize, usize) + Sync) {
        let ends: Vec<usize> = counts
            .iter()
            .scan(0, |end, count| {
                *end += count;
                Some(*end)
            })
            .collect();
        self.run(ends.last().copied().unwrap_or(0), &|item| {
            let list_idx = ends.partition_point(|&end| end <= item);
            run(list_idx, item - (ends[list_idx] - counts[list_idx]));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stripe_is_written_by_its_own_item() {
        let pool = Pool::new(3);
        let (mut a, mut b) = (vec![0u32; 2 * 5], vec![0u32; 3]);
        let mut matrices =
            [Striped::new(&mut a, 5, 2), Striped::new(&mut b, 3, 3), Striped::new(&mut [], 4, 2)];
        pool.for_each_stripe_of(&mut matrices, |matrix, column, stripe| {
            for row in 0..2 - matrix {
                stripe.row_mut(row).fill((100 * matrix + 10 * row + column + 1) as u32);
            }
        });
        assert_eq!(a, [1, 1, 3, 3, 5, 11, 11, 13, 13, 15]);
        assert_eq!(b, [101; 3]);
    }

    #[test]
    fn each_chunk_is_written_by_its_own_item() {
        let pool = Pool::new(3);
        let (mut a, mut b) = (vec![0u32; 10], vec![0u32; 7]);
        pool.for_each_chunk_of(
            &mut [Chunked::new(&mut a, 4), Chunked::new(&mut b, 7)],
            |buffer, chunk, out| {
                out.fill((buffer * 10 + chunk + 1) as u32);
            },
        );
        assert_eq!(a, [1, 1, 1, 1, 2, 2, 2, 2, 3, 3]);
        assert_eq!(b, [11; 7]);
        pool.for_each_chunk::<u32>(&mut [], 3, |_, _| unreachable!("no chunk"));
    }
}
