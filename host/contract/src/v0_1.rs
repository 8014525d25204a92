//! Contract 0.1: the records that have other fields than today's, as components of 0.1 take
//! and give them. All other records are the same in both versions.
//!
//! This file is as frozen as `wit/v0.1`: a record that changes once more gets its old form
//! here.

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::{
    actuators::{self, Anchor, Ema, Steering},
    assessment, calibration,
    calibration::{Candidate, Example},
    signals::{
        self, Activations, Canary, GradientConflict, JudgeNeed, JudgeScores, Outcome, PrefixScores,
        SteeringNeed, SteeringSignals, Tap, TokenNeeds, TokenSignals, Trial,
    },
    types::{Action, Metric, Reason, Sample, named_flags},
};

named_flags!(Actuators {
    "token-weights" => TOKEN_WEIGHTS,
    "label-divergence" => LABEL_DIVERGENCE,
    "learning-rate" => LEARNING_RATE,
    "gradient-clip" => GRADIENT_CLIP,
    "ema" => EMA,
    "anchor" => ANCHOR,
    "alignment-share" => ALIGNMENT_SHARE,
    "ratio-clip" => RATIO_CLIP,
    "gradient-projection" => GRADIENT_PROJECTION,
    "adapter-projection" => ADAPTER_PROJECTION,
    "roll-back" => ROLL_BACK,
});

/// [`signals::Needs`] of 0.1.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Needs {
    taps: Vec<Tap>,
    judges: Vec<JudgeNeed>,
    tokens: TokenNeeds,
    #[component(name = "canary-every")]
    canary_every: Option<u32>,
    #[component(name = "trial-scales")]
    trial_scales: Vec<f64>,
    #[component(name = "gradient-conflict")]
    gradient_conflict: bool,
    drift: bool,
    steering: Option<SteeringNeed>,
    calibration: bool,
    actuators: Actuators,
}

/// [`signals::Signals`] of 0.1, borrowed.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Signals<'a> {
    step: u64,
    #[component(name = "learning-rate")]
    learning_rate: f64,
    samples: &'a [Sample],
    activations: &'a [Activations],
    judges: &'a [JudgeScores],
    prefixes: &'a [PrefixScores],
    tokens: Option<&'a TokenSignals>,
    canary: Option<&'a Canary>,
    trials: &'a [Trial],
    #[component(name = "gradient-conflict")]
    gradient_conflict: Option<GradientConflict>,
    drift: Option<f64>,
    steering: Option<&'a SteeringSignals>,
    previous: Option<Outcome>,
}

/// [`actuators::Divergence`] of 0.1.
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "Lift makes them from their numbers")]
pub(crate) enum Divergence {
    #[component(name = "forward-kl")]
    ForwardKl,
    #[component(name = "label-k2")]
    LabelK2,
}

/// [`actuators::RatioClip`] of 0.1.
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(record)]
pub(crate) struct RatioClip {
    low: f64,
    high: f64,
    direction: f64,
    sequence: bool,
    #[component(name = "variance-penalty")]
    variance_penalty: f64,
}

/// [`calibration::Examples`] of 0.1, borrowed.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Examples<'a> {
    examples: &'a [Example],
    activations: &'a [Activations],
    judges: &'a [JudgeScores],
}

/// [`actuators::Regularization`] of 0.1.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Regularization {
    action: Action,
    #[component(name = "task-weight")]
    task_weight: Vec<f64>,
    #[component(name = "kl-weight")]
    kl_weight: Vec<f64>,
    #[component(name = "token-task-weight")]
    token_task_weight: Option<Vec<f32>>,
    #[component(name = "token-kl-weight")]
    token_kl_weight: Option<Vec<f32>>,
    divergence: Divergence,
    #[component(name = "learning-rate-scale")]
    learning_rate_scale: f64,
    #[component(name = "gradient-clip")]
    gradient_clip: Option<f64>,
    ema: Option<Ema>,
    anchor: Option<Anchor>,
    #[component(name = "alignment-share")]
    alignment_share: Option<f64>,
    #[component(name = "ratio-clip")]
    ratio_clip: Option<Vec<RatioClip>>,
    #[component(name = "gradient-projection")]
    gradient_projection: bool,
    #[component(name = "adapter-projection")]
    adapter_projection: Option<f64>,
    steering: Option<Steering>,
}

/// [`assessment::Assessment`] of 0.1.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Assessment {
    risk: Vec<f64>,
    regularization: Regularization,
    reasons: Vec<Reason>,
    metrics: Vec<Metric>,
    state: Vec<u8>,
}

/// [`calibration::Calibration`] of 0.1.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Calibration {
    parameters: Vec<u8>,
    needs: Needs,
    candidates: Vec<Candidate>,
    summary: String,
}

impl From<Needs> for signals::Needs {
    fn from(old: Needs) -> Self {
        Self {
            taps: old.taps,
            judges: old.judges,
            tokens: old.tokens,
            canary_every: old.canary_every,
            trial_scales: old.trial_scales,
            gradient_conflict: old.gradient_conflict,
            drift: old.drift,
            steering: old.steering,
            calibration: old.calibration,
            actuators: named(old.actuators),
            // What was added since is not asked for.
            ..Self::new()
        }
    }
}

impl From<Regularization> for actuators::Regularization {
    fn from(old: Regularization) -> Self {
        Self {
            action: old.action,
            task_weight: old.task_weight,
            kl_weight: old.kl_weight,
            token_task_weight: old.token_task_weight,
            token_kl_weight: old.token_kl_weight,
            divergence: match old.divergence {
                Divergence::ForwardKl => actuators::Divergence::ForwardKl,
                Divergence::LabelK2 => actuators::Divergence::LabelK2,
            },
            learning_rate_scale: old.learning_rate_scale,
            gradient_clip: old.gradient_clip,
            ema: old.ema,
            anchor: old.anchor,
            alignment_share: old.alignment_share,
            ratio_clip: old.ratio_clip.map(|all| all.into_iter().map(Into::into).collect()),
            gradient_projection: old.gradient_projection,
            adapter_projection: old.adapter_projection,
            steering: old.steering,
            // What was added since is off.
            ..Self::weights(Vec::new(), Vec::new())
        }
    }
}

impl From<RatioClip> for actuators::RatioClip {
    fn from(old: RatioClip) -> Self {
        Self {
            low: old.low,
            high: old.high,
            direction: old.direction,
            sequence: old.sequence,
            variance_penalty: old.variance_penalty,
            beyond: 0.0,
        }
    }
}

impl<'a> From<&'a calibration::Examples> for Examples<'a> {
    fn from(new: &'a calibration::Examples) -> Self {
        Self { examples: &new.examples, activations: &new.activations, judges: &new.judges }
    }
}

impl From<Assessment> for assessment::Assessment {
    fn from(old: Assessment) -> Self {
        Self {
            risk: old.risk,
            regularization: old.regularization.into(),
            reasons: old.reasons,
            metrics: old.metrics,
            state: old.state,
        }
    }
}

impl From<Calibration> for calibration::Calibration {
    fn from(old: Calibration) -> Self {
        Self {
            parameters: old.parameters,
            needs: old.needs.into(),
            candidates: old.candidates,
            summary: old.summary,
        }
    }
}

/// Flags have moved or not: their names are what counts.
fn named(old: Actuators) -> actuators::Actuators {
    let all = actuators::Actuators::NAMES.iter();
    let set = old.names();
    all.filter(|(name, _)| set.contains(name))
        .fold(actuators::Actuators::empty(), |all, (_, flag)| all | *flag)
}

impl<'a> From<&'a signals::Signals> for Signals<'a> {
    fn from(new: &'a signals::Signals) -> Self {
        Self {
            step: new.step,
            learning_rate: new.learning_rate,
            samples: &new.samples,
            activations: &new.activations,
            judges: &new.judges,
            prefixes: &new.prefixes,
            tokens: new.tokens.as_ref(),
            canary: new.canary.as_ref(),
            trials: &new.trials,
            gradient_conflict: new.gradient_conflict,
            drift: new.drift,
            steering: new.steering.as_ref(),
            previous: new.previous,
        }
    }
}
