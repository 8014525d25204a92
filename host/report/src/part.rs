//! Files of a run, each of which may be missing or damaged.

use std::io::ErrorKind;
use std::path::Path;

use host_files::own;
use serde::de::DeserializeOwned;

/// Most bytes of a JSON file.
const JSON: u64 = 64 << 20;

/// Collects what could not be read.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    pub fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    pub fn into_lines(self) -> Vec<String> {
        self.0
    }

    /// A JSON file, if it is there.
    pub fn json<T: DeserializeOwned>(&mut self, folder: &Path, name: &str) -> Option<T> {
        let path = folder.join(name);
        let bytes = match own::read(&path, JSON) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                self.add(format!("{name} can't be read ({error}), so what it says is left out"));
                return None;
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(format!(
                    "{name} can't be read ({error}): it is damaged, or of another version; what it \
                     says is left out"
                ));
                None
            }
        }
    }

    /// A text file, if it is there.
    pub fn text(&mut self, folder: &Path, name: &str, most: u64) -> Option<String> {
        match own::read_text(&folder.join(name), most) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                self.add(format!("{name} can't be read ({error}), so it is left out"));
                None
            }
        }
    }
}
