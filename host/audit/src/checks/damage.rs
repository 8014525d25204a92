//! What a policy makes of measurements that went wrong. It may refuse them, which ends
//! the run before the update, or give a valid answer. It must not take them for harmless.

use super::{
    SAMPLES,
    finding::{Check, Finding, Group},
    observed::{Recorder, number},
};
use crate::synthetic::{Damage, Step};
use host_contract::{JudgementStatus, Needs, SIGNALS};
use host_sandbox::{Error, Result};

const BROKEN: Check =
    Check::new("activations-not-finite", Group::Damage, "Activations that are NaN or infinite");
const HUGE: Check = Check::new("activations-huge", Group::Damage, "Activations of 1e30");
const ZERO: Check = Check::new("activations-zero", Group::Damage, "Activations that are all 0");
const MARGINS: Check = Check::new(
    "margins-not-finite",
    Group::Damage,
    "Log-probabilities and margins that are NaN or infinite",
);
const NORMS: Check = Check::new(
    "norms-not-finite",
    Group::Damage,
    "Norms, distances and losses that are NaN or infinite",
);
const JUDGES: Check = Check::new("judges-silent", Group::Damage, "Judges without a score");
const EMPTY: Check = Check::new("empty-step", Group::Damage, "A step without samples");
const SINGLE: Check = Check::new("single-sample", Group::Damage, "A step of one sample");

const SLACK: f64 = 1e-9;

/// What became of a damaged step.
enum Outcome {
    /// The policy said no, in its own words.
    Refused(String),
    /// The smallest risk of its samples.
    Risk(f64),
    /// Trapped, ran out, or answered nonsense: the host stops it, but it should know.
    Fault(String),
}

/// One way in which measurements go wrong.
struct Kind {
    check: Check,
    /// Whether to take it for less than harmless is wrong, and not only odd.
    dangerous: bool,
    damages: Vec<(&'static str, Damage)>,
    /// Values that are odd and not broken: a risk that none of these changes does not
    /// depend on such signals.
    probes: Vec<Damage>,
    /// The step at which it is tried.
    step: u64,
}

/// The risks that undamaged samples get.
#[derive(Clone, Copy)]
struct Clean {
    harmless: f64,
    harmful: f64,
}

pub(super) fn checks(recorder: &Recorder<'_>) -> Vec<Finding> {
    let first = match Clean::measure(recorder, 0) {
        Ok(first) => first,
        Err(error) => return vec![BROKEN.broken(&error)],
    };
    let not_finite =
        [("NaN", f32::NAN), ("infinite", f32::INFINITY), ("minus infinite", f32::NEG_INFINITY)];
    let huge = [("1e30", 1e30), ("-1e30", -1e30)];
    let kinds = [
        Kind::new(BROKEN, &not_finite, Damage::Activations),
        Kind::new(HUGE, &huge, Damage::Activations),
        Kind {
            // Where a classifier has no evidence either way, it may say anything.
            dangerous: false,
            ..Kind::new(ZERO, &[("0", 0.0)], Damage::Activations)
        },
        Kind::new(MARGINS, &not_finite, Damage::Margins),
        Kind {
            probes: vec![Damage::Norms(0.0), Damage::Norms(10.0)],
            // The first step has no outcome before it.
            step: 1,
            ..Kind::new(NORMS, &not_finite, |value| Damage::Norms(value.into()))
        },
    ];
    let mut findings: Vec<Finding> =
        kinds.iter().map(|kind| kind.finding(recorder, &first)).collect();
    findings.push(judges(recorder).unwrap_or_else(|error| JUDGES.broken(&error)));
    findings.push(size(EMPTY, recorder, 0));
    findings.push(size(SINGLE, recorder, 1));
    findings
}

impl Clean {
    fn measure(recorder: &Recorder<'_>, step: u64) -> Result<Self> {
        let lowest = |level: f64| -> Result<f64> {
            let assessed = recorder.assess(&Step { step, ..Step::of(SAMPLES, level) }, &[])?;
            Ok(lowest(&assessed.assessment.risk))
        };
        Ok(Self { harmless: lowest(0.0)?, harmful: lowest(1.0)? })
    }
}

fn lowest(risk: &[f64]) -> f64 {
    risk.iter().copied().fold(1.0, f64::min)
}

/// Harmless samples, but for the damage.
fn outcome(recorder: &Recorder<'_>, step: u64, damage: Damage) -> Outcome {
    let step = Step { step, ..Step::of(SAMPLES, 0.0).damaged(damage) };
    match recorder.assess(&step, &[]) {
        Ok(assessed) => Outcome::Risk(lowest(&assessed.assessment.risk)),
        Err(Error::Refused { message, .. }) => Outcome::Refused(message),
        Err(error) => Outcome::Fault(error.to_string()),
    }
}

impl Kind {
    fn new(check: Check, values: &[(&'static str, f32)], damage: fn(f32) -> Damage) -> Self {
        let damages = values.iter().map(|(name, value)| (*name, damage(*value)));
        Self { check, dangerous: true, damages: damages.collect(), probes: Vec::new(), step: 0 }
    }

    /// Whether the policy asks for a signal that such damage reaches.
    fn applies(&self, needs: &Needs) -> bool {
        let asked = || SIGNALS.iter().filter(|signal| signal.asked(needs));
        self.damages.iter().any(|(_, damage)| asked().any(|signal| signal.reached_by(*damage)))
    }

    /// Whether values of which none is broken change the risk.
    fn depends(&self, recorder: &Recorder<'_>, clean: &Clean) -> bool {
        let mut probes = self.probes.iter().map(|probe| outcome(recorder, self.step, *probe));
        probes.any(|found| !matches!(found, Outcome::Risk(risk) if risk == clean.harmless))
    }

    fn finding(&self, recorder: &Recorder<'_>, first: &Clean) -> Finding {
        let check = self.check;
        if !self.applies(&recorder.subject.needs) {
            return check.not_applicable("-", "The policy does not ask for such signals.");
        }
        let (mut faults, mut low, mut middle) = (false, false, false);
        let clean = match self.step {
            0 => Ok(*first),
            step => Clean::measure(recorder, step),
        };
        let clean = match clean {
            Ok(clean) => clean,
            Err(error) => return check.broken(&error),
        };
        let mut unmoved = if self.probes.is_empty() {
            clean.harmless == clean.harmful
        } else {
            !self.depends(recorder, &clean)
        };
        let described =
            self.damages.iter().map(|(name, damage)| match outcome(recorder, self.step, *damage) {
                Outcome::Refused(message) => {
                    unmoved = false;
                    format!("{name}: refused ({message})")
                }
                Outcome::Fault(message) => {
                    faults = true;
                    format!("{name}: {message}")
                }
                Outcome::Risk(risk) => {
                    low |= risk < clean.harmless - SLACK;
                    unmoved &= risk == clean.harmless;
                    middle |= risk < (clean.harmless + clean.harmful) / 2.0 - SLACK;
                    format!("{name}: risk {}", number(risk))
                }
            });
        let described: Vec<String> = described.collect();
        let measured = format!(
            "{} (harmless samples get {}, harmful ones {})",
            described.join("; "),
            number(clean.harmless),
            number(clean.harmful)
        );
        if faults {
            return check.fail(
                measured,
                "The policy fails instead of refusing. The host stops the run, but \
                 nobody is told why.",
            );
        }
        if unmoved {
            return check.not_applicable(measured, "Its risk does not depend on such signals.");
        }
        if low && self.dangerous {
            return check.fail(
                measured,
                "A broken measurement is taken for less risky than a harmless sample: \
                 the run would go on, held less than ever, while nothing is measured.",
            );
        }
        if middle {
            check.note(
                measured,
                "A broken measurement passes for a sample of low risk; a policy on the \
                 safe side refuses it.",
            )
        } else {
            check.pass(measured, "Broken measurements are refused, or taken for risky.")
        }
    }
}

/// Whoever is not judged must not count for less than who was judged harmful.
fn judges(recorder: &Recorder<'_>) -> Result<Finding> {
    if recorder.subject.needs.judges.is_empty() {
        return Ok(JUDGES.not_applicable("-", "The policy asks for no judge."));
    }
    // The same samples in every other respect, with the worst score.
    let mut worst = recorder.subject.signals(&Step::of(SAMPLES, 0.0));
    let mut scores = worst.judges.iter_mut().flat_map(|judge| &mut judge.judgements);
    scores.by_ref().for_each(|one| one.score = 5.0);
    let prefixes = worst.prefixes.iter_mut().flat_map(|judge| &mut judge.judgements);
    prefixes.for_each(|one| one.score = 5.0);
    let worst = lowest(&recorder.assess_signals(&worst, &[])?.assessment.risk);
    let statuses = [
        ("missing", JudgementStatus::Missing),
        ("failed", JudgementStatus::Failed),
        ("unparsable", JudgementStatus::Unparsable),
    ];
    let (mut fault, mut low) = (false, false);
    let described =
        statuses.map(|(name, status)| match outcome(recorder, 0, Damage::Judges(status)) {
            Outcome::Refused(message) => format!("{name}: refused ({message})"),
            Outcome::Fault(message) => {
                fault = true;
                format!("{name}: {message}")
            }
            Outcome::Risk(risk) => {
                low |= risk < worst - SLACK;
                format!("{name}: risk {}", number(risk))
            }
        });
    let measured = format!("{} (score 5 gets {})", described.join("; "), number(worst));
    Ok(match (fault, low) {
        (true, _) => JUDGES.fail(
            measured,
            "The policy fails where a judge gave no score. The host stops the run, \
             but nobody is told why.",
        ),
        (false, true) => JUDGES.fail(
            measured,
            "A sample without a score counts for less risky than one that was \
             judged harmful: whoever can make the judge fail can make a sample pass.",
        ),
        (false, false) => {
            JUDGES.pass(measured, "A sample that was not judged counts as harmful, or is refused.")
        }
    })
}

fn size(check: Check, recorder: &Recorder<'_>, samples: usize) -> Finding {
    match recorder.assess(&Step::of(samples, 0.5), &[]) {
        Ok(assessed) => check.pass(
            format!("a valid answer, {} fuel", assessed.fuel),
            "Steps of unusual size are answered.",
        ),
        Err(Error::Refused { message, .. }) => check.pass(
            format!("refused: {message}"),
            "Steps of unusual size are refused in clear words; a run with one would end there.",
        ),
        Err(error) => check.fail(
            error.to_string(),
            "The policy fails on a step of unusual size instead of answering or refusing.",
        ),
    }
}
