//! Building [`Needs`], and the [`Signals`] of a policy that has none.

use crate::bindings::{
    Actuators, JudgeNeed, Needs, Position, Sample, Signals, Source, SteeringNeed, SteeringVector,
    Tap, TokenNeeds,
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
