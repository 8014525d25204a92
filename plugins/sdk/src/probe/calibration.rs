//! Fitting the probe: one classifier per layer, the best layer kept.

use crate::bindings::{Activations, Calibration, Candidate, Examples, Metric, RunInfo, Split};
use crate::hinge;
use crate::matrix::Matrix;
use crate::metrics::{auprc, auroc, mean_log_loss, tpr_at_fpr};
use crate::platt::Platt;
use crate::standardizer::Standardizer;

use super::classifier::Classifier;
use super::parameters::Fitted;
use super::settings::{Method, Settings};

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
    let activations = checked(run, examples)?;
    let mut candidates = Vec::new();
    let mut best: Option<Trial> = None;
    for (index, layer) in activations.tap.layers.iter().enumerate() {
        let splits = Splits::standardised(examples, activations, index)?;
        for method in Method::ALL {
            if method != settings.method && !settings.compare {
                continue;
            }
            let trial = Trial::fit(settings, run, &splits, method, *layer);
            candidates.push(trial.candidate());
            let better = best.as_ref().is_none_or(|best| trial.beats(best));
            if method == settings.method && better {
                best = Some(trial);
            }
        }
    }
    let mut best = best.ok_or("the activations for calibration hold no layer")?;
    let rows = usual_risk(settings, &best.fitted, examples)?;
    best.fitted.usual = rows.usual;
    for candidate in &mut candidates {
        candidate.chosen = candidate.layer == Some(best.fitted.layer)
            && candidate.name == best.fitted.method.name();
    }
    Ok(Calibration {
        parameters: best.fitted.to_bytes(),
        needs: settings.needs_of(vec![best.fitted.layer]),
        candidates,
        summary: best.summary(run) + &rows.summary(),
    })
}

/// What the rows of the run say.
struct Rows {
    count: usize,
    median: f64,
    usual: f64,
}

impl Rows {
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

fn usual_risk(settings: &Settings, fitted: &Fitted, examples: &Examples) -> Result<Rows, String> {
    let mut risks = Vec::new();
    if settings.calibration_rows > 0 {
        let rows = examples
            .row_activations
            .first()
            .ok_or("calibration needs the activations of rows of the run, there are none")?;
        let index = rows.layer_index(fitted.layer)?;
        for row in 0..rows.samples as usize {
            risks.push(fitted.risk(rows, row, index)?);
        }
    }
    let median = hinge::median(risks.clone()).unwrap_or_default();
    Ok(Rows { count: risks.len(), median, usual: hinge::usual(&risks) })
}

/// The one tap, if its shape is that of the examples and the run.
fn checked<'a>(run: &RunInfo, examples: &'a Examples) -> Result<&'a Activations, String> {
    let activations =
        examples.activations.first().ok_or("calibration needs activations, there are none")?;
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

/// The rows of one split, and which of them are harmful.
struct Labelled {
    data: Matrix,
    harmful: Vec<bool>,
}

impl Labelled {
    fn of(
        examples: &Examples,
        activations: &Activations,
        layer_index: usize,
        split: Split,
    ) -> Result<Self, String> {
        let mut data = Matrix::new(activations.hidden as usize);
        let mut harmful = Vec::new();
        for (i, example) in examples.examples.iter().enumerate() {
            if example.split == split {
                data.push(activations.row(i, layer_index)?)?;
                harmful.push(example.harmful);
            }
        }
        Ok(Self { data, harmful })
    }

    /// # Errors
    /// If a class is missing.
    fn with_both_classes(self, name: &str) -> Result<Self, String> {
        for (class, what) in [(true, "harmful"), (false, "harmless")] {
            if !self.harmful.contains(&class) {
                return Err(format!(
                    "the {name} split has no {what} example: calibration needs both kinds"
                ));
            }
        }
        Ok(self)
    }

    /// Of harmful ones.
    fn share(&self) -> f64 {
        let harmful = self.harmful.iter().filter(|harmful| **harmful).count();
        harmful as f64 / self.harmful.len().max(1) as f64
    }

    fn logits(&self, classifier: &Classifier) -> Vec<f64> {
        self.data.rows().map(|row| classifier.logit(row)).collect()
    }
}

/// The three splits at one layer, standardised with the statistics of training.
struct Splits {
    standardizer: Standardizer,
    training: Labelled,
    validation: Labelled,
    test: Labelled,
}

impl Splits {
    fn standardised(
        examples: &Examples,
        activations: &Activations,
        layer_index: usize,
    ) -> Result<Self, String> {
        let split = |split| Labelled::of(examples, activations, layer_index, split);
        let mut training = split(Split::Training)?.with_both_classes("training")?;
        let mut validation = split(Split::Validation)?.with_both_classes("validation")?;
        let mut test = split(Split::Test)?;
        let standardizer = Standardizer::fit(&training.data);
        for labelled in [&mut training, &mut validation, &mut test] {
            standardizer.apply_all(&mut labelled.data);
        }
        Ok(Self { standardizer, training, validation, test })
    }
}

/// One method on one layer, measured.
struct Trial {
    fitted: Fitted,
    metrics: Vec<Metric>,
    validation_auroc: f64,
    validation_loss: f64,
}

impl Trial {
    fn fit(
        settings: &Settings,
        run: &RunInfo,
        splits: &Splits,
        method: Method,
        layer: u32,
    ) -> Self {
        let training = &splits.training;
        let classifier =
            Classifier::fit(method, &training.data, &training.harmful, settings.l2, run.seed);
        let validation = &splits.validation;
        // The classifier is overconfident on what it was fitted on, so the
        // probabilities are calibrated on the validation split.
        let platt = Platt::fit(&validation.logits(&classifier), &validation.harmful);
        let mut metrics = Vec::new();
        let validation_loss = measure("validation", validation, &classifier, platt, &mut metrics);
        measure("test", &splits.test, &classifier, platt, &mut metrics);
        let validation_auroc = metrics.first().map_or(0.0, |metric| metric.value);
        let fitted = Fitted {
            method,
            place: settings.position,
            layer,
            standardizer: splits.standardizer.clone(),
            classifier,
            platt,
            share: validation.share(),
            usual: 0.0,
        };
        Self { fitted, metrics, validation_auroc, validation_loss }
    }

    /// Higher AUROC, then lower log loss; between equals the shallower layer, which
    /// came first and costs less to read.
    fn beats(&self, best: &Self) -> bool {
        self.validation_auroc > best.validation_auroc
            || (self.validation_auroc == best.validation_auroc
                && self.validation_loss < best.validation_loss)
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            name: self.fitted.method.name().to_string(),
            layer: Some(self.fitted.layer),
            metrics: self.metrics.clone(),
            chosen: false,
        }
    }

    fn summary(&self, run: &RunInfo) -> String {
        let candidate = self.candidate();
        let mut text = format!(
            "{} on layer {} of {}: AUROC {:.3} on the validation split",
            candidate.name, self.fitted.layer, run.layers, self.validation_auroc
        );
        let test = (candidate.metric("test.auroc"), candidate.metric("test.tpr_at_1_fpr"));
        if let (Some(auroc), Some(rate)) = test {
            text += &format!(
                ", {auroc:.3} on the test split, where it finds {:.1}% of the harmful prompts at 1% false alarms",
                100.0 * rate
            );
        }
        text
    }
}

/// Adds the metrics of a split (none if it lacks a class) and returns its log loss.
fn measure(
    split: &str,
    labelled: &Labelled,
    classifier: &Classifier,
    platt: Platt,
    metrics: &mut Vec<Metric>,
) -> f64 {
    let scores = labelled.logits(classifier);
    let labels = &labelled.harmful;
    let logits: Vec<f64> = scores.iter().map(|s| platt.slope * s + platt.offset).collect();
    let loss = mean_log_loss(&logits, labels);
    let values = [
        ("auroc", auroc(&scores, labels)),
        ("auprc", auprc(&scores, labels)),
        ("tpr_at_1_fpr", tpr_at_fpr(&scores, labels, 0.01)),
        ("log_loss", (!labels.is_empty()).then_some(loss)),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            metrics.push(Metric::new(format!("{split}.{name}"), value));
        }
    }
    loss
}
