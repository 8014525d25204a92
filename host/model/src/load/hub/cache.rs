//! The local cache, laid out as Python's `huggingface_hub` has it: `blobs` with the bytes, `snapshots/COMMIT/NAME`
//! that point there, and `refs` with the commit of each revision.
//!
//! A blob is named by the SHA-256 of its bytes. Nothing that a server says becomes a path.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use host_files::{atomic, capped, sha256};

use super::client::{Description, LARGEST_DESCRIPTION, Sink};
use super::kind::Kind;

/// A commit and a line end.
const LONGEST_REF: u64 = 64;

pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What the cache has of one repository.
pub struct Repository {
    folder: PathBuf,
}

impl Repository {
    /// Of the repository `id` in the cache folder.
    pub fn new(cache: &Path, kind: Kind, id: &str) -> Self {
        Self { folder: cache.join(format!("{}--{}", kind.plural(), id.replace('/', "--"))) }
    }

    /// Where the files of a commit are kept as the Hub listed them.
    fn listing(&self, commit: &str) -> PathBuf {
        self.folder.join("listings").join(format!("{commit}.json"))
    }

    /// What the Hub said of a commit.
    pub fn listed(&self, commit: &str) -> Option<Description> {
        let bytes = capped::read(&self.listing(commit), LARGEST_DESCRIPTION).ok()?;
        serde_json::from_slice(&bytes).ok().filter(|it: &Description| it.sha == commit)
    }

    /// Keeps it.
    pub fn list(&self, described: &Description) -> io::Result<()> {
        let path = self.listing(&described.sha);
        fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
        atomic::write_unsynced(&path, &serde_json::to_vec(described)?).map_err(io::Error::other)
    }

    /// Folder with the files of a commit.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    /// The commit that a revision had when the Hub was last asked.
    pub fn noted(&self, revision: &str) -> Option<String> {
        let text = capped::read_text(&self.reference(revision), LONGEST_REF).ok()?;
        Some(text.trim().to_owned()).filter(|text| is_commit(text))
    }

    /// Notes the commit of a revision.
    pub fn note(&self, revision: &str, commit: &str) -> io::Result<()> {
        let path = self.reference(revision);
        fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
        atomic::write_unsynced(&path, commit.as_bytes()).map_err(io::Error::other)
    }

    /// The file that a download of `name` goes to. What an earlier one left is there to go on with.
    pub fn partial(&self, commit: &str, name: &str) -> io::Result<Partial> {
        let blobs = self.folder.join("blobs");
        fs::create_dir_all(&blobs)?;
        let key = sha256::hex(format!("{commit}/{name}"));
        let path = blobs.join(format!("{key}.incomplete"));
        if fs::symlink_metadata(&path).is_ok_and(|it| !it.is_file()) {
            return Err(io::Error::other(format!("{} is no plain file", path.display())));
        }
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        if file.try_lock().is_err() {
            tracing::warn!("{name}: another process is fetching it; waiting");
            file.lock()?;
        }
        let mut partial =
            Partial { file, path, blobs, hasher: sha256::Running::default(), length: 0 };
        partial.length = partial.hasher.read(&mut partial.file)?;
        Ok(partial)
    }
}

/// A file on its way into the cache. Locked, so that one process writes it.
pub struct Partial {
    file: File,
    path: PathBuf,
    blobs: PathBuf,
    hasher: sha256::Running,
    length: u64,
}

impl Partial {
    /// SHA-256 of what is there.
    pub fn digest(&self) -> String {
        self.hasher.hex()
    }

    /// Removes it.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Makes it the blob that its digest names, and `snapshot/name` a link to it.
    pub fn finish(self, snapshot: &Path, name: &str) -> io::Result<()> {
        self.file.sync_all()?;
        let digest = self.digest();
        fs::rename(&self.path, self.blobs.join(&digest))?;
        let at = snapshot.join(name);
        let folder = at.parent().unwrap_or(snapshot);
        fs::create_dir_all(folder)?;
        // Under another name first, so that two processes don't see half of it.
        let link = folder.join(format!(".{}.{}.partial", &digest[..16], std::process::id()));
        let _ = fs::remove_file(&link);
        let up = "../".repeat(name.matches('/').count());
        std::os::unix::fs::symlink(Path::new(&up).join("../../blobs").join(&digest), &link)?;
        fs::rename(&link, at)
    }
}

impl Sink for Partial {
    fn length(&self) -> u64 {
        self.length
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        (self.hasher, self.length) = (sha256::Running::default(), 0);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }
}
