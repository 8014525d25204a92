//! What was pulled, kept by digest, with the signatures of each policy and the digest that each tag last had.
//!
//! | file | what it is |
//! |---|---|
//! | `blobs/DIGEST` | a manifest or a component: checked against its name whenever it is read |
//! | `signatures/DIGEST.json` | the signatures of a manifest: each is verified when it counts |
//! | `pins/HASH.json` | what a tag was when its registry was last asked |
//!
//! The last kind is believed as it stands, so a folder that another user can write to is not used.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use host_files::{atomic, own, private, sha256};
use serde::{Deserialize, Serialize};

use crate::manifest;
use crate::reference::{Digest, Reference};
use crate::referrers::Listed;

/// Bytes of a list of signatures: as many as are looked at, with what JSON escapes of them.
const SIGNATURES: u64 = 16 << 20;

/// The digest of a tag, and when the registry said so.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pin {
    /// Repository and tag.
    pub name: String,
    /// `sha256:…` of the manifest.
    pub digest: String,
    /// Seconds since 1970.
    pub asked: u64,
}

/// A folder of what was pulled.
#[derive(Debug, Clone)]
pub struct Cache(PathBuf);

impl Cache {
    /// Opens the folder, or makes it for its owner alone.
    ///
    /// # Errors
    /// If it can't be made, or if others may write to it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        for part in [
            folder.to_owned(),
            folder.join("blobs"),
            folder.join("signatures"),
            folder.join("pins"),
        ] {
            private::folder(&part).map_err(|error| match error.kind() {
                io::ErrorKind::Other => io::Error::other(format!("{}: {error}", part.display())),
                _ => error,
            })?;
        }
        Ok(Self(folder.to_owned()))
    }

    /// The bytes that a digest names, if they are there and whole.
    pub fn blob(&self, digest: &Digest, most: u64) -> Option<Vec<u8>> {
        let path = self.path(digest);
        let bytes = match own::read(&path, most) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!("{}: {error}; it is pulled again", path.display());
                return None;
            }
        };
        if Digest::of(&bytes) == *digest {
            return Some(bytes);
        }
        tracing::warn!("{}: isn't what its name says; it is pulled again", path.display());
        None
    }

    /// A manifest.
    pub fn manifest(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.blob(digest, manifest::LARGEST)
    }

    /// Keeps bytes.
    pub fn keep(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        atomic::write_entry(&self.path(digest), &[bytes])
    }

    /// The signatures of a manifest, as they were when they were last asked for.
    pub fn signatures(&self, of: &Digest) -> Option<Listed> {
        let text = own::read_text(&self.listed(of), SIGNATURES).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Keeps them.
    pub fn keep_signatures(&self, of: &Digest, listed: &Listed) -> io::Result<()> {
        atomic::write_entry(&self.listed(of), &[&serde_json::to_vec(listed)?])
    }

    /// What a tag was when its registry was last asked.
    pub fn pin(&self, reference: &Reference) -> Option<(Digest, Pin)> {
        let name = name(reference)?;
        let text = own::read_text(&self.noted(&name), 1 << 12).ok()?;
        let pin: Pin = serde_json::from_str(&text).ok().filter(|pin: &Pin| pin.name == name)?;
        Some((pin.digest.parse().ok()?, pin))
    }

    /// Notes what it is now.
    pub fn note(&self, reference: &Reference, digest: &Digest) -> io::Result<()> {
        let Some(name) = name(reference) else { return Ok(()) };
        let asked = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let pin = Pin { digest: digest.to_string(), asked, name };
        atomic::write_entry(&self.noted(&pin.name), &[&serde_json::to_vec(&pin)?])
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.0.join("blobs").join(digest.hex())
    }

    fn listed(&self, of: &Digest) -> PathBuf {
        self.0.join("signatures").join(format!("{}.json", of.hex()))
    }

    fn noted(&self, name: &str) -> PathBuf {
        self.0.join("pins").join(format!("{}.json", sha256::hex(name)))
    }
}

fn name(reference: &Reference) -> Option<String> {
    Some(format!("{}:{}", reference.place(), reference.tag.as_deref()?))
}
