#![allow(clippy::unwrap_used)]

mod assessment;
mod calibration;

use risk_policy::adaptive::{Adaptive, Aggregation, Mode};
use risk_policy::fixtures;
use risk_policy::platt::Platt;
use risk_policy::prelude::*;
use risk_policy::random::Random;

use super::*;
use risk_policy::logistic::Linear;
use risk_policy::probe::{Classifier, Method, Place, Reading};
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
    Examples {
        examples: list,
        activations: vec![activations],
        judges: Vec::new(),
        row_activations: Vec::new(),
        row_judges: Vec::new(),
    }
}

/// The defaults but for the probe.
fn probing(probe: probe::Settings) -> Settings {
    Settings { probe, ..Settings::default() }
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
        readings: vec![Reading {
            position: Position::LastPromptToken,
            layer: 2,
            standardizer: Standardizer { mean: vec![0.0; HIDDEN], scale: vec![1.0; HIDDEN] },
            classifier: Classifier::Linear(Linear { weights, bias: 0.0 }),
            platt: Platt { slope: 1.0, offset: 0.0 },
        }],
        share: 0.5,
        usual: 0.0,
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
