//! Rows of features.

/// `rows` x `columns` values, row after row.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    columns: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// A matrix without rows.
    pub fn new(columns: usize) -> Self {
        Self { columns, values: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// If it has another length than the matrix has columns.
    pub fn push(&mut self, row: &[f32]) -> Result<(), String> {
        if row.len() != self.columns {
            return Err(format!("a row of {} values for {} columns", row.len(), self.columns));
        }
        self.values.extend_from_slice(row);
        Ok(())
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.columns).unwrap_or(0)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Rows, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.columns.max(1))
    }

    /// Rows, in order, to be changed.
    pub fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.columns.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_order_and_others_are_refused() {
        let mut m = Matrix::new(2);
        assert!(m.is_empty());
        assert_eq!(m.push(&[1.0, 2.0]), Ok(()));
        assert_eq!(m.push(&[3.0, 4.0]), Ok(()));
        assert!(m.push(&[5.0]).is_err());
        assert_eq!((m.len(), m.columns()), (2, 2));
        assert_eq!(m.rows().nth(1), Some(&[3.0f32, 4.0][..]));
        assert_eq!(Matrix::new(0).len(), 0);
    }
}
