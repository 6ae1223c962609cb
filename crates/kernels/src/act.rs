//! Activations: a matrix of f32, one row for each token (or token and head) of the step.
//!
//! A prompt's step makes and drops some hundred megabytes of them. Memory fresh from the system costs a fault and a
//! clearing for each page, several times what the arithmetic on it costs, so each thread keeps a few dropped buffers for the next.

use std::cell::RefCell;

/// Buffers below this are left to the allocator, which keeps them itself.
const KEPT_LEN_MIN: usize = 16 << 10;
/// Bytes that a thread keeps at most, about what a step of 512 tokens has at a time.
pub const KEPT_BYTES_MAX: usize = 128 << 20;
const KEPT_LEN_MAX: usize = KEPT_BYTES_MAX / size_of::<f32>();

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of `len` zeros, of kept memory if some fits.
fn zeroed(len: usize) -> Vec<f32> {
    let fits = |buffer: &Vec<f32>| buffer.capacity() >= len && buffer.capacity() / 2 <= len;
    let kept = (len >= KEPT_LEN_MIN).then(|| {
        KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            kept.iter().position(fits).map(|found| kept.swap_remove(found))
        })
    });
    let Some(Ok(Some(mut buffer))) = kept else { return vec![0.0; len] };
    buffer.clear();
    buffer.resize(len, 0.0);
    buffer
}

/// Keeps the memory of `buffer` if there is room; the oldest give way.
fn keep(buffer: Vec<f32>) {
    if (KEPT_LEN_MIN..=KEPT_LEN_MAX).contains(&buffer.capacity()) {
        // A thread that ends has no list any more, and then the memory is simply freed.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            kept.push(buffer);
            while kept.iter().map(Vec::capacity).sum::<usize>() > KEPT_LEN_MAX {
                kept.remove(0);
            }
        });
    }
}

/// Activations `[rows, cols]`, row-major f32. Opaque to models: they hand it from verb to verb.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Act {
    rows: usize,
    cols: usize,
    data: Vec<f32>,
}

impl Drop for Act {
    fn drop(&mut self) {
        keep(std::mem::take(&mut self.data));
    }
}

impl Act {
    /// All zero.
    #[must_use]
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { rows, cols, data: zeroed(rows * cols) }
    }

    /// Takes `data` as `[rows, cols]`.
    ///
    /// # Panics
    /// If the length is not `rows * cols`.
    #[must_use]
    pub fn from_vec(rows: usize, cols: usize, data: Vec<f32>) -> Self {
        assert_eq!(data.len(), rows * cols, "an activation of [{rows}, {cols}]");
        Self { rows, cols, data }
    }

    /// How many rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns.
    #[must_use]
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// The same elements seen as rows of `cols` columns, for example one row for each head.
    ///
    /// # Panics
    /// If the elements do not fill whole rows.
    #[must_use]
    pub fn reshaped(mut self, cols: usize) -> Self {
        assert!(
            cols > 0 && self.data.len().is_multiple_of(cols),
            "[{}, {}] into rows of {cols}",
            self.rows,
            self.cols
        );
        self.rows = self.data.len() / cols;
        self.cols = cols;
        self
    }

    /// Row `row`.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.cols..][..self.cols]
    }

    /// Row `row`, to change.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[row * self.cols..][..self.cols]
    }

    /// All elements, row by row.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    /// All elements, to change.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// Every row `times` times side by side.
    #[must_use]
    pub fn repeated(&self, times: usize) -> Self {
        let mut out = Self::zeros(self.rows, self.cols * times);
        for row in 0..self.rows {
            out.row_mut(row).chunks_exact_mut(self.cols).for_each(|part| part.copy_from_slice(self.row(row)));
        }
        out
    }

    /// Each row with the same row of `other` behind it.
    ///
    /// # Panics
    /// If there are not as many rows.
    #[must_use]
    pub fn beside(&self, other: &Self) -> Self {
        assert_eq!(self.rows, other.rows, "rows to put side by side");
        let mut out = Self::zeros(self.rows, self.cols + other.cols);
        for row in 0..self.rows {
            let (left, right) = out.row_mut(row).split_at_mut(self.cols);
            left.copy_from_slice(self.row(row));
            right.copy_from_slice(other.row(row));
        }
        out
    }

    /// The rows of all `parts`, which have as many columns.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn stacked(parts: &[Self]) -> Self {
        let cols = parts.first().expect("some rows").cols;
        let mut out = Self::zeros(parts.iter().map(|part| part.rows).sum(), cols);
        let rows = parts.iter().flat_map(|part| (0..part.rows).map(move |row| part.row(row)));
        rows.enumerate().for_each(|(i, row)| out.row_mut(i).copy_from_slice(row));
        out
    }

    /// The columns `[start, start + cols)` of every row, copied.
    ///
    /// # Panics
    /// If they do not lie within the row.
    #[must_use]
    pub fn columns(&self, start: usize, cols: usize) -> Self {
        assert!(start + cols <= self.cols, "columns {start}..{} of {}", start + cols, self.cols);
        let mut out = Self::zeros(self.rows, cols);
        for row in 0..self.rows {
            out.row_mut(row).copy_from_slice(&self.row(row)[start..start + cols]);
        }
        out
    }

    /// The rows `rows`, copied in that order.
    #[must_use]
    pub fn select_rows(&self, rows: &[usize]) -> Self {
        let mut out = Self::zeros(rows.len(), self.cols);
        for (i, &row) in rows.iter().enumerate() {
            out.row_mut(i).copy_from_slice(self.row(row));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_used_comes_back_zero() {
        let mut x = Act::zeros(4, KEPT_LEN_MIN);
        x.as_mut_slice().fill(7.0);
        drop(x);
        let y = Act::zeros(3, KEPT_LEN_MIN);
        assert!(y.as_slice().iter().all(|x| *x == 0.0));
        assert_eq!(y.as_slice().len(), 3 * KEPT_LEN_MIN);
    }
}
