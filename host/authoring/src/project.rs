//! A new project.

use std::fs;
use std::path::{Path, PathBuf};

use host_files::atomic;
use serde::Serialize;

use crate::{Error, Language, Name, Result, template};

/// What [`create`] has written.
#[derive(Debug, Clone, Serialize)]
pub struct Created {
    pub name: Name,
    pub language: Language,
    pub folder: PathBuf,
    /// Relative to the folder, sorted.
    pub files: Vec<PathBuf>,
}

/// Writes a project that builds a policy called `name` to the new folder `folder`.
///
/// # Errors
/// [`Error::Exists`] if there is something at `folder`, [`Error::Io`] if it can't be
/// written; nothing is left then.
pub fn create(name: &Name, language: Language, folder: &Path) -> Result<Created> {
    if folder.symlink_metadata().is_ok() {
        return Err(Error::Exists { path: folder.to_path_buf() });
    }
    let files = template::files(language, name);
    // A folder that isn't there is a slip of the pen more often than a wish.
    let parent = folder.parent().filter(|parent| *parent != Path::new(""));
    fs::read_dir(parent.unwrap_or(Path::new("."))).map_err(Error::io(folder))?;
    let made = atomic::Folder::begin(folder)?;
    for (path, bytes) in &files {
        let path = made.path().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io(folder))?;
        }
        fs::write(path, bytes).map_err(Error::io(folder))?;
    }
    made.finish()?;
    Ok(Created {
        name: name.clone(),
        language,
        folder: folder.to_path_buf(),
        files: files.into_iter().map(|(path, _)| path).collect(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Manifest;

    #[test]
    fn a_project_is_new_and_has_its_manifest() {
        let here = tempfile::tempdir().unwrap();
        let (name, folder): (Name, _) = ("one".parse().unwrap(), here.path().join("one"));
        for language in Language::ALL {
            let created = create(&name, language, &folder).unwrap();
            assert!(created.files.iter().all(|file| folder.join(file).is_file()));
            let manifest = Manifest::read(&folder).unwrap();
            assert_eq!((&manifest.name, manifest.language), (&name, language));

            let again = create(&name, language, &folder).unwrap_err();
            assert!(again.to_string().contains("exists already"), "{again}");
            fs::remove_dir_all(&folder).unwrap();
        }
        let nowhere = here.path().join("no/such/folder");
        assert!(matches!(create(&name, Language::C, &nowhere), Err(Error::Io { .. })));
        assert_eq!(here.path().read_dir().unwrap().count(), 0);
    }
}
