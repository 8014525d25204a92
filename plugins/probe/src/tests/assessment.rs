//! From parameters and signals to weights.

use super::*;

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
fn clamp_golden_values() {
    let settings = Settings {
        adaptive: Adaptive { mode: Mode::Clamp, ..Adaptive::default() },
        ..Settings::default()
    };
    // Scores 1 to 5.
    let signals = dialled(&[0.0, 0.25, 0.5, 0.75, 1.0]);
    let a = assess(&settings, &dial().to_bytes(), &[], &signals).unwrap();
    close(&a.regularization.kl_weight, &[0.1, 0.1, 0.3333, 0.6667, 0.9]);
    close(&a.regularization.task_weight, &[0.9, 0.9, 0.6667, 0.3333, 0.1]);
}

#[test]
fn batch_aggregation_gives_every_sample_the_mean() {
    let settings = Settings {
        adaptive: Adaptive { aggregation: Aggregation::Batch, ..Adaptive::default() },
        ..Settings::default()
    };
    let a = assess(&settings, &dial().to_bytes(), &[], &dialled(&[0.2, 0.6])).unwrap();
    close(&a.risk, &[0.4, 0.4]);
    close(&a.regularization.kl_weight, &[0.42, 0.42]);
    assert_eq!(a.reasons.len(), 1, "reasons are about the sample's own risk");
}

#[test]
fn smoothing_goes_on_from_the_state() {
    let settings = Settings {
        adaptive: Adaptive { smoothing: 0.5, ..Adaptive::default() },
        ..Settings::default()
    };
    let first = assess(&settings, &dial().to_bytes(), &[], &dialled(&[0.2, 0.6])).unwrap();
    close(&first.risk, &[0.2, 0.6]);
    let next = assess(&settings, &dial().to_bytes(), &first.state, &dialled(&[0.8])).unwrap();
    close(&next.risk, &[0.6]);
    let error = assess(&settings, &dial().to_bytes(), b"?", &dialled(&[0.8])).unwrap_err();
    assert!(error.contains("state bytes"), "{error}");
}

#[test]
fn parameters_that_do_not_fit_are_refused() {
    let bytes = dial().to_bytes();
    let signals = dialled(&[0.5]);
    let refused =
        |settings: Settings, bytes: &[u8]| assess(&settings, bytes, &[], &signals).unwrap_err();
    assert!(refused(Settings::default(), &[]).contains("calibrate it first"));
    assert!(refused(Settings::default(), b"anything").contains("not those of this policy"));
    assert!(refused(Settings::default(), &bytes[..40]).contains("damaged"));
    let mut damaged = bytes.clone();
    damaged[50] ^= 1;
    assert!(refused(Settings::default(), &damaged).contains("damaged"));
    let mut wide = dial();
    wide.readings[0].standardizer.mean.push(0.0);
    assert!(refused(Settings::default(), &wide.to_bytes()).contains("width 9, this model has 8"));
    let mlp = probing(probe::Settings { method: Method::Mlp, ..probe::Settings::default() });
    assert!(refused(mlp, &bytes).contains("method logistic, the settings say mlp"));
    let other = probing(probe::Settings { layers: Some(vec![1]), ..probe::Settings::default() });
    assert!(refused(other, &bytes).contains("layer 2, which is not among"));
    let mean =
        probing(probe::Settings { position: Place::PromptMean, ..probe::Settings::default() });
    assert!(refused(mean, &bytes).contains("position last-prompt-token"));
    let mut deep = dial();
    deep.readings[0].layer = 9;
    assert!(refused(Settings::default(), &deep.to_bytes()).contains("layers 0 to 4"));
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
    for far in [-1e30, 1e30] {
        let mut huge = dialled(&[0.5]);
        huge.activations[0].values[0] = far;
        assert!(refused(&huge).contains("too large"));
    }
    let mut narrow = dialled(&[0.5]);
    narrow.activations[0].hidden = 4;
    assert!(refused(&narrow).contains("width 4"));
}

#[test]
fn a_hinge_frees_what_is_usual_and_a_prior_counts_for_the_share_of_harm() {
    let shaped = |text: &str, usual: f64| {
        let settings = risk_policy::settings::parse(text, Probe::SETTINGS_SCHEMA).unwrap();
        let bytes = Fitted { usual, ..dial() }.to_bytes();
        assess(&settings, &bytes, &[], &dialled(&[0.3, 0.7, 0.9])).unwrap().regularization
    };
    let hinged = shaped(r#"{"hinge": 0.4, "b_min": 0, "b_max": 1}"#, 0.0);
    close(&hinged.kl_weight, &[0.0, 0.5, 0.83333]);
    close(&hinged.task_weight, &[1.0, 0.5, 0.16667]);
    // The higher of the two thresholds counts.
    let usual = shaped(r#"{"hinge": 0.2, "b_min": 0, "b_max": 1}"#, 0.4);
    close(&usual.kl_weight, &hinged.kl_weight);
    let rare = shaped(r#"{"prior": 0.1, "b_min": 0, "b_max": 1}"#, 0.0);
    close(&rare.kl_weight, &[0.04545, 0.20588, 0.5]);
}

#[test]
fn anchors_are_visited_if_asked_for() {
    let settings = Settings { anchors: Some(Default::default()), ..Settings::default() };
    let needs = Probe::needs(&settings, &fixtures::run(1)).unwrap();
    assert!(needs.anchors.is_some() && needs.actuators == Actuators::SAFETY_ANCHORS);
    let mut signals = dialled(&[0.5]);
    signals.step = 1;
    let a = assess(&settings, &dial().to_bytes(), &[], &signals).unwrap();
    assert_eq!(a.regularization.anchor_weight, Some(2.0));
    close(&a.regularization.kl_weight, &[0.5]);
    let seldom = risk_policy::anchors::Anchors { every: 3, ..Default::default() };
    let settings = Settings { anchors: Some(seldom), ..settings };
    let a = assess(&settings, &dial().to_bytes(), &[], &signals).unwrap();
    assert_eq!(a.regularization.anchor_weight, None);
}
