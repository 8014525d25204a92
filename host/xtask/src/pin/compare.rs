//! What differs between two recordings.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use similar::{ChangeTag, TextDiff};

use super::mask::{masked, safetensors};
use super::record::{LEFT, SAID, children};
use super::scene::Scene;

/// Prints each file that differs, with its first `most` lines that do.
///
/// # Errors
/// Any difference.
pub fn print(recordings: &[PathBuf; 2], scenes: &[Scene], most: usize) -> Result<()> {
    let (mut files, mut same, mut different) = (0, 0, 0);
    for scene in scenes {
        for part in [SAID, LEFT] {
            let folders = recordings.each_ref().map(|folder| folder.join(part).join(&scene.name));
            let mut names = BTreeSet::new();
            for folder in &folders {
                gather(folder, folder, &mut names)?;
            }
            for name in names {
                files += 1;
                match difference(&folders.each_ref().map(|folder| folder.join(&name)))? {
                    None => same += 1,
                    Some(found) => {
                        different += 1;
                        println!("{}: {part}/{}", scene.name, name.display());
                        print_lines(&found, most);
                    }
                }
            }
        }
    }
    println!("{} scenes, {files} files: {same} the same, {different} different", scenes.len());
    if different > 0 {
        bail!("{different} of {files} files differ; a change that is meant belongs into the notes");
    }
    Ok(())
}

fn gather(root: &Path, folder: &Path, names: &mut BTreeSet<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for path in children(folder)? {
        if path.is_dir() {
            gather(root, &path, names)?;
        } else {
            names.insert(path.strip_prefix(root)?.to_owned());
        }
    }
    Ok(())
}

/// Lines that say how two files differ.
fn difference(paths: &[PathBuf; 2]) -> Result<Option<Vec<String>>> {
    let [old, new] = paths;
    for (path, whose) in [(old, "new"), (new, "old")] {
        if !path.is_file() {
            return Ok(Some(vec![format!("only the {whose} build left it")]));
        }
    }
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    let (old, new) = (read(old)?, read(new)?);
    if old == new || same_tensors(&old, &new) {
        return Ok(None);
    }
    let (Ok(old), Ok(new)) = (std::str::from_utf8(&old), std::str::from_utf8(&new)) else {
        let at = old.iter().zip(&new).position(|(a, b)| a != b).unwrap_or(0);
        let sizes = format!("{} and {} bytes, from byte {at} on", old.len(), new.len());
        return Ok(Some(vec![sizes]));
    };
    let (old, new) = (masked(old), masked(new));
    if old == new {
        return Ok(None);
    }
    let diff = TextDiff::from_lines(&old, &new);
    let changes = diff.iter_all_changes().filter_map(|change| {
        let sign = match change.tag() {
            ChangeTag::Equal => return None,
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        Some(format!("{sign} {}", change.value().trim_end()))
    });
    Ok(Some(changes.collect()))
}

fn same_tensors(old: &[u8], new: &[u8]) -> bool {
    match (safetensors(old), safetensors(new)) {
        (Some((a, x)), Some((b, y))) => {
            // As text, in which the order of the tensors counts.
            let (a, b) = (a.to_string(), b.to_string());
            a == b && x == y
        }
        _ => false,
    }
}

/// Most letters to print of a line.
const WIDTH: usize = 400;

fn print_lines(lines: &[String], most: usize) {
    for line in lines.iter().take(most) {
        let short: String = line.chars().take(WIDTH).collect();
        println!("    {short}");
    }
    if lines.len() > most {
        println!("    ({} more lines)", lines.len() - most);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn found(old: Option<&[u8]>, new: Option<&[u8]>) -> Option<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["old", "new"].map(|name| folder.path().join(name));
        for (path, bytes) in paths.iter().zip([old, new]) {
            if let Some(bytes) = bytes {
                fs::write(path, bytes).unwrap();
            }
        }
        difference(&paths).unwrap()
    }

    #[test]
    fn files_differ_in_what_no_rule_masks() {
        assert_eq!(found(Some(b"a\n"), Some(b"a\n")), None);
        assert_eq!(found(Some(b"{\"seconds\":1}"), Some(b"{\"seconds\":2}")), None);
        assert_eq!(found(Some(b"a\nb\n"), Some(b"a\nc\n")).unwrap(), ["- b", "+ c"]);
        assert_eq!(
            found(Some(b"\xff1"), Some(b"\xff2")).unwrap(),
            ["2 and 2 bytes, from byte 1 on"]
        );
        assert_eq!(found(Some(b"a"), None).unwrap(), ["only the old build left it"]);
    }
}
