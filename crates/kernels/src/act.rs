//! Activations: a matrix of f32, one row for each token (or token and head) of the step.

/// Activations `[rows, cols]`, row-major f32. Opaque to models: they hand it from verb to verb.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Act {
    rows: usize,
    cols: usize,
    data: Vec<f32>,
}

impl Act {
    /// All zero.
    #[must_use]
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { rows, cols, data: vec![0.0; rows * cols] }
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

    /// The columns `[start, start + cols)` of every row, copied.
    ///
    /// # Panics
    /// If they do not lie within the row.
    #[must_use]
    pub fn columns(&self, start: usize, cols: usize) -> Self {
        assert!(start + cols <= self.cols, "columns {start}..{} of {}", start + cols, self.cols);
        let mut data = Vec::with_capacity(self.rows * cols);
        for row in 0..self.rows {
            data.extend_from_slice(&self.row(row)[start..start + cols]);
        }
        Self { rows: self.rows, cols, data }
    }

    /// The rows `rows`, copied in that order.
    #[must_use]
    pub fn select_rows(&self, rows: &[usize]) -> Self {
        let mut data = Vec::with_capacity(rows.len() * self.cols);
        for &row in rows {
            data.extend_from_slice(self.row(row));
        }
        Self { rows: rows.len(), cols: self.cols, data }
    }
}
