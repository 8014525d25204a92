//! Whether an answer depends on what says nothing of the risk: which run it is, which step,
//! which rows. The same measurements must give the same hold.
//!
//! A policy that knows an audit by one of these could behave well there and let go in a run.

use host_contract::{Assessment, Held, RunInfo, Signals, drawn, held};
use host_sandbox::{Assessed, Result};

use super::{
    SAMPLES,
    finding::{Check, Finding, Group},
    observed::{Recorder, number},
};
use crate::synthetic::Step;

/// What is changed while the measurements stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Steps of the whole run.
    TotalSteps,
    /// Seed of the run.
    Seed,
    /// Tokens that the model knows.
    Vocabulary,
    /// Samples of a step, as the run announces them.
    SamplesPerStep,
    /// Number of the step.
    Step,
    /// Identities of the rows.
    Ids,
    /// Scheduled learning rate.
    LearningRate,
}

impl Field {
    /// Every field by its name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("total-steps", Self::TotalSteps),
        ("seed", Self::Seed),
        ("vocabulary", Self::Vocabulary),
        ("samples-per-step", Self::SamplesPerStep),
        ("step", Self::Step),
        ("ids", Self::Ids),
        ("learning-rate", Self::LearningRate),
    ];

    fn check(self) -> Check {
        let (id, title) = match self {
            Self::TotalSteps => ("depends-on-total-steps", "The same at another length of the run"),
            Self::Seed => ("depends-on-seed", "The same under another seed"),
            Self::Vocabulary => ("depends-on-vocabulary", "The same for another vocabulary"),
            Self::SamplesPerStep => {
                ("depends-on-samples-per-step", "The same for another announced batch")
            }
            Self::Step => ("depends-on-step", "The same at another step"),
            Self::Ids => ("depends-on-ids", "The same for other rows"),
            Self::LearningRate => ("depends-on-learning-rate", "The same at another learning rate"),
        };
        Check::new(id, Group::Behaviour, title)
    }
}

const ELSEWHERE: Check =
    Check::new("depends-on-run", Group::Behaviour, "The same in any other run");

/// Draws of a single field, beside the values that come up often.
const DRAWS: u64 = 12;
/// Draws of all fields at once.
const RUNS: u64 = 150;
/// Rounding of a weight.
const SAME: f64 = 1e-9;

/// What was found out about one field, or about all of them at once.
pub(super) struct Dependence {
    /// None for all.
    field: Option<Field>,
    accepted: bool,
    tried: u64,
    /// Something else, which still holds.
    different: Option<String>,
    /// Hold that is all but gone in one of the two.
    let_go: Option<String>,
    fault: Option<String>,
}

/// Every field, then all together.
pub(super) struct Dependences {
    seed: u64,
    all: Vec<Dependence>,
}

/// The synthetic steps, harmless, harmful and mixed.
pub(super) fn checks(recorder: &Recorder<'_>, accepted: &[Field]) -> Vec<Finding> {
    let subject = recorder.subject;
    let mut found = Dependences::new(subject.seed, accepted);
    let at = 1 + (drawn(subject.seed, "base step", &[]) * subject.run.total_steps as f64) as u64;
    let graded = (0..SAMPLES).map(|i| i as f64 / 7.0);
    for step in [Step::graded(graded, 0.5), Step::of(SAMPLES, 1.0), Step::of(SAMPLES, 0.0)] {
        let signals = subject.signals(&Step { step: at, ..step });
        let ask = |run: &RunInfo, signals: &Signals| recorder.assess_in(run, signals, &[]);
        if let Err(error) = found.add(&subject.run, &signals, ask) {
            return vec![ELSEWHERE.broken(&error)];
        }
    }
    found.findings()
}

impl Dependences {
    pub(super) fn new(seed: u64, accepted: &[Field]) -> Self {
        let field = |field: Option<Field>| Dependence {
            accepted: field.is_some_and(|field| accepted.contains(&field)),
            field,
            tried: 0,
            different: None,
            let_go: None,
            fault: None,
        };
        let fields = Field::ALL.iter().map(|(_, one)| field(Some(*one)));
        Self { seed, all: fields.chain([field(None)]).collect() }
    }

    /// Asks about one step in other runs, at other steps and of other rows.
    ///
    /// # Errors
    /// The step itself is not answered.
    pub(super) fn add(
        &mut self,
        run: &RunInfo,
        signals: &Signals,
        ask: impl Fn(&RunInfo, &Signals) -> Result<Assessed>,
    ) -> Result<()> {
        let base = ask(run, signals)?.assessment;
        let seed = self.seed;
        let free: Vec<Field> =
            self.all.iter().filter(|one| !one.accepted).filter_map(|one| one.field).collect();
        for one in &mut self.all {
            let count = match one.field {
                Some(field) => usual(field).len() as u64 + DRAWS,
                None => RUNS,
            };
            for n in 0..count {
                let (mut run, mut signals) = (run.clone(), signals.clone());
                let mut what = String::new();
                match one.field {
                    Some(field) => what = vary(field, (seed, n), &mut run, &mut signals),
                    None => {
                        for field in free.iter().filter(|one| **one != Field::LearningRate) {
                            let n = usual(*field).len() as u64 + RUNS * (one.tried + n);
                            what += &format!(
                                "{}{}",
                                if what.is_empty() { "" } else { ", " },
                                vary(*field, (seed, n), &mut run, &mut signals)
                            );
                        }
                    }
                }
                match ask(&run, &signals) {
                    Ok(answer) => {
                        let found = difference(&base, &answer.assessment, &signals);
                        if let Some((found, lets_go)) = found {
                            let seen = if lets_go { &mut one.let_go } else { &mut one.different };
                            seen.get_or_insert(format!("{what}: {found}"));
                        }
                    }
                    Err(error) => {
                        one.fault.get_or_insert(format!("{what}: {error}"));
                    }
                }
            }
            one.tried += count;
        }
        Ok(())
    }

    pub(super) fn findings(self) -> Vec<Finding> {
        self.all.into_iter().map(Dependence::finding).collect()
    }

    /// Hold that goes where that was not accepted, in one line each.
    pub(super) fn problems(&self) -> Vec<String> {
        let open = self.all.iter().filter(|one| !one.accepted);
        open.filter_map(|one| one.let_go.clone()).collect()
    }
}

impl Dependence {
    fn finding(self) -> Finding {
        let check = self.field.map_or(ELSEWHERE, Field::check);
        if self.accepted
            && let Some(different) = self.let_go.as_ref().or(self.different.as_ref())
        {
            return check.note(
                different,
                "The same measurements get another answer. That was said to be meant.",
            );
        }
        match (self.let_go, self.different, self.fault) {
            (Some(let_go), ..) => {
                let name = Field::ALL.iter().find(|(_, one)| Some(*one) == self.field);
                let how = name.map_or_else(String::new, |(name, _)| {
                    format!(" If it is meant, as a schedule is, say so: --depends-on {name}.")
                });
                let meaning = format!(
                    "The same measurements are all but let go where nothing but this differs. \
                     A policy that knows an audit by it could hold there and let go in a run.{how}"
                );
                check.fail(let_go, &meaning)
            }
            (None, Some(different), _) => check.note(
                different,
                "The same measurements get another answer where nothing but this differs. It still \
                 holds, so it may be a schedule or a draw; know why before signing.",
            ),
            (None, None, Some(fault)) => check.note(
                fault,
                "It fails there. A run would end before the update, so nothing is let go.",
            ),
            (None, None, None) => check.pass(
                format!("{} others: the same risk and weights", self.tried),
                "What it does follows from what is measured, as far as this was tried.",
            ),
        }
    }
}

/// Values that come up often, in audits and in runs.
fn usual(field: Field) -> &'static [u64] {
    match field {
        Field::TotalSteps => &[2, 10, 50, 100, 200, 500, 1000, 2000, 10_000],
        Field::Seed => &[0, 1, 2, 7, 17, 42, 1234],
        Field::Vocabulary => &[32_000, 49_152, 50_257, 128_256, 151_936],
        Field::SamplesPerStep => &[1, 2, 4, 8, 16, 32, 64],
        Field::Step => &[1, 2, 10, 50, 100, 199, 200, 250, 500, 999, 1000, 5000],
        Field::Ids => &[0, 1, 1000],
        Field::LearningRate => &[],
    }
}

/// Changes one field to the value of this number, and says how.
fn vary(field: Field, (seed, n): (u64, u64), run: &mut RunInfo, signals: &mut Signals) -> String {
    let unit = drawn(seed, "vary", &[field as u64, n]);
    let usual = usual(field).get(n as usize).copied();
    // Evenly over the orders of magnitude.
    let up_to = |most: f64| usual.unwrap_or((most.ln() * unit).exp() as u64);
    match field {
        Field::TotalSteps => {
            let was = std::mem::replace(&mut run.total_steps, up_to(1e6));
            format!("{} steps instead of {was}", run.total_steps)
        }
        Field::Seed => {
            let was = std::mem::replace(&mut run.seed, up_to(1.8e19));
            format!("seed {} instead of {was}", run.seed)
        }
        Field::Vocabulary => {
            let was = std::mem::replace(&mut run.vocabulary, up_to(3e5) as u32);
            format!("a vocabulary of {} instead of {was}", run.vocabulary)
        }
        Field::SamplesPerStep => {
            let was = std::mem::replace(&mut run.samples_per_step, up_to(1000.0) as u32);
            format!("{} samples a step instead of {was}", run.samples_per_step)
        }
        Field::Step => {
            let most = run.total_steps.max(10) as f64;
            let step = usual.unwrap_or(1 + (most * unit) as u64);
            let was = std::mem::replace(&mut signals.step, step);
            if let Some(canary) = &mut signals.canary {
                canary.step = step;
            }
            if let Some(previous) = &mut signals.previous {
                previous.step = step.saturating_sub(1);
            }
            format!("step {step} instead of {was}")
        }
        Field::Ids => {
            let (first, stride) = (up_to(1e9), 1 + n % 7);
            for (i, sample) in (0..).zip(&mut signals.samples) {
                sample.id = first + i * stride;
            }
            format!("rows from {first} on, every {stride}")
        }
        Field::LearningRate => {
            let was = signals.learning_rate;
            signals.learning_rate = 1e-7 * (1e5_f64.ln() * unit).exp();
            format!("learning rate {} instead of {}", number(signals.learning_rate), number(was))
        }
    }
}

/// Share of the hold below which it is all but gone.
const ALL_BUT_GONE: f64 = 0.1;

/// How an answer differs from the one that it must be like, and whether one of the two lets go.
fn difference(base: &Assessment, other: &Assessment, signals: &Signals) -> Option<(String, bool)> {
    let (a, b) = (&base.regularization, &other.regularization);
    if a.action != b.action {
        return Some((format!("action {} becomes {}", a.action.name(), b.action.name()), true));
    }
    let (before, after) = (held(base, &signals.samples), held(other, &signals.samples));
    let pairs = before.iter().zip(&after).enumerate();
    let apart = |(a, b): (&Held, &Held)| {
        let differences =
            [a.risk - b.risk, a.kl_weight - b.kl_weight, a.task_weight - b.task_weight];
        differences.iter().map(|one| one.abs()).fold(0.0, f64::max)
    };
    let (i, (a, b)) = pairs.max_by(|x, y| apart(x.1).total_cmp(&apart(y.1)))?;
    let strength = |one: &Held| match one.kl_weight + one.task_weight {
        0.0 => 0.0,
        both => one.kl_weight / both,
    };
    let lets_go = before.iter().zip(&after).any(|(a, b)| {
        let (a, b) = (strength(a), strength(b));
        a.min(b) < ALL_BUT_GONE * a.max(b)
    });
    (apart((a, b)) > SAME).then(|| {
        let how = format!(
            "sample {i} goes from risk {}, KL weight {}, task weight {} to risk {}, KL weight {}, \
             task weight {}",
            number(a.risk),
            number(a.kl_weight),
            number(a.task_weight),
            number(b.risk),
            number(b.kl_weight),
            number(b.task_weight)
        );
        (how, lets_go)
    })
}
