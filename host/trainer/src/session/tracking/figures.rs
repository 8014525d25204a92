//! Records as numbers by name: `train/` and the field of metrics.jsonl, `eval/` and the metric of
//! report.json.

use host_eval::evaluation::Evaluation;
use host_eval::report::{Report, Trained};
use host_eval::selection::EvaluationRecord;
use serde::Serialize;
use serde_json::Value;

use crate::records::StepRecord;

/// All numbers of a step that are finite.
pub fn of_step(record: &StepRecord) -> Vec<(String, f64)> {
    let mut figures = numbers("train", record);
    figures.retain(|(name, _)| name != "train/step");
    figures
}

/// Shares, means and counts of an evaluation.
pub fn of_evaluation(evaluation: &Evaluation) -> Vec<(String, f64)> {
    numbers("eval", evaluation)
}

/// Of an evaluation between two steps.
pub fn of_evaluation_during(record: &EvaluationRecord) -> Vec<(String, f64)> {
    let mut figures = numbers("during", record);
    figures.retain(|(name, _)| name != "during/step");
    figures
}

/// What a report says of each of its models.
pub fn of(report: &Report) -> Vec<(String, f64)> {
    let evaluated =
        [("before", &report.before), ("plain", &report.baseline_after), ("after", &report.after)];
    let mut figures = Vec::new();
    for (name, evaluation) in evaluated {
        figures.extend(evaluation.iter().flat_map(|one| numbers(name, one)));
    }
    let trained = [("plain", &report.baseline), ("after", &report.trained)];
    for (name, trained) in trained {
        let Some(Trained { totals, total }) = trained else { continue };
        let counts = [
            ("steps", totals.steps as f64),
            ("planned_steps", *total as f64),
            ("train_seconds", totals.seconds),
            ("policy_faults", totals.policy_faults as f64),
            ("not_applied", totals.not_applied as f64),
            ("skipped", totals.skipped as f64),
        ];
        figures.extend(counts.map(|(figure, value)| (format!("{name}/{figure}"), value)));
    }
    figures
}

fn numbers(prefix: &str, record: &impl Serialize) -> Vec<(String, f64)> {
    let mut numbers = Vec::new();
    // What has no JSON has no line in the run's files either.
    if let Ok(value) = serde_json::to_value(record) {
        add(prefix, &value, &mut numbers);
    }
    numbers
}

fn add(name: &str, value: &Value, numbers: &mut Vec<(String, f64)>) {
    match value {
        Value::Number(number) => numbers.extend(number.as_f64().map(|value| (name.into(), value))),
        Value::Object(fields) => {
            // A rate and a mean are one number; their intervals are in the report.
            if let Some(whole) = fields.get("share").or(fields.get("mean")) {
                return add(name, whole, numbers);
            }
            fields
                .iter()
                .for_each(|(field, value)| add(&format!("{name}/{field}"), value, numbers));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use host_eval::measure::{Mean, Rate};

    use super::*;

    #[test]
    fn every_number_of_a_record_has_the_name_of_its_field() {
        let mut record = StepRecord::new(3, 9, &[], None);
        (record.loss, record.kl) = (0.5, Some(0.25));
        let figures = of_step(&record);
        let of = |name: &str| figures.iter().find(|(known, _)| known == name).map(|(_, v)| *v);
        assert_eq!(
            (of("train/loss"), of("train/kl"), of("train/risk")),
            (Some(0.5), Some(0.25), None)
        );
        assert_eq!((of("train/step"), of("train/policy_faults")), (None, Some(0.0)));
    }

    #[test]
    fn rates_and_means_are_one_number_each() {
        let evaluation = Evaluation {
            refusal: Some(Rate { hits: 1, total: 4 }),
            kl: Some(Mean { mean: 0.5, interval: None, prompts: 3 }),
            ..Evaluation::default()
        };
        let figures = of_evaluation(&evaluation);
        assert!(figures.contains(&("eval/refusal".into(), 0.25)), "{figures:?}");
        assert!(figures.contains(&("eval/kl".into(), 0.5)), "{figures:?}");
        assert!(!figures.iter().any(|(name, _)| name.contains("interval")), "{figures:?}");
    }
}
