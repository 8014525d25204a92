//! A learned non-Markovian constraint (arXiv 2405.03005): safety is lost by trajectories
//! of steps, a small recurrent model learns from their outcome which steps did it, and
//! what it makes of the newest trajectory moves a Lagrange multiplier, the weight of the KL to
//! the reference on safety anchors.

mod credit;
mod settings;
mod state;

use risk_policy::assessment::{largest, mean};
use risk_policy::canary;
use risk_policy::prelude::*;

use credit::{Labelled, Step, probability};
pub use settings::Settings;
use state::{KEPT, PolicyState};

pub struct NonMarkov;

impl Policy for NonMarkov {
    type Settings = Settings;

    const NAME: &str = "non-markov";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "The weight of safety anchors grows while learned credit says that the steps taken lose safety.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        let needs = Needs::new().canary_every(settings.every).sample_loss();
        Ok(settings.anchors.needs(needs))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check()?;
        let mut state = PolicyState::read(call.state, settings, call.run.seed)?;
        if let Some(previous) = &call.signals.previous {
            state.see(settings, previous);
        }
        let ended = match &call.signals.canary {
            Some(canary) => state.measure(settings, canary.mean_margin()?),
            None => None,
        };
        let losses = call.signals.sample_losses()?;
        state.rows = [largest(losses), mean(losses)];
        let steps = ended.as_ref().map_or(&state.current, |ended| &ended.steps);
        let credits = state.credit.credits(steps);
        let safe = probability(&credits);
        let samples = call.signals.samples.len();
        let plain = Regularization::constant(samples, 1.0, 0.0);
        let visit = settings.anchors.scheduled(call.signals.step, state.lambda);
        let mut assessment = Assessment::new(vec![1.0 - safe; samples], plain)
            .anchors(call.signals, visit)?
            .metric("lambda", state.lambda)
            .metric("safe", safe);
        if let Some(last) = credits.last() {
            assessment = assessment.metric("credit", *last);
        }
        if let Some(ended) = ended.filter(|ended| !ended.safe) {
            let message = blame(call.signals.step, ended.steps.len(), &credits);
            assessment = assessment.step_reason("unsafe-trajectory", message);
        }
        Ok(assessment.state(state.to_bytes()))
    }
}

impl PolicyState {
    /// Takes in what became of the step before.
    fn see(&mut self, settings: &Settings, previous: &Outcome) {
        if self.current.len() == settings.every as usize {
            // A measurement that did not come: go on with the newest steps.
            self.current.remove(0);
        }
        self.current.push(features(previous, self.rows));
    }

    /// A measurement ends the trajectory: learns from it, moves the multiplier, and gives
    /// it back. The first measurement ends none.
    fn measure(&mut self, settings: &Settings, margin: f64) -> Option<Labelled> {
        let first = *self.first.get_or_insert(margin);
        let steps = std::mem::take(&mut self.current);
        if steps.is_empty() {
            return None;
        }
        let ended = Labelled { steps, safe: canary::lost(first, margin) <= settings.limit };
        if self.trajectories.len() == KEPT {
            self.trajectories.remove(0);
        }
        self.trajectories.push(ended.clone());
        self.credit.fit(&self.trajectories);
        let credit = self.credit.credits(&ended.steps).iter().sum();
        self.lambda = settings.next_lambda(self.lambda, credit);
        Some(ended)
    }
}

/// What the model sees of a step, each on a scale of about 1: loss, divergence, gradient,
/// learning rate, and of its rows the largest loss and how far it stands out. What is no number
/// counts as very large.
fn features(step: &Outcome, [worst, mean]: [f64; 2]) -> Step {
    let scaled =
        |value: f64| if value.is_finite() { value.max(0.0).ln_1p().min(20.0) } else { 20.0 };
    let moved = match step.action {
        Action::Update => step.learning_rate,
        _ => 0.0,
    };
    [
        scaled(step.task_loss),
        scaled(step.kl.unwrap_or(0.0)),
        scaled(step.gradient_norm),
        scaled(1e4 * moved),
        scaled(worst),
        scaled(worst - mean),
    ]
}

/// Which of the steps before `next` did most.
fn blame(next: u64, steps: usize, credits: &[f64]) -> String {
    let numbered = credits.iter().copied().enumerate();
    let worst = numbered.min_by(|a, b| a.1.total_cmp(&b.1));
    let (place, credit) = worst.unwrap_or((0, 0.0));
    let first = next.saturating_sub(steps as u64);
    format!(
        "steps {first} to {} lost more margin than is allowed; step {} gets most of the blame ({credit:.3})",
        next.saturating_sub(1),
        first + place as u64
    )
}

risk_policy::export!(NonMarkov);

#[cfg(test)]
mod tests;
