//! Fuel and memory, and how they grow with the step.

use super::{
    SAMPLES,
    finding::{Check, Finding, Group},
    observed::Recorder,
};
use crate::synthetic::Step;
use host_sandbox::Error;

const FUEL: Check = Check::new("fuel", Group::Cost, "Fuel of a step");
const GROWTH: Check = Check::new("fuel-growth", Group::Cost, "Fuel by batch size");
const MEMORY: Check = Check::new("memory", Group::Cost, "Memory");

/// Steps of other samples each, for the median and the maximum.
const STEPS: u64 = 40;
/// Exponent of the batch size above which a larger step is dearer than it should be.
const STEEP: f64 = 1.3;

pub(super) fn checks(recorder: &Recorder<'_>) -> Vec<Finding> {
    vec![fuel(recorder), growth(recorder)]
}

fn fuel(recorder: &Recorder<'_>) -> Finding {
    let mut fuel = Vec::new();
    for number in 0..STEPS {
        let level = number as f64 / (STEPS - 1) as f64;
        let mut step = Step::of(SAMPLES, level);
        for row in &mut step.rows {
            row.key += number * SAMPLES as u64;
        }
        match recorder.assess(&step, &[]) {
            Ok(assessed) => fuel.push(assessed.fuel),
            Err(error) => return FUEL.broken(&error),
        }
    }
    fuel.sort_unstable();
    let (median, most) = (fuel[fuel.len() / 2], fuel[fuel.len() - 1]);
    let allowed = recorder.subject.policy.limits().fuel_per_call;
    let share = 100.0 * most as f64 / allowed as f64;
    let measured =
        format!("{SAMPLES} samples: median {median}, at most {most} ({share:.3}% of the limit)");
    if most > allowed / 2 {
        FUEL.note(
            measured,
            "An ordinary step takes more than half of the fuel limit: a larger one \
             may end the run.",
        )
    } else {
        FUEL.pass(measured, "An ordinary step stays far from the fuel limit.")
    }
}

fn growth(recorder: &Recorder<'_>) -> Finding {
    let mut points = Vec::new();
    let mut refusal = None;
    for samples in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
        match recorder.assess(&Step::of(samples, 0.5), &[]) {
            Ok(assessed) => points.push((samples, assessed.fuel)),
            Err(error @ Error::Limit { .. }) => {
                return GROWTH.fail(
                    format!("{samples} samples: {error}"),
                    "A run with steps of this size would be stopped by a limit.",
                );
            }
            Err(Error::Refused { message, .. }) => {
                refusal.get_or_insert(format!("; {samples} samples are refused: {message}"));
            }
            Err(error) => return GROWTH.broken(&error),
        }
    }
    let refusal = refusal.unwrap_or_default();
    let Some(slope) = slope(&points) else {
        return GROWTH.note(
            format!("too few batch sizes are answered{refusal}"),
            "How its cost grows could not be measured.",
        );
    };
    let ends = [points.first(), points.last()].into_iter().flatten();
    let ends: Vec<String> = ends.map(|(samples, fuel)| format!("{samples}: {fuel}")).collect();
    let measured = format!(
        "fuel grows with batch size to the power {slope:.2} ({}){refusal}",
        ends.join(", ")
    );
    if slope > STEEP {
        GROWTH.note(
            measured,
            "Twice the samples cost more than twice the work, so large steps may \
             meet the fuel limit.",
        )
    } else {
        GROWTH.pass(measured, "Larger steps cost in proportion, or less.")
    }
}

/// Of the larger half of the batch sizes, where constant costs no longer hide it: the
/// least-squares slope of ln fuel over ln samples.
fn slope(points: &[(usize, u64)]) -> Option<f64> {
    let larger = &points[points.len() / 2..];
    if larger.len() < 2 {
        return None;
    }
    let logs =
        larger.iter().map(|(samples, fuel)| ((*samples as f64).ln(), (*fuel as f64).max(1.0).ln()));
    let logs: Vec<(f64, f64)> = logs.collect();
    let n = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let covariance: f64 = logs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let variance: f64 = logs.iter().map(|p| (p.0 - x).powi(2)).sum();
    Some(covariance / variance)
}

/// After all else, since it is the most that any call took.
pub(super) fn memory(recorder: &Recorder<'_>) -> Vec<Finding> {
    let seen = recorder.seen();
    let allowed = recorder.subject.policy.limits().memory_bytes;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let measured = format!(
        "at most {:.1} MiB in {} assessments ({:.0} MiB are allowed)",
        mib(seen.memory_bytes),
        seen.assessments,
        mib(allowed)
    );
    let finding = if seen.memory_bytes > allowed / 2 {
        MEMORY.note(
            measured,
            "It came within half of the memory limit; a larger model or step may end the run.",
        )
    } else {
        MEMORY.pass(measured, "It stays far from the memory limit.")
    };
    vec![finding]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fuel: impl Fn(f64) -> f64) -> f64 {
        let sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256];
        let points = sizes.map(|n| (n, fuel(n as f64) as u64));
        slope(&points).unwrap_or(f64::NAN)
    }

    #[test]
    fn the_slope_is_the_exponent_however_large_the_constant_part() {
        assert!((of(|n| 100.0 * n) - 1.0).abs() < 0.01);
        assert!(of(|n| 100_000.0 + 100.0 * n) < 1.0);
        assert!(of(|n| 1000.0 + 50.0 * n * n) > 1.9);
        assert_eq!(slope(&[(1, 5)]), None);
    }
}
