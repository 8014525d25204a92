//! What is kept of a training that is evaluated while it goes on, and when it ends early.

use host_eval::selection::{BestRule, Choice};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RunConfig;
use crate::error::{Error, Result};

/// Which adapter becomes that of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The one that the last step leaves.
    #[default]
    Last,
    /// The one of the best evaluation; the last one lies in adapter-last/.
    Best,
}

impl RunConfig {
    /// How the best evaluation is found, if there are evaluations during training.
    ///
    /// # Errors
    /// A key that needs them without any, or a rule by what nothing measures.
    pub fn choice(&self) -> Result<Option<Choice>> {
        let (train, during) = (&self.train, &self.eval.during);
        let needs = "needs evaluations during training; set eval.during.every (--eval-every N)";
        if during.every.is_none() {
            let idle = [
                ("train.keep", train.keep == Keep::Best),
                ("train.best", train.best.is_some()),
                ("train.patience", train.patience.is_some()),
                ("data.validation", self.data.validation.is_some()),
            ];
            return match idle.iter().find(|(_, set)| *set) {
                Some((key, _)) => Err(Error::config(*key, needs)),
                None => Ok(None),
            };
        }
        let loss =
            self.data.validation.is_some() || (during.rows > 0 && !self.eval.task.is_empty());
        let refusals = during.harmful > 0 && !self.eval.harmful.is_empty();
        let margin = !self.canary.prompts.is_empty();
        let usual = match (loss, refusals, margin) {
            (true, true, _) => BestRule::SafeLoss,
            (true, false, _) => BestRule::Loss,
            (false, true, _) => BestRule::Refusal,
            (false, false, true) => BestRule::Margin,
            (false, false, false) => {
                let problem = "has nothing to measure; name eval.task (--task FILE), data.validation, \
                               eval.harmful (--harmful FILE) or canary.prompts";
                return Err(Error::config("eval.during.every", problem));
            }
        };
        let rule = train.best.unwrap_or(usual);
        let missing = [
            (rule.needs_loss() && !loss, "held-out rows; name eval.task or data.validation"),
            (rule.needs_refusals() && !refusals, "harmful prompts; name eval.harmful"),
            (rule == BestRule::Margin && !margin, "canary prompts; name canary.prompts"),
        ];
        match missing.iter().find(|(is_so, _)| *is_so) {
            Some((_, what)) => {
                let problem = format!("{:?} needs {what}", rule.name());
                Err(Error::config("train.best", problem))
            }
            None => Ok(Some(Choice { rule, tolerance: train.best_tolerance })),
        }
    }
}

#[cfg(test)]
mod tests {
    use host_data::DataSource;

    use super::*;

    fn with(change: impl FnOnce(&mut RunConfig)) -> Result<Option<BestRule>> {
        let mut config = RunConfig::default();
        change(&mut config);
        Ok(config.choice()?.map(|choice| choice.rule))
    }

    fn some() -> Vec<DataSource> {
        vec![DataSource::whole("x.jsonl")]
    }

    #[test]
    fn the_rule_follows_from_what_is_measured() {
        let rule = |change: fn(&mut RunConfig)| {
            let found = with(|config| {
                config.eval.during.every = Some(5);
                change(config);
            });
            found.expect("fits")
        };
        assert_eq!(with(|_| ()).expect("fits"), None);
        assert_eq!(rule(|config| config.eval.task = some()), Some(BestRule::Loss));
        assert_eq!(rule(|config| config.data.validation = Some(0.1)), Some(BestRule::Loss));
        assert_eq!(rule(|config| config.canary.prompts = some()), Some(BestRule::Margin));
        let both = rule(|config| (config.eval.task, config.eval.harmful) = (some(), some()));
        assert_eq!(both, Some(BestRule::SafeLoss));
        let asked = rule(|config| {
            (config.eval.task, config.eval.harmful) = (some(), some());
            config.train.best = Some(BestRule::Refusal);
        });
        assert_eq!(asked, Some(BestRule::Refusal));
    }

    #[test]
    fn a_key_without_evaluations_and_a_rule_without_its_measure_are_refused() {
        let told = |change: fn(&mut RunConfig), parts: [&str; 2]| {
            let error = with(change).expect_err(parts[0]).to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{parts:?} in {error}");
        };
        told(|config| config.train.keep = Keep::Best, ["train.keep", "--eval-every"]);
        told(|config| config.train.patience = Some(2), ["train.patience", "--eval-every"]);
        told(|config| config.data.validation = Some(0.1), ["data.validation", "--eval-every"]);
        told(
            |config| config.eval.during.every = Some(2),
            ["eval.during.every", "has nothing to measure"],
        );
        told(
            |config| {
                config.eval.during.every = Some(2);
                config.eval.task = some();
                config.train.best = Some(BestRule::SafeLoss);
            },
            ["train.best", "eval.harmful"],
        );
    }
}
