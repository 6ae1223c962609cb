//! Handing disjoint parts of output buffers to the pool, safely for those who call it.
//!
//! An operation writes each output element from exactly one item. Cutting the buffers into chunks and giving
//! item `i` the `i`-th chunk says so in types: the one unsafe step, making many `&mut` from one, is here.
#![allow(unsafe_code)]

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
        let mut ends = Vec::with_capacity(buffers.len());
        let mut total = 0;
        let parts: Vec<(Base<T>, usize, usize)> = buffers
            .iter_mut()
            .map(|buffer| {
                total += buffer.count();
                ends.push(total);
                (Base(buffer.data.as_mut_ptr()), buffer.data.len(), buffer.chunk_len)
            })
            .collect();
        self.run(total, &|item| {
            let buffer_idx = ends.partition_point(|&end| end <= item);
            let (base, len, chunk_len) = &parts[buffer_idx];
            let chunk_idx = item - if buffer_idx == 0 { 0 } else { ends[buffer_idx - 1] };
            let start = chunk_idx * chunk_len;
            let end = (start + chunk_len).min(*len);
            // SAFETY: `start < end <= len`, since `chunk_idx < count()`; each item is run once, so no two slices of
            // one buffer overlap; the buffers are borrowed mutably for the whole call.
            let chunk = unsafe { std::slice::from_raw_parts_mut(base.0.add(start), end - start) };
            run(buffer_idx, chunk_idx, chunk);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
