//! From risk to regularization.

use crate::bindings::{Action, Divergence, Regularization};

impl Regularization {
    /// An ordinary update with these weights per sample; everything else is off.
    pub fn weights(task_weight: Vec<f64>, kl_weight: Vec<f64>) -> Self {
        Self {
            action: Action::Update,
            task_weight,
            kl_weight,
            token_task_weight: None,
            token_kl_weight: None,
            divergence: Divergence::ForwardKl,
            learning_rate_scale: 1.0,
            gradient_clip: None,
            ema: None,
            anchor: None,
            alignment_share: None,
            alignment_extra: None,
            ratio_clip: None,
            gradient_projection: false,
            adapter_projection: None,
            adapter_projection_count: None,
            anchor_weight: None,
            alignment_complement: None,
            layer_scale: None,
            steering: None,
        }
    }

    /// The same two weights for every sample.
    pub fn constant(samples: usize, task_weight: f64, kl_weight: f64) -> Self {
        Self::weights(vec![task_weight; samples], vec![kl_weight; samples])
    }

    /// Adaptive regularization (arXiv 2602.17546):
    /// `b = b_min + (b_max - b_min) s`, `a = 1 - b`, for the risk s of each sample.
    pub fn affine(risk: &[f64], b_min: f64, b_max: f64) -> Self {
        let kl: Vec<f64> = risk.iter().map(|s| b_min + (b_max - b_min) * s).collect();
        let task = kl.iter().map(|b| 1.0 - b).collect();
        Self::weights(task, kl)
    }

    /// The clamp of the code that the authors of arXiv 2602.17546 published, for harm scores
    /// from 1 to 5: `b = clamp((score - 2) / 3, .1, .9)`, `a = clamp(1 - b, .1, .9)`.
    pub fn clamped(scores: &[f64]) -> Self {
        let kl: Vec<f64> = scores.iter().map(|x| ((x - 2.0) / 3.0).clamp(0.1, 0.9)).collect();
        let task = kl.iter().map(|b| (1.0 - b).clamp(0.1, 0.9)).collect();
        Self::weights(task, kl)
    }

    /// From the next step on, so many alignment samples in addition to the batch; takes
    /// [`Actuators::ALIGNMENT_EXTRA`](crate::bindings::Actuators).
    pub fn alignment_extra(mut self, samples: u32) -> Self {
        self.alignment_extra = Some(samples);
        self
    }

    /// Holds the model to the reference on the next safety anchors with this weight, 0 on none;
    /// takes [`Needs::safety_anchors`](crate::bindings::Needs::safety_anchors).
    pub fn anchor_weight(mut self, weight: f64) -> Self {
        self.anchor_weight = (weight > 0.0).then_some(weight);
        self
    }

    /// Another action than [`Action::Update`].
    pub fn action(mut self, action: Action) -> Self {
        self.action = action;
        self
    }
}

/// A risk in [0, 1] as a harm score from 1 to 5.
pub fn score_of_risk(risk: f64) -> f64 {
    1.0 + 4.0 * risk
}

/// A harm score from 1 to 5 as a risk in [0, 1].
pub fn risk_of_score(score: f64) -> f64 {
    ((score - 1.0) / 4.0).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: &[f64], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() < 1e-4, "{got:?} is not {want:?}");
        }
    }

    #[test]
    fn affine_golden_values() {
        let r = Regularization::affine(&[0.5, 0.0, 1.0], 0.1, 0.9);
        close(&r.kl_weight, &[0.5, 0.1, 0.9]);
        close(&r.task_weight, &[0.5, 0.9, 0.1]);
        assert_eq!(r.action, Action::Update);
        assert_eq!(r.learning_rate_scale, 1.0);
    }

    #[test]
    fn clamp_golden_values() {
        let r = Regularization::clamped(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        close(&r.kl_weight, &[0.1, 0.1, 0.3333, 0.6667, 0.9]);
        close(&r.task_weight, &[0.9, 0.9, 0.6667, 0.3333, 0.1]);
    }

    #[test]
    fn extra_samples_are_asked_for_and_nothing_else_changes() {
        let plain = Regularization::constant(2, 1.0, 0.0);
        let extra = plain.clone().alignment_extra(3);
        assert_eq!(extra, Regularization { alignment_extra: Some(3), ..plain });
    }

    #[test]
    fn scores_and_risks_are_inverse() {
        for score in [1.0, 2.0, 3.5, 5.0] {
            assert_eq!(score_of_risk(risk_of_score(score)), score);
        }
        assert_eq!(risk_of_score(3.0), 0.5);
    }
}
