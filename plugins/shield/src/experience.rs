//! What a run has shown of its own Markov decision process, and the prior it began with.

use crate::mdp::Mdp;
use crate::settings::Settings;

/// Chance of neither falling nor rising before anything is known.
const STAYS: f64 = 0.3;
/// Chance of falling under the weakest and the strongest hold, likewise.
const FALLS: [f64; 2] = [0.5, 0.01];

/// Transitions that were seen: per bin and rung, how often each bin or the unsafe one
/// came next.
#[derive(Debug, Clone, PartialEq)]
pub struct Experience {
    pub counts: Vec<u32>,
}

impl Experience {
    /// Counts that these settings have.
    pub fn size(settings: &Settings) -> usize {
        let bins = settings.bins as usize;
        bins * settings.weights.len() * (bins + 1)
    }

    pub fn none(settings: &Settings) -> Self {
        Self { counts: vec![0; Self::size(settings)] }
    }

    fn place(settings: &Settings, bin: usize, rung: usize) -> usize {
        (bin * settings.weights.len() + rung) * (settings.bins as usize + 1)
    }

    /// Takes in that `next` followed `bin` under `rung`.
    pub fn add(&mut self, settings: &Settings, bin: usize, rung: usize, next: usize) {
        let count = &mut self.counts[Self::place(settings, bin, rung) + next];
        *count = count.saturating_add(1);
    }

    /// The process as it is known now. Each measurement may be the run's last, so that
    /// the run is expected to have as many as it will: that is the way to over.
    pub fn process(&self, settings: &Settings, measurements: f64) -> Mdp {
        let (bins, rungs) = (settings.bins as usize, settings.weights.len());
        let over = 1.0 / measurements.max(1.0);
        let state = |bin: usize| {
            let action = |rung: usize| {
                let start = Self::place(settings, bin, rung);
                let seen = &self.counts[start..=start + bins];
                let all = settings.prior + seen.iter().map(|count| f64::from(*count)).sum::<f64>();
                let believed = prior(bin, bins, strength(rung, rungs));
                let known = believed.iter().zip(seen).map(|(chance, count)| {
                    (1.0 - over) * (settings.prior * chance + f64::from(*count)) / all
                });
                known.chain([over]).collect()
            };
            (0..rungs).map(action).collect()
        };
        Mdp { transitions: (0..bins).map(state).collect() }
    }
}

/// From 0, the weakest rung, to 1.
fn strength(rung: usize, rungs: usize) -> f64 {
    match rungs {
        1 => 1.0,
        _ => rung as f64 / (rungs - 1) as f64,
    }
}

/// Chances of every bin and of unsafe: the stronger the hold, the less likely a fall. Of
/// falls each is half as likely as the next smaller one.
fn prior(bin: usize, bins: usize, strength: f64) -> Vec<f64> {
    let mut chances = vec![0.0; bins + 1];
    let [weakest, strongest] = FALLS;
    let falls = weakest + (strongest - weakest) * strength;
    chances[bin] += STAYS;
    chances[bin.saturating_sub(1)] += 1.0 - STAYS - falls;
    let mut left = falls;
    for chance in &mut chances[bin + 1..bins] {
        left /= 2.0;
        *chance += left;
    }
    chances[bins] += left;
    chances
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_distribution_and_a_stronger_hold_falls_less() {
        let settings = Settings::default();
        let mut experience = Experience::none(&settings);
        experience.add(&settings, 1, 2, 5);
        let process = experience.process(&settings, 10.0);
        for actions in &process.transitions {
            for row in actions {
                assert_eq!(row.len(), 7);
                assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                assert_eq!(row[6], 0.1);
            }
        }
        for bin in 0..5 {
            let chance = |rung: usize| process.transitions[bin][rung][5];
            assert!(chance(4) < chance(0), "bin {bin}");
        }
    }

    #[test]
    fn what_was_seen_outweighs_the_prior_in_the_end() {
        let settings = Settings::default();
        let mut experience = Experience::none(&settings);
        for _ in 0..96 {
            experience.add(&settings, 0, 0, 5);
        }
        // 96 seen and 4 believed, of which 0.5 / 16 are falls to unsafe.
        let chance = experience.process(&settings, 1e12).transitions[0][0][5];
        assert!((chance - (96.0 + 4.0 * 0.03125) / 100.0).abs() < 1e-9, "{chance}");
    }
}
