//! The modules of a crate, and which of them name which.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::scan::{self, File};

/// Names from the root of the crate; empty for the root.
pub type Module = Vec<String>;

/// Most re-exports to follow: globs may lead round in a circle.
const DEEPEST: usize = 8;

pub struct Crate {
    pub name: String,
    pub files: BTreeMap<Module, (PathBuf, File)>,
}

/// One module names something of another.
pub struct Arrow {
    pub from: Module,
    pub to: Module,
    pub file: PathBuf,
    pub path: String,
}

impl Crate {
    /// Reads all files of a source folder but those that are only tests.
    ///
    /// # Errors
    /// A folder or file that can't be read.
    pub fn read(name: &str, source: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for path in rust_files(source)? {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let folder = path.parent().and_then(|folder| folder.strip_prefix(source).ok());
            let mut module: Module = folder.into_iter().flatten().map(text).collect();
            if !matches!(stem.as_str(), "lib" | "main" | "mod") {
                module.push(stem);
            }
            let is_test = |part: &String| part == "tests" || part.ends_with("_tests");
            if module.iter().any(is_test) {
                continue;
            }
            let content = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            files.insert(module, (path, scan::file(&content)));
        }
        Ok(Self { name: name.to_owned(), files })
    }

    /// Everything that a module names of another one of the crate, at the place where it is
    /// defined.
    pub fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (module, (file, found)) in &self.files {
            for path in &found.paths {
                let path = path.strip_suffix(&["*".to_owned()]).unwrap_or(path);
                if let Some(to) = self.resolve(module, path, 0)
                    && to != *module
                {
                    arrows.push(Arrow {
                        from: module.clone(),
                        to,
                        file: file.clone(),
                        path: path.join("::"),
                    });
                }
            }
        }
        arrows
    }

    /// The module in which a path ends, if it is one of this crate.
    fn resolve(&self, module: &Module, path: &[String], depth: usize) -> Option<Module> {
        if depth > DEEPEST {
            return None;
        }
        let (first, mut rest) = path.split_first()?;
        let mut at = module.clone();
        match first.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => {
                at.pop()?;
                while rest.first().is_some_and(|next| next == "super") {
                    at.pop()?;
                    rest = &rest[1..];
                }
            }
            _ if self.files.contains_key(&child(module, first)) => at.push(first.clone()),
            _ => return None,
        }
        for (index, name) in rest.iter().enumerate() {
            let deeper = child(&at, name);
            if self.files.contains_key(&deeper) {
                at = deeper;
                continue;
            }
            return Some(match self.re_export(&at, name, depth) {
                Some(path) => {
                    let path: Vec<_> = path.into_iter().chain(rest[index + 1..].to_vec()).collect();
                    self.resolve(&at, &path, depth + 1).unwrap_or(at)
                }
                None => at,
            });
        }
        Some(at)
    }

    /// The path under which a module brings in a name that it does not define.
    fn re_export(&self, module: &Module, name: &String, depth: usize) -> Option<Vec<String>> {
        let (_, file) = self.files.get(module)?;
        if depth > DEEPEST || file.items.contains(name) {
            return None;
        }
        if let Some(import) = file.imports.iter().find(|import| import.name == *name) {
            // `use name;` itself.
            return (import.path.len() > 1).then(|| import.path.clone());
        }
        let globs = file.imports.iter().filter(|import| import.name == "*");
        globs.map(|glob| &glob.path[..glob.path.len() - 1]).find_map(|stem| {
            let target = self.resolve(module, stem, depth + 1)?;
            let (_, file) = self.files.get(&target).filter(|_| target != *module)?;
            let has =
                file.items.contains(name) || self.re_export(&target, name, depth + 1).is_some();
            has.then(|| [stem, std::slice::from_ref(name)].concat())
        })
    }
}

fn child(module: &Module, name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

fn text(part: &std::ffi::OsStr) -> String {
    part.to_string_lossy().into_owned()
}

/// All Rust files below a folder, by path.
///
/// # Errors
/// A folder that can't be read.
pub fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry.with_context(|| folder.display().to_string())?.path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_followed_to_where_they_are_defined() {
        let folder = tempfile::tempdir().unwrap();
        for (file, content) in [
            ("lib.rs", "mod a; mod b; mod c; pub use a::A; pub use b::*;"),
            ("a.rs", "use crate::B; pub struct A;"),
            ("b/mod.rs", "mod inner; pub use inner::B; fn f() { inner::g() }"),
            ("b/inner.rs", "pub struct B; pub fn g() { super::f() }"),
            ("c.rs", "use crate::{A, B}; use std::fs;"),
            ("c/tests.rs", "use crate::b;"),
        ] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let found = Crate::read("x", folder.path()).unwrap();
        let arrows = found.arrows();
        let arrows: Vec<_> =
            arrows.iter().map(|arrow| (arrow.from.join("/"), arrow.to.join("/"))).collect();
        let want =
            [("a", "b/inner"), ("b", "b/inner"), ("b/inner", "b"), ("c", "a"), ("c", "b/inner")];
        assert_eq!(arrows, want.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
