#![allow(clippy::unwrap_used)]

use super::*;
use crate::{actuators::Actuators, combine::tests::assessment, types::Origin};

fn rules(texts: &[&str]) -> Guardrails {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    Guardrails::parse(&texts).unwrap()
}

fn samples(count: usize) -> Vec<Sample> {
    let sample = |id| Sample { id, origin: Origin::Task, prompt_tokens: 1, answer_tokens: 2 };
    (0..count as u64).map(sample).collect()
}

#[track_caller]
fn breaks(rule: &str, one: &Assessment, says: &str) {
    let said = rules(&[rule]).check(one, &samples(one.risk.len())).unwrap_err().to_string();
    assert!(said.contains(&format!("`{rule}`")) && said.contains(says), "{said}");
}

#[track_caller]
fn keeps(rule: &str, one: &Assessment) {
    assert_eq!(rules(&[rule]).check(one, &samples(one.risk.len())), Ok(()));
}

#[test]
fn a_rule_holds_for_every_sample() {
    let one = assessment(&[0.1, 0.9], &[0.9, 0.1], &[0.1, 0.9]);
    keeps("kl_weight >= 0.5 * risk", &one);
    keeps("task_weight <= 1 - risk", &one);
    keeps("task_weight + kl_weight <= 2 * max(0.1, min(risk, 1)) / (1e-1 + 0.1)", &one);
    keeps("kl_weight >= -1", &one);
    breaks("kl_weight > risk", &one, "sample 0 has risk 0.1, kl_weight 0.1, task_weight 0.9");
    breaks("task_weight < 0.1 if risk >= 0.8", &one, "sample 1");
    keeps("task_weight <= 0.1 if risk >= 0.8", &one);
    breaks("kl_weight >= risk / 0", &one, "sample 0");
    breaks("kl_weight >= 0 / (risk - risk)", &one, "sample 0");
    breaks("learning_rate_scale <= 0.5", &one, "sample 0");
}

#[test]
fn more_risk_is_never_held_less() {
    keeps("monotone", &assessment(&[0.1, 0.9, 0.5], &[0.9, 0.1, 0.9], &[0.1, 0.9, 0.1]));
    keeps("monotone", &assessment(&[0.5, 0.5], &[0.9, 0.1], &[0.1, 0.9]));
    let said = "sample 1 (risk 0.9, kl_weight 0.1, task_weight 0.9) is held less than sample 0";
    breaks("monotone", &assessment(&[0.1, 0.9], &[0.9, 0.9], &[0.5, 0.1]), said);
    breaks("monotone", &assessment(&[0.9, 0.1], &[0.9, 0.2], &[0.5, 0.5]), "sample 0 (risk 0.9");
}

/// A rule sees through token weights, a loss of its own and another divergence.
#[test]
fn a_rule_is_about_what_is_done_and_not_what_a_field_says() {
    let held = assessment(&[0.9], &[0.1], &[0.9]);
    let rule = "kl_weight >= 0.5 * risk";
    keeps(rule, &held);
    let mut tokens = held.clone();
    tokens.regularization.token_kl_weight = Some(vec![1.0, 0.0]);
    breaks(rule, &tokens, "kl_weight 0,");
    let mut label = held.clone();
    label.regularization.divergence = Divergence::LabelK2;
    breaks(rule, &label, "kl_weight 0,");

    let rule = "task_weight <= 1 - risk";
    keeps(rule, &held);
    let mut tokens = held.clone();
    tokens.regularization.token_task_weight = Some(vec![0.0, 10.0]);
    breaks(rule, &tokens, "task_weight 1");
    let clip = |direction| {
        let (low, high) = (0.0, 1.7e308);
        let clip =
            RatioClip { low, high, direction, sequence: false, variance_penalty: 0.0, beyond: 0.0 };
        let mut one = held.clone();
        one.regularization.ratio_clip = Some(vec![clip]);
        one
    };
    breaks(rule, &clip(1e6), "task_weight 1142");
    keeps(rule, &clip(-1.0));
    let mut nothing = clip(f64::MAX);
    nothing.regularization.task_weight = vec![0.0];
    keeps(rule, &nothing);

    let mut skipped = assessment(&[0.9], &[10.0], &[0.0]);
    skipped.regularization.action = Action::Skip;
    keeps(rule, &skipped);
}

#[test]
fn an_actuator_can_be_forbidden_by_its_name() {
    let rules = rules(&["without ratio-clip", "without steering"]);
    assert_eq!(rules.forbids(&Needs::new()), None);
    let needs = Needs { actuators: Actuators::RATIO_CLIP, ..Needs::new() };
    assert_eq!(rules.forbids(&needs), Some(("without ratio-clip", "ratio-clip")));
    let mut one = assessment(&[0.5], &[0.5], &[0.5]);
    one.regularization.learning_rate_scale = 10.0;
    breaks("without learning-rate", &one, "it uses regularization.learning-rate-scale");
}

#[test]
fn what_is_no_rule_says_why() {
    let deep = format!("kl_weight >= {}1{}", "(".repeat(30), ")".repeat(30));
    let long = format!("kl_weight >= 0{}", " + 0".repeat(200));
    for (text, says) in [
        ("", "ends where a number or one of risk, kl_weight"),
        ("monoton", "has `monoton`, which is no number and none of risk"),
        ("kl_weight", "lacks one of >=, <=, > and < at its end"),
        ("kl_weight >=", "ends where"),
        ("kl_weight >= 0.5 risk", "has a `risk` that can't come there"),
        ("kl_weight => 0.5", "has '=' in it"),
        ("kl_weight == 0.5", "has '=' in it"),
        ("kl_weight >= inf", "has `inf`, which is no"),
        ("kl_weight >= nan", "has `nan`, which is no"),
        ("kl_weight >= 1e999", "has `1e999`, which is no"),
        ("min(1 2) < 3", "lacks a `,` before `2`"),
        ("(risk < 3", "lacks a `)` before `<`"),
        ("without loops", "names no actuator behind `without`; there are token-weights,"),
        ("without weights", "names no actuator"),
        ("risk >= 0 if", "ends where"),
        ("risk\u{1b} >= 0", "has '\\u{1b}' in it"),
        (&deep, "nested deeper"),
        (&long, "longer than 400"),
    ] {
        let (i, said) = Guardrails::parse(&["monotone".into(), text.to_owned()]).unwrap_err();
        assert!(i == 1 && said.contains(says), "{text}: {said}");
    }
}
