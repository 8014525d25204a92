//! The policies of a run with their settings: a column of the study.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `probe`, or several at once, `probe+safe-mix:share=0.25`, of which the strictest is followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Arm {
    /// As it was written.
    pub name: String,
    /// The policies, which assess every step together.
    pub policies: Vec<Choice>,
}

/// One policy: `probe`, or `probe:b_max=0.95` with settings of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// As it was written.
    pub name: String,
    /// Of the policy, or its file.
    pub policy: String,
    /// What it is told.
    pub settings: toml::Table,
}

impl Arm {
    /// Plain fine-tuning, the constant weight that it is to be compared with, and policies of
    /// several kinds; those of them that come with the program.
    pub fn defaults(builtin: &[&str]) -> Vec<Self> {
        let arms =
            ["sft", "fixed-kl", "probe", "judge", "star-dss", "safegrad", "lisa", "anchored"];
        let there = arms.iter().filter(|arm| builtin.contains(arm));
        there.flat_map(|arm| arm.parse()).collect()
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

    /// As a configuration names it: one that comes with the program, or a file.
    pub fn path(&self) -> String {
        if self.policy.ends_with(".wasm") {
            self.policy.clone()
        } else {
            format!("builtin:{}", self.policy)
        }
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
        if policy.is_empty() {
            return Err("name a policy, such as probe".into());
        }
        let mut settings = toml::Table::new();
        for part in parts {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is no setting; write key=value"))?;
            // Text may come without quotes: mode=published-code.
            let one: toml::Table = toml::from_str(part)
                .or_else(|_| toml::from_str(&format!("{key} = {value:?}")))
                .map_err(|error| format!("{part:?}: {}", error.message()))?;
            add(&mut settings, one);
        }
        Ok(Self { name: text.to_owned(), policy: policy.to_owned(), settings })
    }
}

/// Adds settings, those of a table to what is there of it: anchors.weight=5 beside anchors.every=1.
fn add(settings: &mut toml::Table, more: toml::Table) {
    for (key, value) in more {
        match (settings.get_mut(&key), value) {
            (Some(toml::Value::Table(there)), toml::Value::Table(more)) => add(there, more),
            (_, value) => drop(settings.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn settings_of_a_table_stand_beside_one_another() {
        let arm: Arm = "probe:anchors.weight=5:anchors.every=1:anchors.weight=6".parse().unwrap();
        let anchors = arm.policies[0].settings["anchors"].as_table().unwrap();
        assert_eq!(anchors["weight"].as_integer(), Some(6));
        assert_eq!(anchors["every"].as_integer(), Some(1));
    }

    #[test]
    fn an_arm_has_policies_and_each_its_settings() {
        let arm: Arm = "probe:b_max=0.95:mode=published-code+safe-mix:share=1e-1".parse().unwrap();
        let [probe, mix] = arm.policies.as_slice() else {
            panic!("{arm:?}");
        };
        assert_eq!(probe.settings["b_max"], toml::Value::Float(0.95));
        assert_eq!(probe.settings["mode"].as_str(), Some("published-code"));
        assert_eq!(mix.settings["share"], toml::Value::Float(0.1));
        assert_eq!(mix.path(), "builtin:safe-mix");
        assert_eq!("./mine.wasm:x=1".parse::<Choice>().unwrap().path(), "./mine.wasm");
        assert_eq!(arm.slug(), "probe_b_max_0.95_mode_published-code+safe-mix_share_1e-1");
    }

    #[test]
    fn the_default_arms_are_those_that_are_there_and_half_an_arm_is_none() {
        let names = |arms: Vec<Arm>| arms.into_iter().map(|arm| arm.name).collect::<Vec<_>>();
        assert_eq!(names(Arm::defaults(&["probe", "x", "sft"])), ["sft", "probe"]);
        for wrong in ["", "probe+", ":b=1", "probe:b_max"] {
            assert!(wrong.parse::<Arm>().is_err(), "{wrong}");
        }
    }
}
