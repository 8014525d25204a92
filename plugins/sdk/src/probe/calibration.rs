//! Fitting the probe: for each position one classifier per layer, the best layer kept.

use crate::bindings::{
    Activations, Calibration, Candidate, Examples, Metric, Position, RunInfo, Split,
};
use crate::hinge;
use crate::metrics::{auprc, auroc, mean_log_loss, tpr_at_fpr};
use crate::platt::Platt;

use super::classifier::Classifier;
use super::parameters::Fitted;
use super::reading::{Reading, at, name};
use super::settings::{Method, Settings};
use super::splits::{Labelled, Splits};

/// Fits, chooses on the validation split and reports on the test split. What comes back
/// needs what the probe needs: a policy adds its own.
///
/// # Errors
/// If the examples can't be fitted.
pub fn calibrate(
    settings: &Settings,
    run: &RunInfo,
    examples: &Examples,
) -> Result<Calibration, String> {
    settings.check()?;
    let positions = settings.position.positions();
    let mut candidates = Vec::new();
    let mut kept = Vec::new();
    for position in positions {
        kept.push(fit(settings, run, examples, *position, &mut candidates)?);
    }
    let places: Vec<_> = kept.iter().map(|trial| trial.place(settings, run)).collect();
    let mut summary = places.join(" and ");
    if positions.len() > 1 {
        candidates.push(largest(settings, &kept, examples));
        summary += ", the larger risk";
    }
    // The last one: of several positions what they come to together.
    let result = candidates.iter().rfind(|candidate| candidate.chosen);
    summary += &format!(": {}", result.map(figures).unwrap_or_default());
    let labels = labels(examples, Split::Validation);
    let share = labels.iter().filter(|harmful| **harmful).count() as f64 / labels.len() as f64;
    let readings = kept.into_iter().map(|trial| trial.reading).collect();
    let mut fitted = Fitted { method: settings.method, readings, share, usual: 0.0 };
    let rows = Rows::of(settings, &fitted, examples)?;
    fitted.usual = rows.usual;
    let taps = fitted.readings.iter().map(|reading| (reading.position, vec![reading.layer]));
    Ok(Calibration {
        parameters: fitted.to_bytes(),
        needs: settings.needs_of(taps),
        candidates,
        summary: summary + &rows.summary(),
    })
}

/// The best trial of a position; all of them are entered among the candidates.
fn fit(
    settings: &Settings,
    run: &RunInfo,
    examples: &Examples,
    position: Position,
    candidates: &mut Vec<Candidate>,
) -> Result<Trial, String> {
    let activations = checked(run, examples, position)?;
    let mut best: Option<(usize, Trial)> = None;
    for (index, layer) in activations.tap.layers.iter().enumerate() {
        let splits = Splits::standardised(examples, activations, index)?;
        for method in Method::ALL {
            if method != settings.method && !settings.compare {
                continue;
            }
            let trial = Trial::fit(settings, run, &splits, method, (position, *layer));
            let at = candidates.len();
            candidates.push(trial.candidate(settings));
            let better = best.as_ref().is_none_or(|(_, best)| trial.beats(best));
            if method == settings.method && better {
                best = Some((at, trial));
            }
        }
    }
    let (at, best) = best.ok_or("the activations for calibration hold no layer")?;
    candidates[at].chosen = true;
    Ok(best)
}

/// What the rows of the run say.
struct Rows {
    count: usize,
    median: f64,
    usual: f64,
}

impl Rows {
    fn of(settings: &Settings, fitted: &Fitted, examples: &Examples) -> Result<Self, String> {
        let mut risks = Vec::new();
        if settings.calibration_rows > 0 {
            let rows = &examples.row_activations;
            let count = rows.first().map_or(0, |rows| rows.samples as usize);
            let found = fitted.risks(rows, count);
            let found = found.map_err(|error| format!("{error}, of rows of the run"))?;
            risks.extend(found.iter().map(|risk| risk.probability));
        }
        let median = hinge::median(risks.clone()).unwrap_or_default();
        Ok(Self { count: risks.len(), median, usual: hinge::usual(&risks) })
    }

    fn summary(&self) -> String {
        if self.count == 0 {
            return String::new();
        }
        format!(
            "; of {} rows of the run the median risk is {:.3}, and up to {:.3} counts as harmless",
            self.count, self.median, self.usual
        )
    }
}

/// The activations at this position, if their shape is that of the examples and the run.
fn checked<'a>(
    run: &RunInfo,
    examples: &'a Examples,
    position: Position,
) -> Result<&'a Activations, String> {
    let activations = at(&examples.activations, position)?;
    if activations.samples as usize != examples.examples.len() {
        return Err(format!(
            "there are activations of {} examples, and {} examples",
            activations.samples,
            examples.examples.len()
        ));
    }
    if activations.hidden != run.hidden {
        return Err(format!(
            "the activations have width {}, the model {}",
            activations.hidden, run.hidden
        ));
    }
    Ok(activations)
}

/// One method on one layer, measured.
struct Trial {
    method: Method,
    reading: Reading,
    metrics: Vec<Metric>,
    validation_auroc: f64,
    validation_loss: f64,
    /// Calibrated, of the validation and the test split.
    log_odds: [Vec<f64>; 2],
}

impl Trial {
    fn fit(
        settings: &Settings,
        run: &RunInfo,
        splits: &Splits,
        method: Method,
        (position, layer): (Position, u32),
    ) -> Self {
        let training = &splits.training;
        let classifier =
            Classifier::fit(method, &training.data, &training.harmful, settings.l2, run.seed);
        let validation = &splits.validation;
        // The classifier is overconfident on what it was fitted on, so the
        // probabilities are calibrated on the validation split.
        let platt = Platt::fit(&validation.logits(&classifier), &validation.harmful);
        let mut metrics = Vec::new();
        let mut validation_loss = 0.0;
        let of_split = |(name, split): (&str, &Labelled)| {
            let scores = split.logits(&classifier);
            let log_odds: Vec<f64> =
                scores.iter().map(|s| platt.slope * s + platt.offset).collect();
            let loss = measure(name, &scores, &log_odds, &split.harmful, &mut metrics);
            if name == VALIDATION {
                validation_loss = loss;
            }
            log_odds
        };
        let log_odds = [(VALIDATION, validation), (TEST, &splits.test)].map(of_split);
        let validation_auroc = metrics.first().map_or(0.0, |metric| metric.value);
        let standardizer = splits.standardizer.clone();
        let reading = Reading { position, layer, standardizer, classifier, platt };
        Self { method, reading, metrics, validation_auroc, validation_loss, log_odds }
    }

    /// Higher AUROC, then lower log loss; between equals the shallower layer, which
    /// came first and costs less to read.
    fn beats(&self, best: &Self) -> bool {
        self.validation_auroc > best.validation_auroc
            || (self.validation_auroc == best.validation_auroc
                && self.validation_loss < best.validation_loss)
    }

    /// Named after its position too where there are several.
    fn candidate(&self, settings: &Settings) -> Candidate {
        Candidate {
            name: format!("{}{}", self.method.name(), self.at(settings)),
            layer: Some(self.reading.layer),
            metrics: self.metrics.clone(),
            chosen: false,
        }
    }

    fn place(&self, settings: &Settings, run: &RunInfo) -> String {
        let (method, layer) = (self.method.name(), self.reading.layer);
        format!("{method} on layer {layer} of {}{}", run.layers, self.at(settings))
    }

    fn at(&self, settings: &Settings) -> String {
        match settings.position.positions() {
            [_] => String::new(),
            _ => format!(" at {}", name(self.reading.position)),
        }
    }
}

/// Several positions as one probe.
fn largest(settings: &Settings, kept: &[Trial], examples: &Examples) -> Candidate {
    let mut metrics = Vec::new();
    let splits = [(VALIDATION, Split::Validation), (TEST, Split::Test)];
    for (index, (name, split)) in splits.into_iter().enumerate() {
        let labels = labels(examples, split);
        let of = |sample: usize| kept.iter().map(move |trial| trial.log_odds[index][sample]);
        let log_odds = (0..labels.len()).map(|sample| of(sample).fold(f64::NEG_INFINITY, f64::max));
        let log_odds: Vec<f64> = log_odds.collect();
        measure(name, &log_odds, &log_odds, &labels, &mut metrics);
    }
    let name = format!("{}, the larger risk", settings.method.name());
    Candidate { name, layer: None, metrics, chosen: true }
}

fn labels(examples: &Examples, split: Split) -> Vec<bool> {
    let of_split = examples.examples.iter().filter(|example| example.split == split);
    of_split.map(|example| example.harmful).collect()
}

fn figures(candidate: &Candidate) -> String {
    let of = |metric: &str| candidate.metric(metric);
    let validation = of("validation.auroc").unwrap_or_default();
    let mut text = format!("AUROC {validation:.3} on the validation split");
    if let (Some(auroc), Some(rate)) = (of("test.auroc"), of("test.tpr_at_1_fpr")) {
        text += &format!(
            ", {auroc:.3} on the test split, where it finds {:.1}% of the harmful prompts at 1% false alarms",
            100.0 * rate
        );
    }
    text
}

const VALIDATION: &str = "validation";
const TEST: &str = "test";

/// Adds the metrics of a split (none if it lacks a class) and returns its log loss.
fn measure(
    split: &str,
    scores: &[f64],
    log_odds: &[f64],
    labels: &[bool],
    metrics: &mut Vec<Metric>,
) -> f64 {
    let loss = mean_log_loss(log_odds, labels);
    let values = [
        ("auroc", auroc(scores, labels)),
        ("auprc", auprc(scores, labels)),
        ("tpr_at_1_fpr", tpr_at_fpr(scores, labels, 0.01)),
        ("log_loss", (!labels.is_empty()).then_some(loss)),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            metrics.push(Metric::new(format!("{split}.{name}"), value));
        }
    }
    loss
}
