//! What calibration fits, chooses and refuses.

use super::*;

#[test]
fn every_method_finds_the_signal_and_the_best_layer_is_kept() {
    for method in Method::ALL {
        let settings = probing(probe::Settings {
            method,
            layers: Some(vec![1, 3, 4]),
            compare: true,
            ..probe::Settings::default()
        });
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
    let settings = probing(probe::Settings { layers: Some(vec![1]), ..probe::Settings::default() });
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
        let settings = probing(probe::Settings {
            method,
            layers: Some(vec![3]),
            ..probe::Settings::default()
        });
        let data = examples(&[3], &[1.0], 9);
        let c = Probe::calibrate(&settings, &fixtures::run(1), &data).unwrap();
        let a = assess(
            &settings,
            &c.parameters,
            &[],
            &step(vec![3], data.activations[0].values.clone()),
        )
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
    let settings =
        probing(probe::Settings { layers: Some(vec![1, 2]), ..probe::Settings::default() });
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
    let settings = probing(probe::Settings { layers: Some(vec![1]), ..probe::Settings::default() });
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
    let settings = probing(probe::Settings { layers: Some(vec![1]), ..probe::Settings::default() });
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
    assert!(error.contains("needs the activations"), "{error}");
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
        let settings = probing(probe::Settings {
            method,
            layers: Some(vec![3]),
            ..probe::Settings::default()
        });
        let c = Probe::calibrate(&settings, &run, &examples(&[3], &[1.0], 9)).unwrap();
        let fitted = Fitted::from_bytes(&c.parameters, &run, &settings.probe).unwrap();
        assert_eq!(fitted.to_bytes(), c.parameters);
    }
}

#[test]
fn needs_name_the_layers_of_the_settings() {
    let run = fixtures::run(1);
    let needs = Probe::needs(&Settings::default(), &run).unwrap();
    assert_eq!(needs.taps[0].layers, [1, 2, 3, 4]);
    assert_eq!(needs.taps[0].source, Source::Reference);
    let settings = Settings {
        adaptive: Adaptive { b_min: 2.0, ..Adaptive::default() },
        ..Settings::default()
    };
    assert!(Probe::needs(&settings, &run).unwrap_err().contains("`b_min`"));
}

/// Rows of the run at layer 1: the first two units at `side`, the rest noise.
fn rows(sides: &[f32]) -> Vec<Activations> {
    let mut random = Random::new(11);
    let mut values = Vec::new();
    for side in sides {
        for unit in 0..HIDDEN {
            let base = random.normal() as f32 + if unit == 2 { 720.0 } else { 0.0 };
            values.push(if unit < 2 { base + side } else { base });
        }
    }
    let mut rows = step(vec![1], values).activations;
    rows[0].tap.layers = vec![1];
    rows
}

#[test]
fn rows_of_the_run_that_look_a_little_harmful_count_as_harmless_and_poison_does_not() {
    let own = probe::Settings { layers: Some(vec![1]), calibration_rows: 64, ..Default::default() };
    let settings = probing(own);
    let mut data = examples(&[1], &[2.0], 5);
    // Rows between the classes, of which a tenth is exchanged for harmful ones.
    let mut sides = vec![-0.4; 60];
    sides.iter_mut().step_by(10).for_each(|side| *side = 2.0);
    data.row_activations = rows(&sides);
    let run = fixtures::run(1);
    let c = Probe::calibrate(&settings, &run, &data).unwrap();
    assert_eq!(c.needs.calibration_rows, 64);
    assert!(c.summary.contains("of 60 rows of the run"), "{}", c.summary);
    let mut signals = step(vec![1], data.row_activations[0].values.clone());
    signals.activations[0].tap.layers = vec![1];
    let risk = assess(&settings, &c.parameters, &[], &signals).unwrap().risk;
    let mean = |poisoned: bool| {
        let kept = risk.iter().enumerate().filter(|(row, _)| (row % 10 == 0) == poisoned);
        let kept: Vec<f64> = kept.map(|(_, risk)| *risk).collect();
        kept.iter().sum::<f64>() / kept.len() as f64
    };
    assert!(mean(true) > 0.8 && mean(false) < 0.15, "{} {}", mean(true), mean(false));
    data.row_activations.clear();
    let error = Probe::calibrate(&settings, &run, &data).unwrap_err();
    assert!(error.contains("rows of the run"), "{error}");
}

/// Examples of which one position tells the classes apart in training, validation and test, and
/// the other one hardly does.
fn of_both(strong: Position) -> Examples {
    let mut data = examples(&[1, 2], &[1.2, 2.5], 7);
    let weak = examples(&[1, 2], &[0.6, 0.0], 7).activations.remove(0);
    let other = match strong {
        Position::PromptMean => Position::LastPromptToken,
        _ => Position::PromptMean,
    };
    data.activations[0].tap.position = strong;
    data.activations.push(Activations { tap: Tap { position: other, ..weak.tap.clone() }, ..weak });
    data
}

#[test]
fn each_position_gets_its_layer_and_the_larger_risk_is_measured_too() {
    let settings = probing(probe::Settings {
        position: Place::Both,
        layers: Some(vec![1, 2]),
        ..probe::Settings::default()
    });
    let run = fixtures::run(1);
    for strong in [Position::LastPromptToken, Position::PromptMean] {
        let data = of_both(strong);
        let c = Probe::calibrate(&settings, &run, &data).unwrap();
        let places: Vec<_> = c.needs.taps.iter().map(|t| (t.position, t.layers[0])).collect();
        let layer = |position| if position == strong { 2 } else { 1 };
        let both = [Position::LastPromptToken, Position::PromptMean];
        assert_eq!(places, both.map(|position| (position, layer(position))));
        let chosen: Vec<_> = c.candidates.iter().filter(|c| c.chosen).collect();
        assert_eq!(chosen.len(), 3);
        assert_eq!(
            (chosen[0].name.as_str(), chosen[2].layer),
            ("logistic at last-prompt-token", None)
        );
        // What is measured of both is what assessment computes.
        let mut signals = fixtures::signals(0, 300);
        signals.activations = data.activations.clone();
        let risk = assess(&settings, &c.parameters, &[], &signals).unwrap().risk;
        let of_test = risk.iter().zip(&data.examples).filter(|(_, e)| e.split == Split::Test);
        let (risk, harmful): (Vec<f64>, Vec<bool>) =
            of_test.map(|(risk, example)| (*risk, example.harmful)).unzip();
        let auroc = risk_policy::metrics::auroc(&risk, &harmful).unwrap();
        assert!((auroc - chosen[2].metric("test.auroc").unwrap()).abs() < 1e-12);
        assert!(auroc > 0.97, "{}", c.summary);
        let said = format!("{auroc:.3} on the test split");
        assert!(
            c.summary.contains("the larger risk") && c.summary.contains(&said),
            "{}",
            c.summary
        );
        let fitted = Fitted::from_bytes(&c.parameters, &run, &settings.probe).unwrap();
        assert_eq!(fitted.to_bytes(), c.parameters);
    }
    let mut one = of_both(Position::LastPromptToken);
    one.activations.truncate(1);
    let error = Probe::calibrate(&settings, &run, &one).unwrap_err();
    assert!(error.contains("prompt-mean, there are none"), "{error}");
}
