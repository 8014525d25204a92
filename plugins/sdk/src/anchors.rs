//! Safety anchors: settings, schedule and weight, and how far the model was from the
//! reference on the last ones.

use crate::assessment::mean;
use crate::bindings::{AnchorDivergence, AnchorNeed, Assessment, Needs, Signals};
use crate::bytes::{Reader, Writer};
use crate::settings::invalid;

/// How the distance on an anchor is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// KL along the reference's own answer.
    ForwardKl,
    /// Squared distance of the last hidden states at the last prompt token.
    HiddenDistance,
}

/// The settings of a policy that holds the model to the reference on safety anchors: the
/// value of its setting `anchors`.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Anchors {
    /// Harmful prompts of a visit.
    pub harmful: u32,
    /// Harmless prompts of a visit.
    pub harmless: u32,
    /// Steps from one visit to the next.
    pub every: u32,
    /// Tokens of the reference's answer.
    pub answer_tokens: u32,
    pub divergence: Distance,
    /// Weight of the mean divergence in the loss.
    pub weight: f64,
    /// Divergence of a visit above which the weight rises; none keeps it constant.
    pub target: Option<f64>,
}

impl Default for Anchors {
    fn default() -> Self {
        Self {
            harmful: 1,
            harmless: 1,
            every: 1,
            answer_tokens: 16,
            divergence: Distance::ForwardKl,
            weight: 2.0,
            target: None,
        }
    }
}

/// The host takes no more prompts, tokens and weight than these.
const MOST_PROMPTS: u32 = 256;
const MOST_TOKENS: u32 = 256;
const LARGEST_WEIGHT: f64 = 1000.0;

/// A visit whose divergence is twice the target or more raises the weight by this factor,
/// one of no divergence lowers it by as much.
const RATE: f64 = 1.25;

const KIND: [u8; 4] = *b"ANCH";
const VERSION: u16 = 1;

impl Anchors {
    /// # Errors
    /// For a value that is out of range, naming its key.
    pub fn check(&self) -> Result<(), String> {
        let wrong = |what: String| Err(invalid("anchors", what));
        let prompts = self.harmful.saturating_add(self.harmless);
        if !(1..=MOST_PROMPTS).contains(&prompts) {
            return wrong(format!(
                "`harmful` and `harmless` make {prompts} prompts; give 1 to {MOST_PROMPTS}"
            ));
        }
        if self.every == 0 {
            return wrong("`every` is 0 steps, which never come: give at least 1".into());
        }
        if !(1..=MOST_TOKENS).contains(&self.answer_tokens) {
            let what = format!("`answer_tokens` {} is not in [1, 256]", self.answer_tokens);
            return wrong(what);
        }
        if !(0.0..=LARGEST_WEIGHT).contains(&self.weight) {
            return wrong(format!("`weight` {} is not in [0, 1000]", self.weight));
        }
        match self.target {
            Some(target) if !(target > 0.0 && target.is_finite()) => {
                wrong(format!("`target` {target} is not above 0"))
            }
            _ => Ok(()),
        }
    }

    /// The check of a policy that steers the weight itself, between these two, from the
    /// setting on.
    ///
    /// # Errors
    /// As [`Anchors::check`].
    pub fn check_controlled(&self, smallest: f64, largest: f64) -> Result<(), String> {
        self.check()?;
        if !(smallest..=largest).contains(&self.weight) {
            let what = format!("`weight` {} is not in [{smallest}, {largest}]", self.weight);
            return Err(invalid("anchors", what));
        }
        if self.target.is_some() {
            return Err(invalid("anchors", "this policy steers the weight: leave `target` out"));
        }
        Ok(())
    }

    /// Adds to `needs` what the anchors take.
    pub fn needs(&self, needs: Needs) -> Needs {
        needs.safety_anchors(AnchorNeed {
            harmful: self.harmful,
            harmless: self.harmless,
            answer_tokens: self.answer_tokens,
            divergence: match self.divergence {
                Distance::ForwardKl => AnchorDivergence::ForwardKl,
                Distance::HiddenDistance => AnchorDivergence::HiddenDistance,
            },
        })
    }

    /// Whether a step visits anchors. With a visit every few steps the first one doesn't: the
    /// model is still the reference there.
    pub fn visits(&self, step: u64) -> bool {
        (step + 1).is_multiple_of(u64::from(self.every))
    }

    /// The weight of a step whose visits have this one.
    pub fn scheduled(&self, step: u64, weight: f64) -> f64 {
        if self.visits(step) { weight.min(LARGEST_WEIGHT) } else { 0.0 }
    }

    /// The weight of this step, and the state for the next one, empty without a `target`.
    ///
    /// # Errors
    /// If the signals or the state can't be read.
    pub fn weight(&self, signals: &Signals, state: &[u8]) -> Result<(f64, Vec<u8>), String> {
        let Some(target) = self.target else {
            return Ok((self.scheduled(signals.step, self.weight), Vec::new()));
        };
        let mut factor = factor(state)?;
        if let Some(visit) = signals.anchor_visit()? {
            let error = (visit.mean / target - 1.0).clamp(-1.0, 1.0);
            factor = (factor * RATE.powf(error)).clamp(1.0, LARGEST_WEIGHT);
        }
        let state = Writer::new(KIND, VERSION).f64(factor).finish();
        Ok((self.scheduled(signals.step, self.weight * factor), state))
    }
}

/// What `weight` is multiplied by.
fn factor(state: &[u8]) -> Result<f64, String> {
    if state.is_empty() {
        return Ok(1.0);
    }
    let mut reader = Reader::open(state, KIND, VERSION, "state bytes")?;
    let factor = reader.f64()?;
    reader.finish()?;
    if (1.0..=LARGEST_WEIGHT).contains(&factor) {
        Ok(factor)
    } else {
        Err(format!("the state bytes hold a factor of {factor}, not in [1, 1000]"))
    }
}

/// The distance of the model from the reference on the anchors of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Visit {
    pub mean: f64,
    /// Over the harmful anchors; none without one.
    pub harmful: Option<f64>,
    pub harmless: Option<f64>,
}

impl Signals {
    /// The visit of the step before, if that step was one.
    ///
    /// # Errors
    /// If there is no divergence, or one is below 0 or not finite: no policy may take that
    /// for a model that stayed.
    pub fn anchor_visit(&self) -> Result<Option<Visit>, String> {
        let Some(anchors) = self.anchors.as_ref().filter(|one| one.step + 1 == self.step) else {
            return Ok(None);
        };
        let (kinds, divergence) = (&anchors.harmful, &anchors.divergence);
        let known = |value: &f64| *value >= 0.0 && value.is_finite();
        if divergence.is_empty() || kinds.len() != divergence.len() || !divergence.iter().all(known)
        {
            let step = anchors.step;
            return Err(format!("the anchors of step {step} have no divergence that is a number"));
        }
        let of = |harmful: bool| {
            let pairs = kinds.iter().zip(divergence).filter(|(kind, _)| **kind == harmful);
            let values: Vec<f64> = pairs.map(|(_, value)| *value).collect();
            (!values.is_empty()).then(|| mean(&values))
        };
        Ok(Some(Visit { mean: mean(divergence), harmful: of(true), harmless: of(false) }))
    }
}

impl Assessment {
    /// The weight of the anchors of this step, and the divergence of the step before, if it
    /// visited any.
    ///
    /// # Errors
    /// As [`Signals::anchor_visit`].
    pub fn anchors(mut self, signals: &Signals, weight: f64) -> Result<Self, String> {
        self.regularization = self.regularization.anchor_weight(weight);
        self = self.metric("anchors.weight", weight);
        let Some(visit) = signals.anchor_visit()? else {
            return Ok(self);
        };
        let values =
            [("anchors.kl.harmful", visit.harmful), ("anchors.kl.harmless", visit.harmless)];
        for (name, value) in values {
            if let Some(value) = value {
                self = self.metric(name, value);
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bindings::{Actuators, Regularization};
    use crate::fixtures;

    #[test]
    fn the_default_visits_one_and_one_at_every_step() {
        let anchors = Anchors::default();
        assert!((0..4).all(|step| anchors.visits(step)));
        let needs = anchors.needs(Needs::new());
        let need = needs.anchors.unwrap();
        assert_eq!((need.harmful, need.harmless, need.answer_tokens), (1, 1, 16));
        assert_eq!(needs.actuators, Actuators::SAFETY_ANCHORS);
        let seldom = Anchors { every: 2, ..anchors };
        let weights: Vec<f64> = (0..4).map(|step| seldom.scheduled(step, 1.0)).collect();
        assert_eq!(weights, [0.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn the_weight_rises_above_the_target_and_never_falls_below_the_setting() {
        let anchors = Anchors { target: Some(0.1), weight: 1.0, ..Anchors::default() };
        let at = |divergence: f64, state: &[u8]| {
            let signals = fixtures::anchored(1, &[(true, divergence)]);
            anchors.weight(&signals, state).unwrap()
        };
        let (weight, state) = at(0.4, &[]);
        assert!((weight - 1.25).abs() < 1e-12);
        let (weight, state) = at(0.2, &state);
        assert!((weight - 1.5625).abs() < 1e-12);
        let (weight, state) = at(0.1, &state);
        assert!((weight - 1.5625).abs() < 1e-12);
        let (_, state) = at(0.0, &state);
        let (_, state) = at(0.0, &state);
        assert_eq!(at(0.0, &state).0, 1.0);
        // A step after none of a visit leaves it.
        let nothing = fixtures::signals(5, 1);
        let raised = at(0.4, &[]).1;
        assert!((anchors.weight(&nothing, &raised).unwrap().0 - 1.25).abs() < 1e-12);
        assert!(anchors.weight(&nothing, b"else").is_err());
        assert!(Anchors::default().weight(&nothing, &[]).unwrap().1.is_empty());
    }

    #[test]
    fn a_visit_is_that_of_the_step_before_with_both_kinds_apart() {
        let signals = fixtures::anchored(4, &[(true, 0.3), (false, 0.1), (false, 0.2)]);
        let visit = signals.anchor_visit().unwrap().unwrap();
        assert!((visit.mean - 0.2).abs() < 1e-12);
        assert!((visit.harmless.unwrap() - 0.15).abs() < 1e-12);
        assert_eq!(visit.harmful, Some(0.3));
        let mut later = signals;
        later.step = 6;
        assert_eq!(later.anchor_visit().unwrap(), None);
        let plain = Assessment::new(vec![0.0], Regularization::constant(1, 1.0, 0.0));
        let none = plain.anchors(&later, 0.0).unwrap();
        assert_eq!(none.regularization.anchor_weight, None);
    }

    #[test]
    fn divergences_that_are_no_numbers_are_errors() {
        for bad in [f64::NAN, f64::INFINITY, -0.1] {
            let signals = fixtures::anchored(1, &[(true, bad)]);
            assert!(signals.anchor_visit().unwrap_err().contains("step 0"));
        }
        assert!(fixtures::anchored(1, &[]).anchor_visit().is_err());
    }

    #[test]
    fn values_out_of_range_name_their_key() {
        let fine = Anchors::default();
        for (anchors, part) in [
            (Anchors { harmful: 0, harmless: 0, ..fine }, "0 prompts"),
            (Anchors { harmful: u32::MAX, ..fine }, "prompts; give 1 to 256"),
            (Anchors { every: 0, ..fine }, "`every`"),
            (Anchors { answer_tokens: 0, ..fine }, "`answer_tokens`"),
            (Anchors { weight: -1.0, ..fine }, "`weight`"),
            (Anchors { target: Some(0.0), ..fine }, "`target`"),
        ] {
            let error = anchors.check().unwrap_err();
            assert!(error.contains("`anchors`") && error.contains(part), "{error}");
        }
    }
}
