//! Policies that lie in registries and not in files, named so wherever a policy file is named.

use std::path::Path;

use crate::error::FileProblem;

/// Where such policies come from. This crate asks no server: it is told the bytes, and trusts them no more than a file's.
pub trait Registry: Send + Sync {
    /// The bytes of the policy that `named` is the name of, of at most `most` bytes; none if it is no such name.
    ///
    /// # Errors
    /// Why they can't be had.
    fn open(&self, named: &Path, most: u64) -> Option<Result<Vec<u8>, FileProblem>>;

    /// The texts of its signatures in minisign's format; none if it is no such name. `again` has those be asked for that
    /// were made since.
    ///
    /// # Errors
    /// Why they can't be had.
    fn signatures(&self, named: &Path, again: bool) -> Option<Result<Vec<String>, FileProblem>>;
}

/// No registry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nowhere;

impl Registry for Nowhere {
    fn open(&self, _: &Path, _: u64) -> Option<Result<Vec<u8>, FileProblem>> {
        None
    }

    fn signatures(&self, _: &Path, _: bool) -> Option<Result<Vec<String>, FileProblem>> {
        None
    }
}
