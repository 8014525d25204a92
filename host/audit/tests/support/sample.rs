//! Arguments and answers that are valid, to start from.

use host_contract::*;
use host_sandbox::Call;

/// Decoder blocks of the model.
pub const LAYERS: u32 = 30;

pub fn descriptor() -> Descriptor {
    Descriptor {
        name: "fixed".into(),
        version: "1.2.3".into(),
        summary: "Gives the same answers whatever it is asked.".into(),
        settings_schema: "{}".into(),
    }
}

pub fn run() -> RunInfo {
    RunInfo {
        layers: LAYERS,
        hidden: 4,
        vocabulary: 100,
        samples_per_step: 2,
        total_steps: 10,
        seed: 7,
        judges: vec!["critic".into(), "keywords".into()],
    }
}

pub fn tap(source: Source, layers: &[u32]) -> Tap {
    Tap { source, position: Position::LastPromptToken, layers: layers.to_vec() }
}

pub fn needs() -> Needs {
    Needs {
        taps: vec![tap(Source::Reference, &[8, 9, 10, 16])],
        judges: vec![JudgeNeed { judge: "critic".into(), prefix_words: None }],
        canary_every: Some(10),
        trial_scales: vec![0.5, 1.0],
        calibration: true,
        ..Needs::new()
    }
}

pub fn everything() -> Needs {
    Needs {
        actuators: Actuators::all(),
        steering: Some(SteeringNeed { vector: SteeringVector::Configured, layers: vec![3] }),
        ..needs()
    }
}

pub fn samples() -> Vec<Sample> {
    let sample =
        |id, answer_tokens| Sample { id, origin: Origin::Task, prompt_tokens: 5, answer_tokens };
    vec![sample(11, 3), sample(12, 2)]
}

pub fn signals() -> Signals {
    Signals {
        step: 12,
        learning_rate: 1e-4,
        samples: samples(),
        activations: vec![Activations {
            tap: needs().taps.remove(0),
            samples: 2,
            layers: 4,
            hidden: 4,
            values: vec![0.25; 32],
        }],
        ..Signals::default()
    }
}

pub fn regularization() -> Regularization {
    Regularization::weights(vec![0.9, 0.5], vec![0.1, 0.5])
}

pub fn assessment() -> Assessment {
    Assessment {
        risk: vec![0.0, 0.5],
        regularization: regularization(),
        reasons: vec![Reason {
            sample: Some(1),
            code: "high-risk".into(),
            message: "above 0.4".into(),
        }],
        metrics: vec![Metric { name: "risk.mean".into(), value: 0.25 }],
        state: vec![1, 2, 3],
    }
}

/// An assessment that uses every actuator.
pub fn full_assessment() -> Assessment {
    let clip = RatioClip {
        low: 0.1,
        high: 10.0,
        direction: -1.0,
        sequence: true,
        variance_penalty: 0.5,
        beyond: -0.1,
    };
    Assessment {
        regularization: Regularization {
            action: Action::RollBack,
            token_task_weight: Some(vec![1.0, 0.5, 0.1, 0.0, 10.0]),
            token_kl_weight: Some(vec![0.3; 5]),
            divergence: Divergence::LabelK2,
            learning_rate_scale: 0.5,
            gradient_clip: Some(1.0),
            ema: Some(Ema { decay: 0.9, in_path: true }),
            anchor: Some(Anchor { target: AnchorTarget::LastSwitch, strength: 1.0 }),
            alignment_share: Some(0.25),
            alignment_extra: Some(3),
            ratio_clip: Some(vec![clip; 2]),
            gradient_projection: true,
            adapter_projection: Some(0.35),
            adapter_projection_count: Some(10),
            anchor_weight: Some(1.0),
            alignment_complement: Some(0.5),
            layer_scale: Some(vec![0.5; LAYERS as usize]),
            steering: Some(Steering { coefficient: -1.5, project: true, reference: true }),
            ..regularization()
        },
        ..assessment()
    }
}

pub fn calibration() -> Calibration {
    let needs = Needs { taps: vec![tap(Source::Reference, &[9])], ..needs() };
    Calibration {
        parameters: vec![9; 20],
        needs,
        candidates: vec![Candidate {
            name: "logistic".into(),
            layer: Some(9),
            metrics: vec![Metric { name: "validation.auroc".into(), value: 0.97 }],
            chosen: true,
        }],
        summary: "Layer 9 it is.".into(),
    }
}

pub fn examples() -> Examples {
    let example = |harmful| Example { harmful, split: Split::Training };
    Examples {
        examples: vec![example(true), example(false)],
        activations: signals().activations,
        ..Examples::default()
    }
}

/// An assess call with the valid arguments.
pub fn call<'a>(run: &'a RunInfo, signals: &'a Signals, needs: &'a Needs) -> Call<'a> {
    Call { settings: "{}", run, parameters: &[], state: &[], signals, needs }
}
