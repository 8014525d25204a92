#![allow(clippy::unwrap_used)]

use super::*;
use host_contract::{
    JudgeNeed, JudgementStatus, Needs, Position, Source, Split, SteeringNeed, SteeringVector, Tap,
    TokenNeeds,
};

fn tap(source: Source) -> Tap {
    Tap { source, position: Position::PromptMean, layers: vec![0, 3] }
}

fn everything() -> Needs {
    Needs {
        taps: vec![tap(Source::Reference), tap(Source::Current)],
        judges: vec![JudgeNeed { judge: "critic".into(), prefix_words: Some(4) }],
        tokens: TokenNeeds::all(),
        canary_every: Some(2),
        trial_scales: vec![0.5, 1.0],
        gradient_conflict: true,
        drift: true,
        steering: Some(SteeringNeed {
            vector: SteeringVector::RefusalDirection,
            layers: vec![1, 2],
        }),
        calibration: true,
        ..Needs::new()
    }
}

fn of(needs: &Needs) -> Synthetic<'_> {
    Synthetic { needs, hidden: 16, seed: 7 }
}

#[test]
fn everything_asked_for_is_there_in_its_shape_and_nothing_else() {
    let needs = everything();
    let step = Step { step: 4, ..Step::graded([0.0, 0.5, 1.0], 0.5) };
    let signals = of(&needs).signals(&step);
    assert_eq!(signals.activations.len(), 2);
    for one in &signals.activations {
        assert_eq!((one.samples, one.layers, one.hidden), (3, 2, 16));
        assert_eq!(one.values.len(), 3 * 2 * 16);
    }
    let total: u32 = signals.samples.iter().map(|one| one.answer_tokens).sum();
    let tokens = signals.tokens.unwrap();
    assert_eq!(tokens.offsets.last(), Some(&total));
    assert_eq!((tokens.current.len(), tokens.reference.len()), (total as usize, total as usize));
    assert!(tokens.current.iter().all(|value| *value <= 0.0));
    let prefixes = &signals.prefixes[0];
    assert_eq!(prefixes.offsets.len(), 4);
    assert_eq!(prefixes.ends.len(), prefixes.judgements.len());
    assert_eq!(*prefixes.offsets.last().unwrap() as usize, prefixes.ends.len());
    assert!(signals.canary.is_some() && signals.previous.is_some());
    assert_eq!(signals.trials.len(), 2);
    assert_eq!(signals.steering.unwrap().cosines.len(), 2);

    let signals = of(&needs).signals(&Step { step: 3, ..step.clone() });
    assert!(signals.canary.is_none(), "a canary that is not due");

    let nothing = Needs::new();
    let signals = of(&nothing).signals(&Step::of(3, 1.0));
    assert_eq!(signals.samples.len(), 3);
    assert!(signals.activations.is_empty() && signals.judges.is_empty());
    assert!(signals.tokens.is_none() && signals.trials.is_empty());
    assert!(signals.drift.is_none() && signals.steering.is_none() && signals.previous.is_none());
}

#[test]
fn a_sample_is_the_same_wherever_it_stands() {
    let needs = everything();
    let step = Step::graded([0.1, 0.9], 0.5);
    let turned = Step { rows: step.rows.iter().rev().copied().collect(), ..step.clone() };
    let (one, other) = (of(&needs).signals(&step), of(&needs).signals(&turned));
    let half = 2 * 16;
    let values = &one.activations[0].values;
    assert_eq!(values[..half], other.activations[0].values[half..]);
    assert_eq!(values[half..], other.activations[0].values[..half]);
    assert_eq!(one.judges[0].judgements[0], other.judges[0].judgements[1]);
    assert_ne!(values[..half], values[half..]);
    let again = of(&needs).signals(&step);
    assert_eq!(again, one);
    let seeded = Synthetic { seed: 8, ..of(&needs) }.signals(&step);
    assert_ne!(seeded.activations, one.activations);
}

/// Along the way between the clusters, samples lie where their level says.
#[test]
fn the_clusters_are_apart_and_levels_lie_between() {
    let needs = everything();
    for hidden in [2, 16, 576] {
        let synthetic = Synthetic { hidden, ..of(&needs) };
        let examples = examples(&synthetic);
        let n = examples.examples.len();
        let width = 2 * hidden as usize;
        let row = |i: usize| &examples.activations[0].values[i * width..][..hidden as usize];
        let mean = |harmful: bool| -> Vec<f64> {
            let rows = (0..n).filter(|i| examples.examples[*i].harmful == harmful);
            let mut mean = vec![0.0; hidden as usize];
            for i in rows {
                mean.iter_mut().zip(row(i)).for_each(|(m, v)| *m += f64::from(*v) * 2.0 / n as f64);
            }
            mean
        };
        let (safe, harmful) = (mean(false), mean(true));
        let way: Vec<f64> = harmful.iter().zip(&safe).map(|(a, b)| a - b).collect();
        let length: f64 = way.iter().map(|x| x * x).sum();
        let along = |row: &[f32]| -> f64 {
            let from = row.iter().zip(&safe).map(|(v, s)| f64::from(*v) - s);
            from.zip(&way).map(|(v, w)| v * w).sum::<f64>() / length
        };
        for i in 0..n {
            let harmful = examples.examples[i].harmful;
            assert_eq!(along(row(i)) > 0.5, harmful, "example {i} of width {hidden}");
        }
        let signals = synthetic.signals(&Step::graded([0.0, 0.5, 1.0], 0.0));
        let at = |i: usize| along(&signals.activations[0].values[i * width..][..hidden as usize]);
        assert!(at(0) < at(1) && at(1) < at(2), "{} {} {}", at(0), at(1), at(2));
    }
}

#[test]
fn every_split_has_both_classes() {
    let needs = everything();
    let examples = examples(&of(&needs));
    for split in [Split::Training, Split::Validation, Split::Test] {
        for harmful in [true, false] {
            let found = examples.examples.iter();
            let found = found.filter(|one| one.split == split && one.harmful == harmful);
            assert!(found.count() >= 8, "{split:?} {harmful}");
        }
    }
    assert_eq!(examples.judges[0].judgements.len(), examples.examples.len());
}

#[test]
fn damage_reaches_what_it_is_about_and_nothing_else() {
    let needs = everything();
    let step = Step::of(2, 0.25);
    let clean = of(&needs).signals(&step);
    let nan = of(&needs).signals(&step.clone().damaged(Damage::Activations(f32::NAN)));
    assert!(nan.activations[0].values.iter().all(|v| v.is_nan()));
    assert_eq!(nan.judges, clean.judges);
    let failed = Damage::Judges(JudgementStatus::Failed);
    let failed = of(&needs).signals(&step.clone().damaged(failed));
    let judgements = &failed.judges[0].judgements;
    assert!(judgements.iter().all(|j| j.status == JudgementStatus::Failed && j.score == 5.0));
    assert_eq!(failed.activations, clean.activations);
    let huge = of(&needs).signals(&step.damaged(Damage::Margins(1e30)));
    assert_eq!(huge.canary.unwrap().margins[0], f64::from(1e30f32));
    assert_eq!(huge.activations, clean.activations);
    let empty = of(&needs).signals(&Step::of(0, 0.0));
    assert!(empty.samples.is_empty() && empty.activations[0].values.is_empty());
    assert_eq!(empty.tokens.unwrap().offsets, [0]);
}
