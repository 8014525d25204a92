//! Compiled policies kept on disk, so that a policy is compiled once per machine.
//!
//! Native code is trusted by whoever loads it, so an entry is only as good as its
//! proof: each carries a MAC (HMAC-SHA-256) over its name and its code, by a key that
//! lies in another folder and is readable by its owner alone. An entry without a valid
//! one is never loaded; it is reported and replaced. The name says what the code was
//! made from: the component's SHA-256, wasmtime's version and the engine's
//! configuration.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use host_files::{atomic, private};
use sha2::Sha256;

const KEY_BYTES: usize = 64;
const TAG_BYTES: usize = 32;

/// A folder of compiled policies.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
}

impl Cache {
    /// Opens a cache, or makes it: the folder with access for its owner alone, the key
    /// likewise and with a fresh random content.
    ///
    /// # Errors
    /// If either can't be made, or if others may write to the folder or read the key.
    pub fn open(folder: &Path, key_file: &Path) -> io::Result<Self> {
        private_folder(folder)?;
        if let Some(parent) = key_file.parent() {
            private_folder(parent)?;
        }
        let key = match read_key(key_file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(key_file)?,
            other => other?,
        };
        Ok(Self { folder: folder.to_owned(), key })
    }

    /// The code under a name, if it is there and genuine.
    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.path(name);
        let mut bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!("{}: {error}; the policy is compiled again", path.display());
                return None;
            }
        };
        let genuine = bytes.len() > TAG_BYTES && {
            let (tag, code) = bytes.split_at(TAG_BYTES);
            self.mac(name, code).verify_slice(tag).is_ok()
        };
        if !genuine {
            tracing::warn!(
                "{}: this compiled policy was changed by someone else; it is not loaded, and compiled again",
                path.display()
            );
            return None;
        }
        bytes.drain(..TAG_BYTES);
        Some(bytes)
    }

    /// Keeps code. A cache that can't be written costs time, never a run.
    pub(crate) fn put(&self, name: &str, code: &[u8]) {
        let path = self.path(name);
        if let Err(error) = self.write(&path, name, code) {
            tracing::warn!("{}: {error}; the policy is not cached", path.display());
        }
    }

    fn write(&self, path: &Path, name: &str, code: &[u8]) -> io::Result<()> {
        atomic::write_entry(path, &[&self.mac(name, code).finalize().into_bytes(), code])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.policy"))
    }

    fn mac(&self, name: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(code);
        mac
    }
}

fn private_folder(folder: &Path) -> io::Result<()> {
    private::folder(folder).map_err(|error| own_words(folder, error))
}

/// Names the path in what isn't the system's own error.
fn own_words(path: &Path, error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Other => refused(path, &error.to_string()),
        _ => error,
    }
}

fn read_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    private::secret(path).map_err(|error| own_words(path, error))?;
    let bytes = fs::read(path)?;
    bytes.try_into().map_err(|_| refused(path, "it is no key; remove it"))
}

/// Two hosts may start at once: whoever comes second takes the first one's key.
fn make_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    match atomic::write_secret(path, &key) {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_key(path),
        Err(error) => Err(error),
    }
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    fn open(folder: &tempfile::TempDir) -> io::Result<Cache> {
        Cache::open(&folder.path().join("policies"), &folder.path().join("keys/cache.key"))
    }

    #[test]
    fn what_was_kept_comes_back_also_to_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(open(&folder).unwrap().get("a"), None);
        open(&folder).unwrap().put("a", b"code");
        assert_eq!(open(&folder).unwrap().get("a").unwrap(), b"code");
        assert_eq!(open(&folder).unwrap().get("b"), None);
        let files = fs::read_dir(folder.path().join("policies")).unwrap();
        assert_eq!(files.count(), 1, "nothing temporary is left");
    }

    #[test]
    fn a_changed_cut_or_renamed_entry_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let cache = open(&folder).unwrap();
        cache.put("a", b"code");
        let path = cache.path("a");
        let genuine = fs::read(&path).unwrap();
        for at in 0..genuine.len() {
            let mut changed = genuine.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            assert_eq!(cache.get("a"), None, "byte {at}");
            fs::write(&path, &genuine[..at]).unwrap();
            assert_eq!(cache.get("a"), None, "cut at {at}");
        }
        fs::write(cache.path("b"), &genuine).unwrap();
        assert_eq!(cache.get("b"), None, "another policy's code");
        fs::write(&path, &genuine).unwrap();
        assert_eq!(cache.get("a").unwrap(), b"code");
    }

    #[test]
    fn code_by_another_key_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        open(&folder).unwrap().put("a", b"code");
        fs::remove_file(folder.path().join("keys/cache.key")).unwrap();
        assert_eq!(open(&folder).unwrap().get("a"), None);
    }

    #[test]
    fn folders_and_keys_that_others_can_touch_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        open(&folder).unwrap();
        let key = folder.path().join("keys/cache.key");
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(open(&folder).unwrap_err().to_string().contains("read it"));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let policies = folder.path().join("policies");
        fs::set_permissions(&policies, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(open(&folder).unwrap_err().to_string().contains("write"));
    }
}
