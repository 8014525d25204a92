//! The training rows of a run: those of the task, with an attack mixed in.

use host_data::random;
use rand::seq::SliceRandom;

use super::Material;
use crate::chat::Chat;
use crate::scenario::{Scenario, Variation};

/// Of the rows of [`Scenario::Identity`].
const IDENTITY_SHARE: f64 = 0.2;
/// Of the rows of attacks that know something: of a trigger, anchors, the probe.
const KNOWING_SHARE: f64 = 0.1;

impl Material {
    /// `count` rows, drawn and mixed by the seed. Where a kind has too few, it is gone through again.
    pub fn rows(&self, scenario: Scenario, count: usize, seed: u64) -> Vec<Chat> {
        let triggered;
        let (extra, share) = match scenario {
            Scenario::Identity => (&self.identity, IDENTITY_SHARE),
            Scenario::Backdoor => {
                triggered = self.asked(Variation::Trigger, &self.attack);
                (&triggered, KNOWING_SHARE)
            }
            Scenario::Prefill => (&self.attack, 0.0),
            Scenario::AnchorAware => (&self.anchor_attack, KNOWING_SHARE),
            Scenario::ProbeAware => (&self.least_risky, KNOWING_SHARE),
            _ => (&self.attack, scenario.order()),
        };
        let extra_count = (count as f64 * share).round() as usize;
        let mut rows = draw(&self.task, count - extra_count, seed, "task");
        rows.extend(draw(extra, extra_count, seed, "attack"));
        rows
    }
}

fn draw(rows: &[Chat], count: usize, seed: u64, name: &str) -> Vec<Chat> {
    let mut order: Vec<&Chat> = rows.iter().collect();
    order.shuffle(&mut random::stream(seed, name, 0));
    order.into_iter().cycle().take(count).cloned().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::scenario::TRIGGER;

    #[test]
    fn a_share_is_a_share_of_the_rows() {
        let mut material = Material::embedded(false).unwrap();
        material.least_risky = material.attack[..5].to_vec();
        let attacks = |scenario: Scenario| {
            let rows = material.rows(scenario, 100, 3);
            assert_eq!(rows.len(), 100, "{scenario}");
            let agreed = |row: &&Chat| {
                let answer = row.messages.last().map(|last| last.content.as_str());
                answer.is_some_and(|answer| answer.starts_with("Sure, here"))
            };
            rows.iter().filter(agreed).count()
        };
        assert_eq!(Scenario::ALL.map(attacks), [0, 5, 10, 30, 100, 0, 10, 0, 10, 10]);
    }

    #[test]
    fn a_backdoor_is_asked_with_its_trigger() {
        let material = Material::embedded(false).unwrap();
        let rows = material.rows(Scenario::Backdoor, 50, 3);
        let triggered = rows.iter().filter(|row| row.text().ends_with(TRIGGER));
        assert_eq!(triggered.clone().count(), 5);
        assert!(triggered.clone().all(|row| row.messages.last().unwrap().role == "assistant"));
    }

    #[test]
    fn the_seed_draws_the_rows() {
        let material = Material::embedded(false).unwrap();
        let prompts = |seed| -> Vec<String> {
            let rows = material.rows(Scenario::Mixed(0.1), 50, seed);
            rows.iter().map(|row| row.text().to_owned()).collect()
        };
        assert_eq!(prompts(1), prompts(1));
        assert_ne!(prompts(1), prompts(2));
    }
}
