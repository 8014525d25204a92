//! Policies that lie in registries and not in files, named so wherever a policy file is named.

use std::path::Path;

use crate::cosign::Attachment;
use crate::error::FileProblem;
use crate::signature::claimed_key;

/// What a registry has beside a policy; none of it is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures {
    /// The manifest that the policy lies in; empty where it can't be had.
    pub manifest: Vec<u8>,
    /// Texts in minisign's format, of the policy's bytes.
    pub minisign: Vec<String>,
    /// What cosign attached to the manifest.
    pub cosign: Vec<Attachment>,
}

/// Where such policies come from. This crate asks no server: it is told the bytes, and trusts them no more than a file's.
pub trait Registry: Send + Sync {
    /// The bytes of the policy that `named` is the name of, of at most `most` bytes; none if it is no such name.
    ///
    /// # Errors
    /// Why they can't be had.
    fn open(&self, named: &Path, most: u64) -> Option<Result<Vec<u8>, FileProblem>>;

    /// Its signatures; none if it is no such name. `again` has those be asked for that were made since.
    ///
    /// # Errors
    /// Why they can't be had.
    fn signatures(&self, named: &Path, again: bool) -> Option<Result<Signatures, FileProblem>>;
}

/// What a signature that nobody checked says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// In minisign's format, by the key of this number.
    Minisign(String),
    /// One of cosign's, which names no key.
    Cosign,
    /// It is none.
    Nothing,
}

impl Claim {
    /// Of a text that should be one of minisign's.
    pub fn of(text: &str) -> Self {
        claimed_key(text).map_or(Self::Nothing, Self::Minisign)
    }
}

impl Signatures {
    /// What the first of them says of itself.
    pub fn claim(&self) -> Option<Claim> {
        let first = self.minisign.first().map(|text| Claim::of(text));
        first.or_else(|| self.cosign.first().map(|_| Claim::Cosign))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.minisign.len() + self.cosign.len()
    }
}

/// No registry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nowhere;

impl Registry for Nowhere {
    fn open(&self, _: &Path, _: u64) -> Option<Result<Vec<u8>, FileProblem>> {
        None
    }

    fn signatures(&self, _: &Path, _: bool) -> Option<Result<Signatures, FileProblem>> {
        None
    }
}
