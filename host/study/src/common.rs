//! Keys of the configuration that all runs of a study share: device, precision, batch and the like.

use anyhow::{anyhow, bail};
use host_trainer::config::{Layers, RunConfig};
use host_trainer::manifest::resolved_toml;

/// Assignments of keys, as `--set` writes them.
#[derive(Debug, Clone, Default)]
pub struct Common {
    assignments: Vec<String>,
}

/// Keys that the study sets itself, and what says them instead.
const OWN: &[(&str, &str)] = &[
    ("seed", "--seeds"),
    ("output", "--out"),
    ("model.source", "--model"),
    ("model.base", "--model"),
    ("data", "--data, --attacks and --rows"),
    ("train.learning_rate", "--learning-rates"),
    ("train.epochs", "--epochs"),
    ("train.loss", "--loss"),
    ("train.baseline", "sft among --policies"),
    ("eval", "--prompts, --task and --refusals"),
    ("judges", "--judge"),
    ("policy", "--policies NAME:KEY=VALUE"),
    ("policies", "--policies NAME:KEY=VALUE"),
    ("canary", "--data"),
    ("calibration", "--data"),
    ("steering", "--data"),
];
/// The one key of an evaluation that changes no result.
const FREE: &str = "eval.batch";

impl Common {
    /// Checks that each key exists, holds such a value, and isn't one that the study sets itself.
    ///
    /// # Errors
    /// The first that is otherwise, and which flag to use instead.
    pub fn new(assignments: &[String]) -> anyhow::Result<Self> {
        for assignment in assignments {
            let key = assignment.split('=').next().unwrap_or_default().trim();
            // A table that holds a key of the study would set that as well.
            let meets = |own: &str| is_within(key, own) || is_within(own, key);
            if key != FREE
                && let Some((own, flag)) = OWN.iter().find(|(own, _)| meets(own))
            {
                bail!("--set {assignment}: a study sets {own} for each of its runs; use {flag}");
            }
        }
        let common = Self { assignments: assignments.to_vec() };
        common.over(&RunConfig::default())?;
        Ok(common)
    }

    /// As they were given.
    pub fn assignments(&self) -> &[String] {
        &self.assignments
    }

    /// A configuration with these keys set.
    pub fn over(&self, config: &RunConfig) -> anyhow::Result<RunConfig> {
        if self.assignments.is_empty() {
            return Ok(config.clone());
        }
        let mut layers = Layers::default();
        layers.add_text(&resolved_toml(config)?, "the study's configuration")?;
        for assignment in &self.assignments {
            layers.add_assignment(assignment)?;
        }
        layers.resolve().map_err(|error| anyhow!("--set: {error}"))
    }
}

/// Whether a dotted key is another one or stands below it.
fn is_within(key: &str, above: &str) -> bool {
    key.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn common(assignments: &[&str]) -> anyhow::Result<Common> {
        Common::new(&assignments.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn keys_that_all_runs_share_are_set_over_the_studys_own() {
        let set = common(&["train.batch=4", "model.weights=q4_k", "eval.batch=2"]).unwrap();
        let mut config = RunConfig { seed: host_trainer::config::Seed(5), ..RunConfig::default() };
        config.train.learning_rate = 0.25;
        let over = set.over(&config).unwrap();
        assert_eq!((over.train.batch, over.eval.batch, over.seed.0), (4, 2, 5));
        assert_eq!(over.train.learning_rate, 0.25);
        assert_eq!(over.model.weights, host_trainer::data::HeldWeights::Q4);
    }

    #[test]
    fn keys_of_the_study_and_wrong_ones_are_refused_with_what_to_do() {
        let refused = |text: &str| common(&[text]).unwrap_err().to_string();
        assert!(refused("train.learning_rate=1").ends_with("use --learning-rates"));
        assert!(refused("data.train=[]").contains("use --data"));
        assert!(refused("eval.limit=3").contains("--prompts"));
        assert!(refused("model={source=\"x\"}").ends_with("use --model"));
        assert!(refused("train={batch=4}").ends_with("use --learning-rates"));
        assert!(refused("train.bach=3").contains("did you mean batch?"));
        assert!(refused("model.weights=q9").contains("q9"));
    }
}
