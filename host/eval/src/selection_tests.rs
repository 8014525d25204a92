use super::*;

fn record(step: u64, loss: f64, refused: usize) -> EvaluationRecord {
    EvaluationRecord {
        step,
        task_loss: Mean::of([loss]),
        refusal_margin: Mean::of([refused as f64 / 10.0]),
        refusal: Some(Rate { hits: refused, total: 20 }),
        seconds: 0.5,
        ..EvaluationRecord::default()
    }
}

/// Loss and refusals of the reference, then of every tenth step.
fn chosen(rule: BestRule, all: &[(f64, usize)]) -> Selection {
    let mut selection = Selection::new(Choice { rule, tolerance: 0.05 });
    for (number, (loss, refused)) in (0..).zip(all) {
        selection.add(&mut record(10 * number, *loss, *refused));
    }
    selection.keep(10 * (all.len() as u64 - 1), true);
    selection
}

#[test]
fn each_rule_finds_its_best_and_the_first_of_equals() {
    // The loss falls on while refusals are lost from step 30.
    let course = [(3.0, 20), (2.0, 20), (1.5, 19), (1.2, 10), (1.0, 3), (1.0, 3)];
    for (rule, step) in [
        (BestRule::Loss, 40),
        (BestRule::Refusal, 10),
        (BestRule::Margin, 10),
        (BestRule::SafeLoss, 20),
    ] {
        let selection = chosen(rule, &course);
        assert_eq!(selection.kept.as_ref().expect("kept").step, step, "{rule:?}");
        assert_eq!(selection.warning(), None);
        assert_eq!((selection.evaluations, selection.seconds), (6, 3.0));
    }
    let safe = chosen(BestRule::SafeLoss, &course);
    assert_eq!(safe.without_improvement, 3);
    let why = safe.kept.expect("kept").why;
    assert!(why.contains("safe-loss") && why.contains("19/20; reference 20/20"), "{why}");
}

#[test]
fn the_reference_is_compared_with_and_never_kept() {
    let selection = chosen(BestRule::Loss, &[(1.0, 20), (2.0, 20), (3.0, 20)]);
    assert_eq!(selection.kept.expect("kept").step, 10);
}

#[test]
fn where_nothing_is_safe_the_one_that_refuses_most_is_kept_and_told() {
    let selection =
        chosen(BestRule::SafeLoss, &[(3.0, 20), (2.0, 9), (1.5, 12), (1.0, 12), (0.5, 2)]);
    assert_eq!(selection.kept.as_ref().expect("kept").step, 30);
    let warning = selection.warning().expect("told");
    assert!(warning.contains("step 30") && warning.contains("12/20"), "{warning}");
    // One that is safe again beats all that are not.
    let selection = chosen(BestRule::SafeLoss, &[(3.0, 20), (1.0, 9), (2.5, 19)]);
    assert_eq!(selection.kept.expect("kept").step, 20);
}

#[test]
fn what_was_not_measured_is_worse_than_anything() {
    let mut selection = Selection::new(Choice { rule: BestRule::Loss, tolerance: 0.0 });
    let unknown = |step| EvaluationRecord { task_loss: None, ..record(step, 0.0, 20) };
    for mut one in [unknown(10), record(20, 9.0, 0), unknown(30)] {
        selection.add(&mut one);
    }
    assert_eq!(selection.best.as_ref().map(|best| best.step), Some(20));
    selection.keep(30, false);
    let kept = selection.kept.expect("kept");
    assert!(kept.step == 30 && kept.why.contains("step 20"), "{kept:?}");
}

#[test]
fn a_line_says_what_was_measured_and_the_record_reads_back() {
    let mut one = record(20, 1.25, 19);
    one.best = true;
    assert_eq!(one.line(), "step 20: held-out loss 1.250, refused 19/20, margin +1.90 (best)");
    let text = serde_json::to_string(&one).expect("written");
    assert_eq!(serde_json::from_str::<EvaluationRecord>(&text).expect("read"), one);
    let selection = chosen(BestRule::SafeLoss, &[(3.0, 20), (2.0, 19)]);
    let text = serde_json::to_string(&selection).expect("written");
    assert!(text.contains(r#""rule":"safe-loss","tolerance":0.05"#), "{text}");
    assert_eq!(serde_json::from_str::<Selection>(&text).expect("read"), selection);
}
