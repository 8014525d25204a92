//! trackers.json in the folder of a run: which runs of the server are its trainings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use host_files::{json, own};
use serde::{Deserialize, Serialize};

use crate::event::Arm;

const FILE: &str = "trackers.json";
/// More than it ever has.
const LONGEST: u64 = 1 << 16;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    mlflow: Server,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Server {
    url: String,
    runs: BTreeMap<String, String>,
}

/// The runs of one server.
pub struct Runs {
    path: PathBuf,
    kept: Kept,
}

impl Runs {
    /// What the folder has of this server. Whoever made the folder may have written it.
    pub fn of(folder: &Path, url: &str) -> Self {
        let path = folder.join(FILE);
        let kept = own::read(&path, LONGEST).ok();
        let kept = kept.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        let mut kept = kept.filter(|kept| kept.mlflow.url == url).unwrap_or_default();
        kept.mlflow.url = url.into();
        kept.mlflow.runs.retain(|_, id| is_id(id));
        Self { path, kept }
    }

    pub fn get(&self, arm: Arm) -> Option<&str> {
        self.kept.mlflow.runs.get(arm.name()).map(String::as_str)
    }

    /// Keeps one, so that a run that goes on finds it.
    pub fn keep(&mut self, arm: Arm, id: &str) {
        self.kept.mlflow.runs.insert(arm.name().into(), id.into());
        // Without it a run that goes on is another one there.
        json::write(&self.path, &self.kept).ok();
    }
}

/// Whether a text can be an identifier of a server.
pub fn is_id(text: &str) -> bool {
    host_files::text::is_word(text, "-_", 64)
}
