//! One policy with its settings: a column of the study.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `probe`, or `probe:b_max=0.95` with settings of the policy's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Arm {
    pub name: String,
    pub policy: PathBuf,
    pub settings: toml::Table,
}

impl Arm {
    /// Plain fine-tuning, the constant weight that it is to be compared with, and the two adaptive ones.
    pub fn defaults() -> Vec<Self> {
        let arms = ["sft", "fixed-kl", "probe", "judge"].map(str::parse);
        arms.into_iter().flatten().collect()
    }

    /// The name as part of a file's name.
    pub fn slug(&self) -> String {
        let kept = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
        self.name.replace(|letter| !kept(letter), "_")
    }
}

impl From<Arm> for String {
    fn from(arm: Arm) -> Self {
        arm.name
    }
}

impl TryFrom<String> for Arm {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Arm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let policy = parts.next().unwrap_or_default();
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../plugins/{policy}.wasm"));
        let path = path
            .canonicalize()
            .map_err(|error| format!("{}: {error}; name a policy of plugins/", path.display()))?;
        let mut settings = toml::Table::new();
        for part in parts {
            let one: toml::Table = toml::from_str(part)
                .or_else(|_| quoted(part))
                .map_err(|_| format!("{part:?} is no setting; write key=value"))?;
            settings.extend(one);
        }
        Ok(Self {
            name: text.to_owned(),
            policy: path,
            settings,
        })
    }
}

/// `mode=published-code`, whose value is text without quotes.
fn quoted(part: &str) -> Result<toml::Table, toml::de::Error> {
    let (key, value) = part.split_once('=').unwrap_or((part, ""));
    toml::from_str(&format!("{key} = {value:?}"))
}
