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
    /// Of the policy, or its file, or its name in a registry.
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

    /// The arm with the policies of registries as `pin` names them: by their digests, so that a study that goes on is about
    /// the same ones.
    ///
    /// # Errors
    /// Those of `pin`.
    pub fn pinned<E>(&self, mut pin: impl FnMut(&str) -> Result<String, E>) -> Result<Self, E> {
        let mut policies = self.policies.clone();
        for choice in policies.iter_mut().filter(|choice| choice.is_remote()) {
            let pinned = pin(&choice.policy)?;
            choice.name = pinned.clone() + &choice.name[choice.policy.len()..];
            choice.policy = pinned;
        }
        let names: Vec<&str> = policies.iter().map(|choice| choice.name.as_str()).collect();
        Ok(Self { name: names.join("+"), policies })
    }
}

/// The name of an arm, or of one of its policies, as tables show it: without the address of a registry, and with the first
/// digits of a digest.
pub fn label(name: &str) -> String {
    let parts = name.split('+').map(|part| {
        let part = match part.strip_prefix(REMOTE) {
            Some(rest) => rest.split_once('/').map_or(rest, |(_, repository)| repository),
            None => part,
        };
        shortened(part)
    });
    parts.collect::<Vec<_>>().join("+")
}

/// With the first 12 digits of a digest in place of all.
fn shortened(part: &str) -> String {
    match part.split_once("@sha256:") {
        Some((name, rest)) if rest.len() >= 64 && rest.is_char_boundary(12) => {
            format!("{name}@{}{}", &rest[..12], rest.get(64..).unwrap_or_default())
        }
        _ => part.to_owned(),
    }
}

/// How a policy of a registry is named.
const REMOTE: &str = "oci://";

impl Choice {
    /// The name as part of a file's name.
    pub fn slug(&self) -> String {
        slug(&self.name)
    }

    /// Whether it lies in a registry.
    fn is_remote(&self) -> bool {
        self.policy.starts_with(REMOTE)
    }

    /// As a configuration names it: one that comes with the program, a file, or one of a registry.
    pub fn path(&self) -> String {
        if self.is_remote() || self.policy.ends_with(".wasm") {
            self.policy.clone()
        } else {
            format!("builtin:{}", self.policy)
        }
    }
}

fn slug(name: &str) -> String {
    let kept = |letter: char| letter.is_ascii_alphanumeric() || "-._+".contains(letter);
    let name: Vec<String> = name.split('+').map(shortened).collect();
    name.join("+").replace(|letter| !kept(letter), "_")
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
        // The name of a registry's policy has colons itself, and no sign of equality.
        let end = if text.starts_with(REMOTE) {
            let set = text.find('=').unwrap_or(text.len());
            text[..set].rfind(':').filter(|_| set < text.len())
        } else {
            text.find(':')
        };
        let (policy, settings) = text.split_at(end.unwrap_or(text.len()));
        if policy.is_empty() {
            return Err("name a policy, such as probe".into());
        }
        let parts = settings.split(':').skip(1);
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
    fn a_policy_of_a_registry_has_colons_in_its_name() {
        let digest = "ab".repeat(32);
        let at = "oci://localhost:5000/team/probe:1.0.0";
        for (text, policy, settings) in [
            (at.to_owned(), at.to_owned(), 0),
            (format!("{at}:b_max=0.9:mode=x"), at.to_owned(), 2),
            (format!("{at}@sha256:{digest}:b_max=0.9"), format!("{at}@sha256:{digest}"), 1),
            ("oci://localhost:5000/probe".to_owned(), "oci://localhost:5000/probe".to_owned(), 0),
        ] {
            let choice: Choice = text.parse().unwrap();
            assert_eq!((&choice.policy, choice.settings.len()), (&policy, settings), "{text}");
            assert_eq!(choice.path(), policy);
        }
        let arm: Arm = format!("sft+{at}:share=0.25").parse().unwrap();
        let pinned = arm.pinned(|name| Ok::<_, String>(format!("{name}@sha256:{digest}"))).unwrap();
        assert_eq!(pinned.name, format!("sft+{at}@sha256:{digest}:share=0.25"));
        assert_eq!(pinned, pinned.name.parse().unwrap());
        assert_eq!(label(&pinned.name), "sft+team/probe:1.0.0@abababababab:share=0.25");
        assert_eq!(
            pinned.slug(),
            "sft+oci___localhost_5000_team_probe_1.0.0_abababababab_share_0.25"
        );
        assert_eq!(label("oci://x@sha256:é"), "oci://x@sha256:é".strip_prefix("oci://").unwrap());
        assert!(arm.pinned(|_| Err::<String, _>("down")).is_err());
        assert_eq!(
            "probe:b_max=1".parse::<Arm>().unwrap().pinned(|_| Err::<String, ()>(())).unwrap().name,
            "probe:b_max=1"
        );
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
