//! Views of matrices in memory, and whether a product replaces its result or adds to it.

/// A view of a matrix: element (i, j) is data[i * row + j * col].
#[derive(Clone, Copy)]
pub struct Mat<'a, T = f32> {
    /// Values from the first element on.
    pub data: &'a [T],
    /// Values from one row to the next.
    pub row: usize,
    /// Values from one column to the next.
    pub col: usize,
}

impl<'a, T> Mat<'a, T> {
    /// Rows of `stride` values.
    pub fn rows(data: &'a [T], stride: usize) -> Self {
        Self { data, row: stride, col: 1 }
    }

    /// The transposed view.
    pub fn t(self) -> Self {
        Self { data: self.data, row: self.col, col: self.row }
    }

    /// The view that starts at element (i, j).
    pub fn from(self, i: usize, j: usize) -> Self {
        Self { data: &self.data[i * self.row + j * self.col..], ..self }
    }

    /// # Panics
    /// If [rows, cols] is outside the data.
    pub fn check(&self, rows: usize, cols: usize) {
        let last = (rows - 1) * self.row + (cols - 1) * self.col;
        assert!(last < self.data.len(), "matrix view outside its data");
    }
}

/// Whether a product replaces C or is added to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Accumulate {
    /// c = a b
    Set,
    /// c += a b
    Add,
}
