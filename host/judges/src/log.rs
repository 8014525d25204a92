//! Scores on disk, for other runs: one file per judge, one line per score.
//!
//! A line is the key of what was judged, the score, and the beginning of a SHA-256 over
//! both and the judge. Lines are only ever added, each in one write, so several runs may
//! write at the same time. A line that is torn or damaged doesn't match its hash: it is
//! left out, and the judge is asked again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use host_files::{private, sha256};
use sha2::{Digest, Sha256};

use super::Key;

const SUFFIX: &str = ".judgements";

pub struct Log {
    path: PathBuf,
    /// All that decides what the judge says of a pair.
    identity: String,
    file: File,
    failure_told: AtomicBool,
}

impl Log {
    /// Opens the file of the judge that is `identity`, or begins it, and reads the scores
    /// in it.
    ///
    /// # Errors
    /// If folder or file can't be made, read or written, or if others may write to the
    /// folder: what they put there would become scores.
    pub fn open(folder: &Path, identity: &str) -> io::Result<(Self, Vec<(Key, f64)>)> {
        private::folder(folder)?;
        let name = sha256::hex(identity);
        let path = folder.join(format!("{name}{SUFFIX}"));
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        if content.last().is_some_and(|last| *last != b'\n') {
            // A line that was torn must not spoil the next one.
            file.write_all(b"\n")?;
        }
        let content = String::from_utf8_lossy(&content);
        let lines = || content.lines().filter(|line| !line.is_empty());
        let scores: Vec<_> = lines().filter_map(|it| read_line(identity, it)).collect();
        if scores.len() < lines().count() {
            tracing::warn!(
                "{}: {} damaged lines; these pairs are judged again",
                path.display(),
                lines().count() - scores.len()
            );
        }
        let log = Self {
            path,
            identity: identity.to_owned(),
            file,
            failure_told: AtomicBool::new(false),
        };
        Ok((log, scores))
    }

    /// Keeps scores. A file that can't be written costs time, never a run.
    pub fn add(&self, scores: &[(Key, f64)]) {
        for (key, score) in scores {
            let line = write_line(&self.identity, key, *score);
            if let Err(error) = (&self.file).write_all(line.as_bytes())
                && !self.failure_told.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(
                    "{}: can't be written ({error}); other runs judge again",
                    self.path.display()
                );
            }
        }
    }
}

fn write_line(identity: &str, key: &Key, score: f64) -> String {
    let content = format!("{} {score}", hex::encode(key.0));
    format!("{content} {}\n", check(identity, &content))
}

fn read_line(identity: &str, line: &str) -> Option<(Key, f64)> {
    let (content, found) = line.rsplit_once(' ')?;
    if found != check(identity, content) {
        return None;
    }
    let (key, score) = content.split_once(' ')?;
    let key = hex::decode(key).ok()?.try_into().ok()?;
    Some((Key(key), score.parse().ok()?))
}

fn check(identity: &str, content: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update((identity.len() as u64).to_le_bytes());
    hasher.update(identity);
    hasher.update(content);
    hex::encode(&hasher.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        Key([number; 32])
    }

    fn scores(folder: &Path, identity: &str) -> Vec<(Key, f64)> {
        Log::open(folder, identity).expect("opens").1
    }

    #[test]
    fn another_run_finds_the_scores_of_this_judge_and_of_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let (log, none) = Log::open(folder.path(), "one").expect("opens");
        assert!(none.is_empty());
        log.add(&[(key(1), 1.0), (key(2), 1.0 / 3.0 + 2.0)]);
        let kept = scores(folder.path(), "one");
        assert_eq!(kept, [(key(1), 1.0), (key(2), 1.0 / 3.0 + 2.0)]);
        assert!(scores(folder.path(), "two").is_empty());
    }

    #[test]
    fn a_damaged_or_torn_line_is_left_out_and_costs_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let (log, _) = Log::open(folder.path(), "one").expect("opens");
        log.add(&[(key(1), 1.0), (key(2), 2.0), (key(3), 3.0)]);
        let text = std::fs::read_to_string(&log.path).expect("text");
        // The second score is made lower, the third line is torn.
        let text = text.replace(" 2 ", " 1 ");
        std::fs::write(&log.path, &text[..text.len() - 5]).expect("written");
        assert_eq!(scores(folder.path(), "one"), [(key(1), 1.0)]);
        let (log, _) = Log::open(folder.path(), "one").expect("opens");
        log.add(&[(key(4), 4.0)]);
        let kept = scores(folder.path(), "one");
        assert_eq!(kept, [(key(1), 1.0), (key(4), 4.0)]);
    }

    #[test]
    fn the_file_of_another_judge_holds_no_scores_of_this_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, _) = Log::open(folder.path(), "one").expect("opens");
        one.add(&[(key(1), 1.0)]);
        let (two, _) = Log::open(folder.path(), "two").expect("opens");
        std::fs::copy(&one.path, &two.path).expect("copied");
        assert!(scores(folder.path(), "two").is_empty());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let shared = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.path(), shared).expect("permissions");
        let message = Log::open(folder.path(), "one").err().expect("refused");
        assert!(message.to_string().contains("chmod go-w"), "{message}");
    }
}
