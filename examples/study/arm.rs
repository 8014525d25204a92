//! The policies of a run with their settings: a column of the study.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `probe`, or several at once, `probe+safe-mix:share=0.25`, of which the strictest is followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Arm {
    pub name: String,
    pub policies: Vec<Choice>,
}

/// One policy: `probe`, or `probe:b_max=0.95` with settings of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub name: String,
    pub policy: PathBuf,
    pub settings: toml::Table,
}

impl Arm {
    /// Plain fine-tuning, the constant weight that it is to be compared with, the two adaptive ones, and one of them beside
    /// alignment data.
    pub fn defaults() -> Vec<Self> {
        let arms = ["sft", "fixed-kl", "probe", "judge", "probe+safe-mix:share=0.25"];
        arms.iter().flat_map(|arm| arm.parse()).collect()
    }

    /// The name as part of a file's name.
    pub fn slug(&self) -> String {
        slug(&self.name)
    }
}

impl Choice {
    /// The name as part of a file's name.
    pub fn slug(&self) -> String {
        slug(&self.name)
    }
}

fn slug(name: &str) -> String {
    let kept = |letter: char| letter.is_ascii_alphanumeric() || "-._+".contains(letter);
    name.replace(|letter| !kept(letter), "_")
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
        let policies = text.split('+').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { name: text.to_owned(), policies })
    }
}

impl FromStr for Choice {
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
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is no setting; write key=value"))?;
            // Text may come without quotes: mode=published-code.
            let one: toml::Table = toml::from_str(part)
                .or_else(|_| toml::from_str(&format!("{key} = {value:?}")))
                .map_err(|error| format!("{part:?}: {}", error.message()))?;
            settings.extend(one);
        }
        Ok(Self { name: text.to_owned(), policy: path, settings })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_arm_has_policies_and_each_its_settings() {
        let arm: Arm = "probe:b_max=0.95:mode=published-code+safe-mix:share=1e-1".parse().unwrap();
        let [probe, mix] = arm.policies.as_slice() else {
            panic!("{arm:?}");
        };
        assert_eq!(probe.settings["b_max"], toml::Value::Float(0.95));
        assert_eq!(probe.settings["mode"].as_str(), Some("published-code"));
        assert_eq!(mix.settings["share"], toml::Value::Float(0.1));
        assert!(mix.policy.ends_with("plugins/safe-mix.wasm"));
        assert_eq!(arm.slug(), "probe_b_max_0.95_mode_published-code+safe-mix_share_1e-1");
    }

    #[test]
    fn the_default_arms_exist_and_what_does_not_is_refused() {
        assert_eq!(Arm::defaults().len(), 5);
        for wrong in ["", "probe+", "prob", "probe:b_max"] {
            assert!(wrong.parse::<Arm>().is_err(), "{wrong}");
        }
    }
}
