//! Safety anchors: prompts beside the batch on which the model is held to the reference.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

use super::{
    Needs, Signal, Signals,
    synthetic::{Damage, Step, Stream, Synthetic},
};
use crate::{
    invalid::Invalid,
    run::{RunCapabilities, Unmet},
    types::RunInfo,
};

/// Anchors of one visit, and answer tokens of each.
const MOST: u32 = 256;

/// How far the model in training is from the reference on an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum AnchorDivergence {
    /// KL(reference || current) along the reference's own answer, in nats per token.
    #[component(name = "forward-kl")]
    ForwardKl,
    /// Squared distance of the final hidden states at the last prompt token, by their width.
    #[component(name = "hidden-distance")]
    HiddenDistance,
}

/// Anchors that a policy wants visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct AnchorNeed {
    /// Harmful prompts of a visit.
    pub harmful: u32,
    /// Harmless prompts of a visit.
    pub harmless: u32,
    /// Tokens of the reference's answer that the KL covers.
    #[component(name = "answer-tokens")]
    pub answer_tokens: u32,
    /// How the distance is measured.
    pub divergence: AnchorDivergence,
}

impl AnchorNeed {
    /// What several policies want of one visit: the most of each, so that the anchors of every
    /// policy are among them.
    ///
    /// # Errors
    /// The position of the first policy that measures in another way than one before it.
    pub fn together(needs: &[&Needs]) -> Result<Option<Self>, usize> {
        let mut all: Option<Self> = None;
        for (policy, need) in needs.iter().enumerate() {
            let Some(need) = need.anchors else { continue };
            all = Some(match all {
                None => need,
                Some(other) if other.divergence != need.divergence => return Err(policy),
                Some(other) => Self {
                    harmful: other.harmful.max(need.harmful),
                    harmless: other.harmless.max(need.harmless),
                    answer_tokens: other.answer_tokens.max(need.answer_tokens),
                    divergence: need.divergence,
                },
            });
        }
        Ok(all)
    }

    /// Tokens of the answer that are run through.
    pub fn tokens(&self) -> usize {
        match self.divergence {
            AnchorDivergence::ForwardKl => self.answer_tokens as usize,
            // The row before the first of them is the last of the prompt.
            AnchorDivergence::HiddenDistance => 1,
        }
    }
}

/// Divergence per anchor of the last visit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct AnchorSignals {
    /// The step that visited them.
    pub step: u64,
    /// Per anchor, whether its prompt is a harmful one.
    pub harmful: Vec<bool>,
    /// Per anchor, at least 0.
    pub divergence: Vec<f64>,
}

pub(super) struct AnchorsSignal;

impl Signal for AnchorsSignal {
    fn name(&self) -> &'static str {
        "anchors"
    }

    fn need(&self) -> Option<&'static str> {
        Some("needs.anchors")
    }

    fn meaning(&self) -> &'static str {
        "divergence from the reference on the safety anchors of the last visit"
    }

    fn asked(&self, needs: &Needs) -> bool {
        needs.anchors.is_some()
    }

    fn example(&self, needs: &mut Needs) {
        needs.anchors = Some(AnchorNeed {
            harmful: 1,
            harmless: 1,
            answer_tokens: 8,
            divergence: AnchorDivergence::ForwardKl,
        });
    }

    fn check(&self, needs: &Needs, _run: &RunInfo) -> Result<(), Invalid> {
        let Some(need) = needs.anchors else { return Ok(()) };
        let visit = need.harmful.saturating_add(need.harmless);
        if !(1..=MOST).contains(&visit) {
            let problem =
                format!("asks for {visit} prompts; a visit has from 1 to {MOST} of both kinds");
            return Err(Invalid::new("needs.anchors", problem));
        }
        if !(1..=MOST).contains(&need.answer_tokens) {
            let problem = format!("is {}; it must be from 1 to {MOST}", need.answer_tokens);
            return Err(Invalid::new("needs.anchors.answer-tokens", problem));
        }
        Ok(())
    }

    /// The host has prepared what was asked for and nothing else.
    fn exceeds(&self, narrow: &Needs, wide: &Needs) -> Option<String> {
        let other = narrow.anchors.is_some() && narrow.anchors != wide.anchors;
        other.then(|| "needs.anchors".to_owned())
    }

    fn summary(&self, needs: &Needs) -> Vec<String> {
        let one = |need: &AnchorNeed| {
            let by = match need.divergence {
                AnchorDivergence::ForwardKl => {
                    format!("KL along {} tokens of the reference's answer", need.answer_tokens)
                }
                AnchorDivergence::HiddenDistance => "distance of the last hidden state".to_owned(),
            };
            let (harmful, harmless) = (need.harmful, need.harmless);
            format!(
                "visits of {harmful} harmful and {harmless} harmless safety anchors, by the {by}"
            )
        };
        needs.anchors.iter().map(one).collect()
    }

    fn unmet(&self, needs: &Needs, run: &RunCapabilities<'_>) -> Option<Unmet> {
        let need = needs.anchors?;
        let lacks = |name: &str| {
            let remedy = format!("name a file of {name} prompts in anchors.{name}");
            Some(Unmet::new(format!("{name} safety anchors"), remedy))
        };
        match run.anchors {
            [false, _] if need.harmful > 0 => lacks("harmful"),
            [_, false] if need.harmless > 0 => lacks("harmless"),
            _ => None,
        }
    }

    fn given(&self, signals: &Signals) -> bool {
        signals.anchors.is_some()
    }

    fn copy(&self, from: &Signals, to: &mut Signals) {
        to.anchors.clone_from(&from.anchors);
    }

    fn bytes(&self, signals: &Signals) -> usize {
        let bytes = |one: &AnchorSignals| size_of_val(&one.divergence[..]) + one.harmful.len();
        signals.anchors.as_ref().map_or(0, bytes)
    }

    /// A run that visited others is still worth looking at.
    fn suits(&self, _needs: &Needs, recorded: &Needs) -> bool {
        self.asked(recorded)
    }

    fn synthesize(&self, made: &Synthetic<'_>, step: &Step, to: &mut Signals) {
        let Some(need) = made.needs.anchors else { return };
        // The step before visited them; there is none before the first.
        let Some(visit) = step.step.checked_sub(1) else { return };
        let mut noise = Stream::new(made.seed, "anchors", &[visit]);
        let harmful = (0..need.harmful + need.harmless).map(|i| i < need.harmful);
        let harmful: Vec<bool> = harmful.collect();
        let of = |harmful: &bool| {
            let moved = if *harmful { 2.0 } else { 0.5 };
            0.01 + 0.02 * noise.unit() + moved * step.danger
        };
        let divergence = harmful.iter().map(of).collect();
        to.anchors = Some(AnchorSignals { step: visit, harmful, divergence });
    }

    fn reached_by(&self, damage: Damage) -> bool {
        matches!(damage, Damage::Norms(_))
    }

    fn damage(&self, signals: &mut Signals, damage: Damage) {
        if let (Some(anchors), Damage::Norms(value)) = (&mut signals.anchors, damage) {
            anchors.divergence.fill(value);
        }
    }
}
