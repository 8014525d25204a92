//! The tarball: NAME/bin/host and NAME/share, the same bytes for the same files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// Writes it; every file has `date`.
pub fn write(path: &Path, name: &str, host: &Path, share: &Path, date: u64) -> Result<()> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    // Without the file's own name and date in its head.
    let zipped = GzBuilder::new().mtime(0).write(file, Compression::best());
    let mut tarball = Builder::new(zipped);
    let mut add = |place: &Path, from: &Path, mode: u32| -> Result<()> {
        let bytes = fs::read(from).with_context(|| from.display().to_string())?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_mtime(date);
        Ok(tarball.append_data(&mut header, Path::new(name).join(place), &*bytes)?)
    };
    add(Path::new("bin/host"), host, 0o755)?;
    for place in files(share)? {
        add(&place, &share.join(&place), 0o644)?;
    }
    tarball.into_inner()?.finish()?.sync_all()?;
    Ok(())
}

/// All files below a folder, by their names from there, in order.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut left) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(one) = left.pop() {
        for entry in fs::read_dir(&one).with_context(|| one.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path.strip_prefix(folder)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (share, host) = (folder.path().join("s"), folder.path().join("host"));
        fs::create_dir_all(share.join("share/doc")).unwrap();
        fs::write(share.join("share/doc/b"), "b").unwrap();
        fs::write(share.join("share/a"), "a").unwrap();
        fs::write(&host, "program").unwrap();
        let written = |name: &str| {
            let path = folder.path().join(name);
            write(&path, "host-1", &host, &share, 1_000_000).unwrap();
            fs::read(path).unwrap()
        };
        let (one, other) = (written("one.tar.gz"), written("other.tar.gz"));
        assert!(one == other);
        let mut read = tar::Archive::new(flate2::read::GzDecoder::new(&*one));
        let entries = read.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap())
        });
        let expected = [("bin/host", 0o755), ("share/a", 0o644), ("share/doc/b", 0o644)];
        let expected = expected.map(|(name, mode)| (format!("host-1/{name}"), mode));
        assert_eq!(entries.collect::<Vec<_>>(), expected);
    }
}
