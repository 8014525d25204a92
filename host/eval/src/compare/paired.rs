//! Paired tests: two methods on the same prompts, seed by seed.

use std::collections::BTreeMap;
use std::fmt;

use host_stats::{mcnemar_exact, resampled_95, wilson_95};
use serde::Serialize;

use super::metric::Metric;
use super::outcomes::{Outcomes, shared};

/// One metric of two methods, over the prompts and seeds that both have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Paired {
    #[serde(serialize_with = "as_key")]
    pub metric: Metric,
    /// Prompts of each seed.
    pub prompts: usize,
    /// Share of the one minus share of the other.
    pub difference: f64,
    /// At 95%, by a bootstrap over prompts and seeds; where no pair differs there is nothing to draw
    /// from, and it reaches as far as Wilson's of as many prompts without a hit.
    pub interval: (f64, f64),
    /// Per seed in order: the exact McNemar test.
    pub p_values: Vec<f64>,
}

fn as_key<S: serde::Serializer>(metric: &Metric, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&metric.key())
}

impl Paired {
    /// Per metric that both have: `pairs` are the outcomes of the one and of the other, of the
    /// same seed each.
    pub fn of(pairs: &[(&Outcomes, &Outcomes)]) -> Vec<Self> {
        let Some((first, _)) = pairs.first() else { return Vec::new() };
        first.metrics().filter_map(|metric| Self::of_metric(metric, pairs)).collect()
    }

    fn of_metric(metric: &Metric, pairs: &[(&Outcomes, &Outcomes)]) -> Option<Self> {
        type ByPrompt = BTreeMap<String, bool>;
        let pairs: Vec<(&ByPrompt, &ByPrompt)> = pairs
            .iter()
            .map(|(one, other)| Some((one.get(metric)?, other.get(metric)?)))
            .collect::<Option<_>>()?;
        let all: Vec<&ByPrompt> = pairs.iter().flat_map(|(one, other)| [*one, *other]).collect();
        let prompts = shared(&all);
        let differences: Vec<Vec<f64>> = pairs
            .iter()
            .map(|(one, other)| {
                let value =
                    |prompt| f64::from(u8::from(one[prompt])) - f64::from(u8::from(other[prompt]));
                prompts.iter().map(|prompt| value(*prompt)).collect()
            })
            .collect();
        let resampled = resampled_95(&differences)?;
        let interval = if differences.iter().flatten().all(|one| *one == 0.0) {
            let (_, high) = wilson_95(0, prompts.len())?;
            (-high, high)
        } else {
            resampled.interval
        };
        let p_value = |seed: &Vec<f64>| {
            let count = |sign: f64| seed.iter().filter(|one| **one == sign).count();
            mcnemar_exact(count(1.0), count(-1.0))
        };
        Some(Self {
            metric: metric.clone(),
            prompts: prompts.len(),
            difference: resampled.mean,
            interval,
            p_values: differences.iter().map(p_value).collect(),
        })
    }

    /// "-2.5 [-4.0, -1.0]" in percentage points.
    pub fn difference_text(&self) -> String {
        let points = |share: f64| format!("{:+.1}", 100.0 * share);
        let (low, high) = self.interval;
        format!("{} [{}, {}]", points(self.difference), points(low), points(high))
    }

    /// The p-values, one per seed: "0.012, 0.3, <0.001".
    pub fn p_text(&self) -> String {
        let one = |p: &f64| if *p < 0.001 { "<0.001".into() } else { format!("{p:.3}") };
        self.p_values.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// A metric of one method over its seeds: mean, and 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pooled {
    pub mean: f64,
    pub interval: (f64, f64),
}

impl Pooled {
    /// Nothing if a seed lacks the metric. One seed has Wilson's interval, several that of a
    /// bootstrap over prompts and seeds; where every answer counts, or none, there is nothing to
    /// draw from, and it is Wilson's over the prompts, as of one seed.
    pub fn of(metric: &Metric, seeds: &[&Outcomes]) -> Option<Self> {
        let found = seeds.iter().map(|seed| seed.get(metric)).collect::<Option<Vec<_>>>()?;
        let prompts = shared(&found);
        let values: Vec<Vec<f64>> = found
            .iter()
            .map(|seed| prompts.iter().map(|prompt| f64::from(u8::from(seed[*prompt]))).collect())
            .collect();
        let resampled = resampled_95(&values)?;
        let is_degenerate = [0.0, 1.0].contains(&resampled.mean);
        let interval = if seeds.len() == 1 || is_degenerate {
            let hits = (resampled.mean * prompts.len() as f64).round() as usize;
            wilson_95(hits, prompts.len())?
        } else {
            resampled.interval
        };
        Some(Self { mean: resampled.mean, interval })
    }
}

impl fmt::Display for Pooled {
    /// "5.0 [1.4, 16.5]", in percent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        let (low, high) = self.interval;
        write!(f, "{} [{}, {}]", percent(self.mean), percent(low), percent(high))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::evaluation::{Generation, read_generations};
    use crate::measure::RefusalDetector;

    /// Answers to as many harmful prompts, of which every `nth` is refused, and to a task.
    fn answers(count: usize, nth: usize, task: &str) -> Vec<Generation> {
        let harmful = |number: usize| {
            let refusal = number.is_multiple_of(nth);
            let answer = if refusal { "I can't help with that." } else { "Sure, here is how:" };
            format!(
                r#"{{"model":"a","set":"harmful","messages":[{{"role":"user","content":"{number}"}}],"answer":"{answer}"}}"#
            )
        };
        let asked = |number: usize| {
            let expected = if number.is_multiple_of(3) { "no" } else { "yes" };
            format!(
                r#"{{"model":"a","set":"task","messages":[{{"role":"user","content":"{number}"}}],"answer":"{task}","expected":"{expected}"}}"#
            )
        };
        let lines = (0..count).map(harmful).chain((0..30).map(asked)).collect::<Vec<_>>();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.jsonl");
        std::fs::write(&path, lines.join("\n")).unwrap();
        read_generations(&path, &RefusalDetector::default()).unwrap()
    }

    #[test]
    fn methods_are_paired_on_the_prompts_that_both_have() {
        let (one, other) =
            (Outcomes::of(&answers(40, 2, "yes")), Outcomes::of(&answers(60, 4, "yes")));
        let all = Paired::of(&[(&one, &other)]);
        let attack = all.iter().find(|paired| paired.metric == Metric::AttackSuccess).unwrap();
        // Every second is refused, and every fourth: 20 and 30 of 40 are answered.
        assert_eq!((attack.prompts, attack.difference), (40, -0.25));
        assert!(attack.interval.0 < -0.25 && attack.interval.1 < 0.0, "{attack:?}");
        assert!((attack.p_values[0] - 2.0 / 1024.0).abs() < 1e-12, "{attack:?}");
        assert!(attack.difference_text().starts_with("-25.0 ["), "{attack:?}");
        let task = all.iter().find(|paired| paired.metric == Metric::ExactMatch).unwrap();
        assert_eq!((task.difference, task.p_text().as_str()), (0.0, "1.000"));
        assert!(task.interval.1 > 0.05 && task.interval.0 == -task.interval.1, "{task:?}");
    }

    #[test]
    fn a_constant_answer_is_seen_and_is_what_chance_is() {
        let outcomes = Outcomes::of(&answers(4, 2, "yes"));
        assert_eq!(outcomes.commonest_answer(), Some(1.0));
        assert_eq!(outcomes.chance(), Some(20.0 / 30.0));
        let task = Pooled::of(&Metric::ExactMatch, &[&outcomes]).unwrap();
        assert_eq!(Some(task.mean), outcomes.chance());
        assert_eq!(Some(task.interval), wilson_95(20, 30));
    }

    #[test]
    fn no_success_on_any_seed_has_the_interval_of_its_prompts() {
        let outcomes = Outcomes::of(&answers(50, 1, "no"));
        let attack = Pooled::of(&Metric::AttackSuccess, &[&outcomes, &outcomes]).unwrap();
        assert_eq!((attack.mean, Some(attack.interval)), (0.0, wilson_95(0, 50)));
    }
}
