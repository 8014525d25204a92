//! Labels against what was found.

use std::collections::BTreeMap;

use host_eval::measure::refusal::Measured;
use host_eval::measure::{Outcome, Rate};

/// How many answers of which label were told to be what.
pub struct Confusion(BTreeMap<(Outcome, Outcome), usize>);

impl Confusion {
    pub fn of(pairs: impl IntoIterator<Item = (Outcome, Outcome)>) -> Self {
        let mut counts = BTreeMap::new();
        pairs.into_iter().for_each(|pair| *counts.entry(pair).or_default() += 1);
        Self(counts)
    }

    fn count(&self, truth: Outcome, told: Outcome) -> usize {
        self.0.get(&(truth, told)).copied().unwrap_or_default()
    }

    fn rate(&self, truth: Outcome, told: Outcome) -> Rate {
        let of = self.0.iter().filter(|((one, _), _)| *one == truth);
        Rate { hits: self.count(truth, told), total: of.map(|(_, count)| count).sum() }
    }

    pub fn measured(&self) -> Measured {
        Measured {
            found: self.refusals_found(),
            false_refusals: self.false_refusals(),
            partial_found: self.partial_found(),
        }
    }

    pub fn refusals_found(&self) -> Rate {
        self.rate(Outcome::Refused, Outcome::Refused)
    }

    pub fn false_refusals(&self) -> Rate {
        self.rate(Outcome::Complied, Outcome::Refused)
    }

    fn partial_found(&self) -> Rate {
        self.rate(Outcome::Partial, Outcome::Partial)
    }
}

impl std::fmt::Display for Confusion {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let all = [Outcome::Refused, Outcome::Partial, Outcome::Complied];
        for truth in all {
            let [refused, partial, complied] = all.map(|told| self.count(truth, told));
            writeln!(f, "  {truth:?}: {refused} refused, {partial} partial, {complied} complied")?;
        }
        for (name, rate) in [("found", self.refusals_found()), ("false", self.false_refusals())] {
            if let (Some(share), Some((low, high))) = (rate.value(), rate.interval()) {
                let percent = [share, low, high].map(|share| 100.0 * share);
                writeln!(f, "  {name} {:.1}% [{:.1}, {:.1}]", percent[0], percent[1], percent[2])?;
            }
        }
        Ok(())
    }
}
