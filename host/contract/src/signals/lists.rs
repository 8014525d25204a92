//! Long lists of a signal, which a journal keeps apart: sample by sample, each once.

/// Keeps long lists, and gives each a name by its content.
pub trait ListsWriter {
    /// Keeps a list and returns its digest.
    fn put(&mut self, values: &[f32]) -> String;
}

/// Finds long lists by their digest.
pub trait Lists {
    /// A list that was kept.
    ///
    /// # Errors
    /// If it is not there, or not what it was.
    fn list(&self, digest: &str) -> Result<Vec<f32>, String>;
}

/// Lists one after the other.
pub(super) fn join(digests: &[String], lists: &dyn Lists) -> Result<Vec<f32>, String> {
    let mut values = Vec::new();
    for digest in digests {
        values.extend(lists.list(digest)?);
    }
    Ok(values)
}
