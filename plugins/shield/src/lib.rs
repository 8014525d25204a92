//! Probabilistic shielding (arXiv 2503.07671) of a fine-tune: of a ladder of weights of the
//! safety anchors the weakest whose estimated probability of ever losing the refusal margin
//! stays within a budget.

mod experience;
mod mdp;
mod settings;
mod state;

use risk_policy::canary;
use risk_policy::prelude::*;

use experience::Experience;
pub use settings::Settings;
use state::PolicyState;

pub struct Shield;

impl Policy for Shield {
    type Settings = Settings;

    const NAME: &str = "shield";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "The weakest hold on safety anchors whose estimated chance of losing the refusal margin stays within a budget.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, _run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        Ok(settings.anchors.needs(Needs::new().canary_every(settings.every)))
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check()?;
        let mut state = PolicyState::read(call.state, settings)?;
        let mut decided = None;
        if let Some(canary) = &call.signals.canary {
            let measurements = call.run.total_steps as f64 / f64::from(settings.every);
            let decision = Decision::new(settings, measurements, state, canary.mean_margin()?);
            state = Some(decision.state.clone());
            decided = Some(decision);
        }
        let samples = call.signals.samples.len();
        let strongest = settings.weights.len() - 1;
        let (rung, risk) =
            state.as_ref().map_or((strongest, 1.0), |state| (state.rung, state.risk));
        let weight = settings.weights[rung];
        let plain = Regularization::constant(samples, 1.0, 0.0);
        let visit = settings.anchors.scheduled(call.signals.step, weight);
        let mut assessment = Assessment::new(vec![risk; samples], plain)
            .anchors(call.signals, visit)?
            .metric("weight", weight);
        if let Some(decision) = &decided {
            assessment = decision.explain(settings, assessment);
        }
        Ok(match &state {
            Some(state) => assessment.state(state.to_bytes()),
            None => assessment,
        })
    }
}

/// What a measurement led to.
struct Decision {
    state: PolicyState,
    fall: f64,
    /// Least probability of reaching unsafe, and how much of it is allowed.
    bound: f64,
    budget: f64,
}

impl Decision {
    fn new(
        settings: &Settings,
        measurements: f64,
        before: Option<PolicyState>,
        margin: f64,
    ) -> Self {
        let first = before.as_ref().map_or(margin, |before| before.first);
        let fall = canary::lost(first, margin);
        let bin = settings.bin(fall);
        let budget = left_over(settings, measurements, before.as_ref(), bin);
        let mut experience = match &before {
            Some(before) => before.experience.clone(),
            None => Experience::none(settings),
        };
        if let Some(before) = &before
            && before.bin < settings.unsafe_bin()
        {
            experience.add(settings, before.bin, before.rung, bin);
        }
        let state = |rung, fraction, risk| PolicyState {
            first,
            bin,
            rung,
            fraction,
            risk,
            experience: experience.clone(),
        };
        if bin == settings.unsafe_bin() {
            return Self {
                state: state(settings.weights.len() - 1, 0.0, 1.0),
                fall,
                bound: 1.0,
                budget: 1.0,
            };
        }
        let process = experience.process(settings, measurements);
        let bounds = process.bound();
        // Where more was lost than was to be expected, the budget is what can't be avoided.
        let budget = budget.max(bounds[bin]);
        let risks = process.risks(bin, &bounds);
        let (rung, risk) = weakest_within(&risks, budget);
        Self {
            state: state(rung, mdp::fraction(budget, risk), risk),
            fall,
            bound: bounds[bin],
            budget,
        }
    }

    fn explain(&self, settings: &Settings, assessment: Assessment) -> Assessment {
        let assessment = assessment
            .metric("margin.lost", self.fall)
            .metric("budget", self.budget)
            .metric("bound", self.bound);
        let PolicyState { bin, rung, .. } = self.state;
        let (fall, budget) = (self.fall, self.budget);
        if bin == settings.unsafe_bin() {
            let message = format!("{fall:.3} of the margin is lost: the strongest hold there is");
            return assessment.step_reason("unsafe", message);
        }
        if rung == 0 {
            return assessment;
        }
        let message = format!(
            "anchor weights below {} could lose the margin with a probability above {budget:.4}",
            settings.weights[rung]
        );
        assessment.step_reason("forbidden", message)
    }
}

/// The budget of the state that came, as the decision before left it.
fn left_over(
    settings: &Settings,
    measurements: f64,
    before: Option<&PolicyState>,
    bin: usize,
) -> f64 {
    let Some(before) = before else {
        return settings.budget;
    };
    if before.bin == settings.unsafe_bin() {
        // Unsafe was reached: all is spent.
        return 0.0;
    }
    let process = before.experience.process(settings, measurements);
    mdp::successor_budget(process.bound()[bin], before.fraction)
}

/// The first rung whose risk is within the budget, and that risk. If rounding leaves
/// none, the one of least risk.
fn weakest_within(risks: &[f64], budget: f64) -> (usize, f64) {
    let numbered = || risks.iter().copied().enumerate();
    let within = numbered().find(|(_, risk)| *risk <= budget);
    let least = || numbered().min_by(|a, b| a.1.total_cmp(&b.1));
    within.or_else(least).unwrap_or((0, 1.0))
}

risk_policy::export!(Shield);

#[cfg(test)]
mod tests;
