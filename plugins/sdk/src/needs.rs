//! Building [`Needs`], and the [`Signals`] of a policy that has none.

use crate::bindings::{
    Actuators, AnchorNeed, JudgeNeed, Needs, Position, Sample, Signals, Source, SteeringNeed,
    SteeringVector, Tap, TokenNeeds, TokenSet,
};

impl Needs {
    /// Nothing is measured and nothing but weights and action is steered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Activations of `layers`, ascending and without repeats.
    pub fn tap(mut self, source: Source, position: Position, layers: Vec<u32>) -> Self {
        self.taps.push(Tap { source, position, layers });
        self
    }

    /// Scores of whole answers by `judge`.
    pub fn judge(mut self, judge: impl Into<String>) -> Self {
        self.judges.push(JudgeNeed { judge: judge.into(), prefix_words: None });
        self
    }

    /// Scores by `judge` of whole answers and of every prefix of this many words.
    pub fn judge_prefixes(mut self, judge: impl Into<String>, words: u32) -> Self {
        self.judges.push(JudgeNeed { judge: judge.into(), prefix_words: Some(words) });
        self
    }

    /// Log-probabilities of the answer tokens.
    pub fn tokens(mut self, tokens: TokenNeeds) -> Self {
        self.tokens |= tokens;
        self
    }

    /// The canary margin before every this many steps.
    pub fn canary_every(mut self, steps: u32) -> Self {
        self.canary_every = Some(steps);
        self
    }

    /// Trial updates at these learning-rate scales.
    pub fn trials(mut self, scales: Vec<f64>) -> Self {
        self.trial_scales = scales;
        self
    }

    /// The inner product of task and alignment gradient.
    pub fn gradient_conflict(mut self) -> Self {
        self.gradient_conflict = true;
        self
    }

    /// The distance of the parameters from the reference.
    pub fn drift(mut self) -> Self {
        self.drift = true;
        self
    }

    /// The loss of each sample of the step; see
    /// [`Signals::sample_losses`](crate::bindings::Signals::sample_losses).
    pub fn sample_loss(mut self) -> Self {
        self.sample_loss = true;
        self
    }

    /// How far each sample's gradient agrees with the alignment gradient; see
    /// [`Signals::gradient_agreements`](crate::bindings::Signals::gradient_agreements). Takes
    /// alignment samples.
    pub fn gradient_agreement(mut self) -> Self {
        self.gradient_agreement = true;
        self
    }

    /// Safety anchors, on which [`Regularization::anchor_weight`](crate::bindings::Regularization)
    /// holds the model to the reference. [`crate::anchors::Anchors`] are settings for them.
    pub fn safety_anchors(mut self, anchors: AnchorNeed) -> Self {
        self.anchors = Some(anchors);
        self.actuators(Actuators::SAFETY_ANCHORS)
    }

    /// So many safety tokens, with logits divided by `temperature`, for
    /// [`Divergence::TokenSetKl`](crate::bindings::Divergence).
    pub fn token_set(mut self, count: u32, temperature: f64) -> Self {
        self.token_set = Some(TokenSet { count, temperature });
        self
    }

    /// A steering vector whose coefficient the policy sets.
    pub fn steering(mut self, vector: SteeringVector, layers: Vec<u32>) -> Self {
        self.steering = Some(SteeringNeed { vector, layers });
        self
    }

    /// `assess` can't work without the parameters of `calibrate`.
    pub fn calibrated(mut self) -> Self {
        self.calibration = true;
        self
    }

    /// `calibrate` also sees so many task samples of the run, without labels.
    pub fn calibration_rows(mut self, rows: u32) -> Self {
        self.calibration_rows = rows;
        self
    }

    /// Parts of the regularization the policy may use beyond weights and action.
    pub fn actuators(mut self, actuators: Actuators) -> Self {
        self.actuators |= actuators;
        self
    }
}

impl Signals {
    /// The signals of a step of which nothing was measured, at a scheduled learning rate
    /// of 1e-4: what tests start from.
    pub fn unmeasured(step: u64, samples: Vec<Sample>) -> Self {
        Self { step, learning_rate: 1e-4, samples, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_builder_sets_its_own_field_only() {
        assert_eq!(Needs::new().drift(), Needs { drift: true, ..Needs::new() });
        assert_eq!(Needs::new().sample_loss(), Needs { sample_loss: true, ..Needs::new() });
        let set = Some(TokenSet { count: 50, temperature: 2.0 });
        assert_eq!(Needs::new().token_set(50, 2.0), Needs { token_set: set, ..Needs::new() });
        let agreement = Needs { gradient_agreement: true, ..Needs::new() };
        assert_eq!(Needs::new().gradient_agreement(), agreement);
        let needs = Needs::new()
            .tap(Source::Reference, Position::LastPromptToken, vec![1, 2])
            .tokens(TokenNeeds::CURRENT)
            .tokens(TokenNeeds::REFERENCE)
            .actuators(Actuators::EMA)
            .calibrated();
        assert_eq!(needs.taps.len(), 1);
        assert_eq!(needs.tokens, TokenNeeds::CURRENT | TokenNeeds::REFERENCE);
        assert_eq!(needs.actuators, Actuators::EMA);
        assert!(needs.calibration && !needs.drift && needs.judges.is_empty());
    }
}
