//! The key whose signature a policy must have: one of minisign, or one of cosign.

use std::fmt;

use host_files::own;
use host_files::text::clean;

use crate::cosign::CosignKey;
use crate::endorsement::Endorsement;
use crate::error::{Error, Result};
use crate::signature::{FILE_BYTES, PublicKey};

/// A public key that policies are signed with.
#[derive(Debug, Clone)]
pub enum PolicyKey {
    /// Signs the bytes of a policy, wherever they lie.
    Minisign(PublicKey),
    /// Signs the manifest of a policy in a registry.
    Cosign(CosignKey),
}

/// What a signature that holds says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endorsed {
    /// One of minisign's format.
    Policy(Endorsement),
    /// One of cosign, of the manifest of this digest.
    Manifest {
        /// `sha256:…` of the manifest.
        digest: String,
        /// SHA-256 of the policy.
        sha256: String,
    },
}

impl PolicyKey {
    /// Reads a public key: a file of minisign's format or of cosign's (PEM), or the key itself.
    ///
    /// # Errors
    /// If it is neither.
    pub fn read(file_or_key: &str) -> Result<Self> {
        let text = match own::read_text(file_or_key.as_ref(), FILE_BYTES) {
            Ok(text) => text,
            Err(_) => file_or_key.to_owned(),
        };
        match CosignKey::parse(&text) {
            Some(Ok(key)) => Ok(Self::Cosign(key)),
            Some(Err(problem)) => {
                // The key itself is many lines.
                let is_file = text != file_or_key;
                let key = if is_file { clean(file_or_key, 200) } else { "in PEM".to_owned() };
                Err(Error::Key { key, problem: format!("it {problem}") })
            }
            None => PublicKey::read(file_or_key).map(Self::Minisign),
        }
    }

    /// The number under which it is shown and revoked: 16 digits.
    pub fn id(&self) -> String {
        match self {
            Self::Minisign(key) => key.id(),
            Self::Cosign(key) => key.id().to_owned(),
        }
    }

    /// The key, if it is one of minisign's.
    pub fn minisign(&self) -> Option<&PublicKey> {
        match self {
            Self::Minisign(key) => Some(key),
            Self::Cosign(_) => None,
        }
    }
}

impl Endorsed {
    /// SHA-256 of the policy.
    pub fn sha256(&self) -> &str {
        match self {
            Self::Policy(said) => &said.sha256,
            Self::Manifest { sha256, .. } => sha256,
        }
    }

    /// What the signature itself says of the policy, if it says anything.
    pub fn policy(&self) -> Option<&Endorsement> {
        match self {
            Self::Policy(said) => Some(said),
            Self::Manifest { .. } => None,
        }
    }

    /// Whether it may be of a policy that calls itself so.
    pub(crate) fn names(&self, name: &str, version: &str) -> Result<(), String> {
        self.policy().map_or(Ok(()), |said| said.names(name, version))
    }
}

impl fmt::Display for Endorsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(said) => said.fmt(f),
            Self::Manifest { digest, sha256 } => {
                write!(f, "{sha256:.8} in the manifest {digest}, without a last day")
            }
        }
    }
}
