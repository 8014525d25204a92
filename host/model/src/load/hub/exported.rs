//! The files of an export. Only these are sent to a Hub; a folder with any other is refused.

use std::path::{Path, PathBuf};

use host_files::text;

use crate::error::{Error, Result};
use crate::tokenizer::FURTHER_TEMPLATES;

const MOST_FILES: usize = 1000;

/// Names that an export writes.
const NAMES: [&str; 12] = [
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "added_tokens.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// A file and its name in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Name in the repository.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// What exports wrote, files and folders with their files, under their names in a repository.
///
/// # Errors
/// [`Error::File`] for a file that no export writes, a link, or two of one name.
pub fn files(written: &[PathBuf]) -> Result<Vec<Sent>> {
    let mut found = Vec::new();
    for path in written {
        if path.is_dir() {
            list(path, "", &mut found)?;
        } else {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            add(&name, path, &mut found)?;
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twice) = found.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Error::file(
            &twice[1].path,
            "has the name of another file that is sent",
            "rename one",
        ));
    }
    Ok(found)
}

fn list(folder: &Path, prefix: &str, found: &mut Vec<Sent>) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        let path = entry.path();
        let own = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().map_err(|e| Error::io(&path, e))?.is_dir();
        if is_folder && prefix.is_empty() && own == FURTHER_TEMPLATES {
            list(&path, &format!("{own}/"), found)?;
        } else {
            add(&format!("{prefix}{own}"), &path, found)?;
        }
    }
    Ok(())
}

fn add(name: &str, path: &Path, found: &mut Vec<Sent>) -> Result<()> {
    let kind = std::fs::symlink_metadata(path).map_err(|e| Error::io(path, e))?;
    let ends = |end: &str| {
        let stem = name.strip_suffix(end);
        stem.is_some_and(|stem| text::is_word(stem, "-_.", 128) && !stem.starts_with('.'))
    };
    let template = name.strip_prefix(FURTHER_TEMPLATES).and_then(|it| it.strip_prefix('/'));
    let template = template.and_then(|it| it.strip_suffix(".jinja"));
    let is_known = NAMES.contains(&name)
        || ends(".gguf")
        || ends(".Modelfile")
        || template.is_some_and(|stem| text::is_word(stem, "-_", 128));
    if !is_known || !kind.is_file() {
        let problem = "is nothing that an export writes, so nothing is sent";
        return Err(Error::file(
            path,
            problem,
            "push a folder that was exported, as it was written",
        ));
    }
    if found.len() == MOST_FILES {
        return Err(Error::file(path, "is one file too many", "push a folder that was exported"));
    }
    found.push(Sent { name: name.to_owned(), path: path.to_owned(), size: kind.len() });
    Ok(())
}
