#![allow(clippy::unwrap_used)]

use risk_policy::fixtures;
use risk_policy::platt::Platt;
use risk_policy::prelude::*;
use risk_policy::random::Random;

use super::*;
use crate::classifier::Classifier;
use crate::settings::{Method, Place};
use risk_policy::logistic::Linear;
use risk_policy::standardizer::Standardizer;

const HIDDEN: usize = 8;

/// 300 examples, a fifth each for validation and test. `signal` per layer is how
/// far apart the classes are in two of the units; one unit has a huge offset, as in
/// real models.
fn examples(layers: &[u32], signal: &[f64], seed: u64) -> Examples {
    let mut random = Random::new(seed);
    let (mut list, mut values) = (Vec::new(), Vec::new());
    for i in 0..300u32 {
        let harmful = i % 3 == 0;
        let split = match i % 5 {
            0 => Split::Validation,
            1 => Split::Test,
            _ => Split::Training,
        };
        list.push(Example { harmful, split });
        let side = if harmful { 1.0 } else { -1.0 };
        for strength in signal {
            for unit in 0..HIDDEN {
                let base = random.normal() + if unit == 2 { 720.0 } else { 0.0 };
                let shift = if unit < 2 { side * strength } else { 0.0 };
                values.push((base + shift) as f32);
            }
        }
    }
    let tap = Tap {
        source: Source::Reference,
        position: Position::LastPromptToken,
        layers: layers.to_vec(),
    };
    let activations = Activations {
        tap,
        samples: 300,
        layers: layers.len() as u32,
        hidden: HIDDEN as u32,
        values,
    };
    Examples { examples: list, activations: vec![activations], judges: Vec::new() }
}

fn metric(calibration: &Calibration, name: &str, layer: u32, metric: &str) -> f64 {
    let candidate =
        calibration.candidates.iter().find(|c| c.name == name && c.layer == Some(layer)).unwrap();
    candidate.metric(metric).unwrap()
}

fn step(layers: Vec<u32>, values: Vec<f32>) -> Signals {
    let samples = (values.len() / HIDDEN / layers.len()) as u32;
    let mut signals = fixtures::signals(0, samples);
    signals.activations.push(Activations {
        samples,
        layers: layers.len() as u32,
        hidden: HIDDEN as u32,
        values,
        tap: Tap { source: Source::Reference, position: Position::LastPromptToken, layers },
    });
    signals
}

fn assess(
    settings: &Settings,
    parameters: &[u8],
    state: &[u8],
    signals: &Signals,
) -> Result<Assessment, String> {
    let run = fixtures::run(signals.samples.len() as u32);
    Probe::assess(&Call { settings, run: &run, parameters, state, signals })
}

/// A probe on layer 2 whose logit is the first unit, so that risks can be dialled.
fn dial() -> Fitted {
    let mut weights = vec![0.0; HIDDEN];
    weights[0] = 1.0;
    Fitted {
        method: Method::Logistic,
        place: Place::LastPromptToken,
        layer: 2,
        standardizer: Standardizer { mean: vec![0.0; HIDDEN], scale: vec![1.0; HIDDEN] },
        classifier: Classifier::Linear(Linear { weights, bias: 0.0 }),
        platt: Platt { slope: 1.0, offset: 0.0 },
    }
}

/// Activations at which [`dial`] gives these risks.
fn dialled(risks: &[f64]) -> Signals {
    let mut values = Vec::new();
    for risk in risks {
        let mut row = [0.0f32; HIDDEN];
        row[0] = (risk / (1.0 - risk)).ln().clamp(-60.0, 60.0) as f32;
        values.extend(row);
    }
    step(vec![2], values)
}

fn close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() < 1e-4, "{got:?} is not {want:?}");
    }
}

#[test]
fn adaptive_golden_values() {
    let signals = dialled(&[0.5, 0.0, 1.0]);
    let a = assess(&Settings::default(), &dial().to_bytes(), &[], &signals).unwrap();
    close(&a.risk, &[0.5, 0.0, 1.0]);
    close(&a.regularization.kl_weight, &[0.5, 0.1, 0.9]);
    close(&a.regularization.task_weight, &[0.5, 0.9, 0.1]);
    assert_eq!(a.reasons.len(), 2);
    assert_eq!((a.reasons[1].sample, a.reasons[1].code.as_str()), (Some(2), "harmful-prompt"));
    assert!(a.state.is_empty());
    close(&[a.metrics[0].value, a.metrics[1].value, a.metrics[2].value], &[0.5, 1.0, 0.5]);
}

#[test]
fn published_code_golden_values() {
    let settings = Settings { mode: Mode::PublishedCode, ..Settings::default() };
    // Scores 1 to 5.
    let signals = dialled(&[0.0, 0.25, 0.5, 0.75, 1.0]);
    let a = assess(&settings, &dial().to_bytes(), &[], &signals).unwrap();
    close(&a.regularization.kl_weight, &[0.1, 0.1, 0.3333, 0.6667, 0.9]);
    close(&a.regularization.task_weight, &[0.9, 0.9, 0.6667, 0.3333, 0.1]);
}

#[test]
fn batch_aggregation_gives_every_sample_the_mean() {
    let settings = Settings { aggregation: Aggregation::Batch, ..Settings::default() };
    let a = assess(&settings, &dial().to_bytes(), &[], &dialled(&[0.2, 0.6])).unwrap();
    close(&a.risk, &[0.4, 0.4]);
    close(&a.regularization.kl_weight, &[0.42, 0.42]);
    assert_eq!(a.reasons.len(), 1, "reasons are about the sample's own risk");
}

#[test]
fn smoothing_goes_on_from_the_state() {
    let settings = Settings { smoothing: 0.5, ..Settings::default() };
    let first = assess(&settings, &dial().to_bytes(), &[], &dialled(&[0.2, 0.6])).unwrap();
    close(&first.risk, &[0.2, 0.6]);
    let next = assess(&settings, &dial().to_bytes(), &first.state, &dialled(&[0.8])).unwrap();
    close(&next.risk, &[0.6]);
    let error = assess(&settings, &dial().to_bytes(), b"?", &dialled(&[0.8])).unwrap_err();
    assert!(error.contains("state bytes"), "{error}");
}

#[test]
fn every_method_finds_the_signal_and_the_best_layer_is_kept() {
    for method in Method::ALL {
        let settings =
            Settings { method, layers: Some(vec![1, 3, 4]), compare: true, ..Settings::default() };
        let run = fixtures::run(1);
        let examples = examples(&[1, 3, 4], &[0.0, 2.5, 0.5], 7);
        let c = Probe::calibrate(&settings, &run, &examples).unwrap();
        assert_eq!(c.candidates.len(), 9);
        let chosen: Vec<_> = c.candidates.iter().filter(|c| c.chosen).collect();
        assert_eq!(chosen.len(), 1);
        assert_eq!((chosen[0].layer, chosen[0].name.as_str()), (Some(3), method.name()));
        assert_eq!(c.needs.taps[0].layers, [3]);
        assert!(c.needs.calibration);
        let name = method.name();
        assert!(metric(&c, name, 3, "test.auroc") > 0.99, "{}", c.summary);
        assert!(metric(&c, name, 3, "test.auprc") > 0.99);
        assert!(metric(&c, name, 3, "test.tpr_at_1_fpr") > 0.9);
        let noise = metric(&c, name, 1, "test.auroc");
        assert!((noise - 0.5).abs() < 0.2, "{name} {noise}");
        let weak = metric(&c, name, 4, "test.auroc");
        assert!(weak > 0.65 && weak < 0.95, "{name} {weak}");
        let again = Probe::calibrate(&settings, &run, &examples).unwrap();
        assert_eq!(again.parameters, c.parameters);
    }
}

#[test]
fn calibrated_risk_is_a_probability() {
    // Classes that overlap: among samples of risk about p, a share p is harmful.
    let settings = Settings { layers: Some(vec![1]), ..Settings::default() };
    let c = Probe::calibrate(&settings, &fixtures::run(1), &examples(&[1], &[0.5], 3)).unwrap();
    let fresh = examples(&[1], &[0.5], 4);
    let activations = &fresh.activations[0];
    let mut signals = step(vec![1], activations.values.clone());
    signals.activations[0].tap = activations.tap.clone();
    let a = assess(&settings, &c.parameters, &[], &signals).unwrap();
    let harmful = |keep: &dyn Fn(f64) -> bool| {
        let kept: Vec<_> =
            a.risk.iter().zip(&fresh.examples).filter(|(risk, _)| keep(**risk)).collect();
        let predicted = kept.iter().map(|(risk, _)| **risk).sum::<f64>() / kept.len() as f64;
        let share = kept.iter().filter(|(_, e)| e.harmful).count() as f64 / kept.len() as f64;
        (predicted, share)
    };
    for bounds in [(0.0, 1.0), (0.0, 0.25), (0.25, 1.0)] {
        let (predicted, share) = harmful(&|risk| risk >= bounds.0 && risk < bounds.1);
        assert!((predicted - share).abs() < 0.12, "{bounds:?}: {predicted} {share}");
    }
}

#[test]
fn what_was_reported_is_what_assessment_computes() {
    for method in Method::ALL {
        let settings = Settings { method, layers: Some(vec![3]), ..Settings::default() };
        let data = examples(&[3], &[1.0], 9);
        let c = Probe::calibrate(&settings, &fixtures::run(1), &data).unwrap();
        let a = assess(&settings, &c.parameters, &[], &step(vec![3], data.activations[0].values.clone()))
            .unwrap();
        let (mut risk, mut harmful) = (Vec::new(), Vec::new());
        for (r, e) in a.risk.iter().zip(&data.examples).filter(|(_, e)| e.split == Split::Test) {
            risk.push(*r);
            harmful.push(e.harmful);
        }
        let auroc = risk_policy::metrics::auroc(&risk, &harmful).unwrap();
        assert!((auroc - metric(&c, method.name(), 3, "test.auroc")).abs() < 1e-12);
    }
}

#[test]
fn the_test_split_never_decides() {
    let settings = Settings { layers: Some(vec![1, 2]), ..Settings::default() };
    let data = examples(&[1, 2], &[1.0, 0.9], 5);
    let c = Probe::calibrate(&settings, &fixtures::run(1), &data).unwrap();
    let mut flipped = data.clone();
    for example in flipped.examples.iter_mut().filter(|e| e.split == Split::Test) {
        example.harmful = !example.harmful;
    }
    let other = Probe::calibrate(&settings, &fixtures::run(1), &flipped).unwrap();
    assert_eq!(other.parameters, c.parameters);
    assert_ne!(other.candidates, c.candidates);
}

#[test]
fn without_a_test_split_there_are_only_validation_metrics() {
    let settings = Settings { layers: Some(vec![1]), ..Settings::default() };
    let mut data = examples(&[1], &[1.0], 5);
    for example in data.examples.iter_mut().filter(|e| e.split == Split::Test) {
        example.split = Split::Training;
    }
    let c = Probe::calibrate(&settings, &fixtures::run(1), &data).unwrap();
    assert!(c.candidates[0].metrics.iter().all(|m| m.name.starts_with("validation.")));
    assert!(!c.summary.contains("test split"));
}

#[test]
fn examples_that_cannot_be_fitted_are_refused() {
    let settings = Settings { layers: Some(vec![1]), ..Settings::default() };
    let refused = |change: &dyn Fn(&mut Examples)| {
        let mut data = examples(&[1], &[1.0], 5);
        change(&mut data);
        Probe::calibrate(&settings, &fixtures::run(1), &data).unwrap_err()
    };
    let error = refused(&|d| d.examples.iter_mut().for_each(|e| e.harmful = true));
    assert!(error.contains("training split has no harmless example"), "{error}");
    let error = refused(&|d| d.examples.iter_mut().for_each(|e| e.split = Split::Training));
    assert!(error.contains("validation split has no harmful example"), "{error}");
    let error = refused(&|d| d.activations.clear());
    assert!(error.contains("needs activations"), "{error}");
    let error = refused(&|d| d.activations[0].hidden = 4);
    assert!(error.contains("width 4, the model 8"), "{error}");
    let error = refused(&|d| d.activations[0].values[5] = f32::NAN);
    assert!(error.contains("not finite"), "{error}");
    let error = refused(&|d| d.examples.truncate(299));
    assert!(error.contains("300 examples, and 299"), "{error}");
}

#[test]
fn parameters_survive_their_bytes() {
    let run = fixtures::run(1);
    for method in Method::ALL {
        let settings = Settings { method, layers: Some(vec![3]), ..Settings::default() };
        let c = Probe::calibrate(&settings, &run, &examples(&[3], &[1.0], 9)).unwrap();
        let fitted = Fitted::from_bytes(&c.parameters, &run, &settings).unwrap();
        assert_eq!(fitted.to_bytes(), c.parameters);
    }
}

#[test]
fn parameters_that_do_not_fit_are_refused() {
    let bytes = dial().to_bytes();
    let signals = dialled(&[0.5]);
    let refused = |settings: Settings, bytes: &[u8]| {
        assess(&settings, bytes, &[], &signals).unwrap_err()
    };
    assert!(refused(Settings::default(), &[]).contains("calibrate it first"));
    assert!(refused(Settings::default(), b"anything").contains("not those of this policy"));
    assert!(refused(Settings::default(), &bytes[..40]).contains("damaged"));
    let mut damaged = bytes.clone();
    damaged[50] ^= 1;
    assert!(refused(Settings::default(), &damaged).contains("damaged"));
    let mut wide = dial();
    wide.standardizer.mean.push(0.0);
    assert!(refused(Settings::default(), &wide.to_bytes()).contains("width 9, this model has 8"));
    let mlp = Settings { method: Method::Mlp, ..Settings::default() };
    assert!(refused(mlp, &bytes).contains("method logistic, the settings say mlp"));
    let other = Settings { layers: Some(vec![1]), ..Settings::default() };
    assert!(refused(other, &bytes).contains("layer 2, which is not among"));
    let mean = Settings { position: Place::PromptMean, ..Settings::default() };
    assert!(refused(mean, &bytes).contains("position last-prompt-token"));
    let deep = Fitted { layer: 9, ..dial() }.to_bytes();
    assert!(refused(Settings::default(), &deep).contains("layers 0 to 4"));
}

#[test]
fn signals_that_cannot_be_read_are_refused_rather_than_called_harmless() {
    let settings = Settings::default();
    let bytes = dial().to_bytes();
    let refused = |signals: &Signals| assess(&settings, &bytes, &[], signals).unwrap_err();
    assert!(refused(&fixtures::signals(0, 1)).contains("needs the activations"));
    assert!(refused(&step(vec![3], vec![0.0; HIDDEN])).contains("layer 2"));
    let mut nan = dialled(&[0.5]);
    nan.activations[0].values[3] = f32::NAN;
    assert!(refused(&nan).contains("not finite"));
    let mut narrow = dialled(&[0.5]);
    narrow.activations[0].hidden = 4;
    assert!(refused(&narrow).contains("width 4"));
}

#[test]
fn needs_name_the_layers_of_the_settings() {
    let run = fixtures::run(1);
    let needs = Probe::needs(&Settings::default(), &run).unwrap();
    assert_eq!(needs.taps[0].layers, [1, 2, 3, 4]);
    assert_eq!(needs.taps[0].source, Source::Reference);
    let settings = Settings { b_min: 2.0, ..Settings::default() };
    assert!(Probe::needs(&settings, &run).unwrap_err().contains("`b_min`"));
}
