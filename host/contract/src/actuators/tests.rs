//! Walks the table: what holds for every actuator, the next one included.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    assessment::{Assessment, Expected, validate_assessment},
    combine::{Combiner, check_together, fail_closed},
    needs::check_capabilities,
    signals::{AnchorDivergence, AnchorNeed, Needs, SIGNALS, SteeringNeed, SteeringVector},
    token_set::TokenSet,
    types::Origin,
};

fn samples() -> Vec<Sample> {
    let sample = |id| Sample { id, origin: Origin::Task, prompt_tokens: 3, answer_tokens: 2 };
    vec![sample(1), sample(2)]
}

fn plain() -> Assessment {
    let mut plain = fail_closed(2, "code", "message", &[]);
    plain.regularization = Regularization::weights(vec![1.0; 2], vec![0.0; 2]);
    plain
}

fn using(actuator: &dyn Actuator) -> Assessment {
    let mut assessment = plain();
    actuator.example(&samples(), &mut assessment.regularization);
    assessment
}

/// Needs that declare this actuator alone.
fn declaring(actuator: &dyn Actuator) -> Needs {
    let mut needs = Needs::new();
    needs.actuators = actuator.flag().unwrap_or(Actuators::empty());
    if !actuator.is_declared(needs.declared()) {
        if actuator.name() == "token-set" {
            needs.token_set = Some(TokenSet { count: 50, temperature: 2.0 });
        } else {
            let vector = SteeringVector::Configured;
            needs.steering = Some(SteeringNeed { vector, layers: vec![1] });
        }
    }
    needs
}

fn check(assessment: &Assessment, needs: &Needs) -> Check {
    validate_assessment(assessment, Expected { samples: &samples(), needs, layers: 2 })
}

#[test]
fn every_flag_has_one_row_of_its_name() {
    for (name, flag) in Actuators::NAMES {
        let rows = ACTUATORS.iter().filter(|one| one.flag() == Some(*flag));
        let names: Vec<&str> = rows.map(|one| one.name()).collect();
        assert_eq!(names, [*name]);
    }
    for actuator in ACTUATORS {
        assert!(!actuator.meaning().is_empty(), "{}", actuator.name());
    }
}

#[test]
fn using_an_actuator_without_declaring_it_is_a_fault() {
    for actuator in ACTUATORS {
        let assessment = using(actuator);
        assert_eq!(check(&assessment, &declaring(actuator)), Ok(()), "{}", actuator.name());
        let undeclared = check(&assessment, &Needs::new());
        if actuator.is_declared(Needs::new().declared()) {
            assert_eq!(undeclared, Ok(()), "{}", actuator.name());
        } else {
            let invalid = undeclared.unwrap_err();
            assert!(invalid.problem.contains("is used, but needs."), "{invalid}");
            assert!(
                invalid.problem.contains(actuator.name())
                    || invalid.field.contains(actuator.name()),
                "{invalid}"
            );
        }
    }
}

fn both(all: &[&Assessment]) -> Assessment {
    Combiner::default().combine(&vec!["a"; all.len()], all, &samples())
}

#[test]
fn one_policy_that_uses_an_actuator_is_enough() {
    for actuator in ACTUATORS.iter().filter(|one| one.alone().is_none()) {
        let (plain, using) = (plain(), using(*actuator));
        let used = actuator.used(&using.regularization);
        assert!(used.is_some(), "{}", actuator.name());
        for pair in [[&plain, &using], [&using, &plain]] {
            let both = both(&pair).regularization;
            assert_eq!(actuator.used(&both), used, "{}", actuator.name());
        }
        let both = both(&[&using, &using]);
        assert_eq!(actuator.check(&both.regularization, &samples()), Ok(()));
    }
}

/// Either has an order, or stands alone: a policy that may use it is refused beside any other,
/// whichever comes first.
#[test]
fn what_has_no_order_is_not_combined() {
    let mut alone = Vec::new();
    for actuator in ACTUATORS {
        let (may, plain) = (declaring(actuator), Needs::new());
        assert_eq!(check_together(&[&may]), Ok(()), "{}", actuator.name());
        let found = check_together(&[&plain, &may]);
        assert_eq!(found.is_err(), actuator.alone().is_some(), "{}", actuator.name());
        if let Err(found) = found {
            assert_eq!((found.policy, found.actuator), (1, actuator.name()));
            assert_eq!(check_together(&[&may, &plain]).unwrap_err().policy, 0);
            alone.push(found.actuator);
        }
    }
    let expected =
        ["label-divergence", "token-set", "ema", "anchor", "ratio-clip", "roll-back", "steering"];
    assert_eq!(alone, expected);
}

/// A run without data, canary, base model and judges refuses them by name.
#[test]
fn what_a_run_lacks_is_named_with_a_remedy() {
    let run = |all| RunCapabilities {
        canary: all,
        task: all,
        alignment: all,
        base: all,
        additive: true,
        anchors: [all; 2],
        judges: &[],
    };
    let lacking: Vec<&str> = ACTUATORS
        .iter()
        .filter(|one| check_capabilities(&declaring(**one), &run(false)).is_err())
        .map(|one| one.name())
        .collect();
    let expected = [
        "label-divergence",
        "token-set",
        "safety-anchors",
        "alignment-share",
        "ratio-clip",
        "gradient-projection",
        "adapter-projection",
        "alignment-extra",
        "alignment-complement",
    ];
    assert_eq!(lacking, expected);
    for actuator in ACTUATORS {
        if let Err(unmet) = check_capabilities(&declaring(actuator), &run(true)) {
            assert!(unmet.remedy.contains("the policy must also"), "{unmet:?}");
        }
    }
}

#[test]
fn alignment_extra_has_a_range_and_the_largest_counts() {
    let needs = Needs { actuators: Actuators::ALIGNMENT_EXTRA, ..Needs::new() };
    let of = |extra| {
        let mut one = plain();
        one.regularization.alignment_extra = Some(extra);
        one
    };
    assert_eq!(check(&of(0), &needs), Ok(()));
    assert_eq!(check(&of(1024), &needs), Ok(()));
    let invalid = check(&of(1025), &needs).unwrap_err().to_string();
    let expected = "regularization.alignment-extra is 1025; it must be a number from 0 to 1024";
    assert_eq!(invalid, expected);
    let all = both(&[&of(2), &plain(), &of(5)]);
    assert_eq!(all.regularization.alignment_extra, Some(5));
}

/// Each policy's own matrices, blocks and anchors are among those of the combination.
#[test]
fn what_was_added_with_0_2_is_combined_by_its_order() {
    let of = |change: &dyn Fn(&mut Regularization)| {
        let mut one = plain();
        change(&mut one.regularization);
        one
    };
    let a = of(&|r| {
        r.layer_scale = Some(vec![1.0, 0.2]);
        r.anchor_weight = Some(3.0);
        r.adapter_projection_count = Some(10);
        r.alignment_complement = Some(0.5);
    });
    let b = of(&|r| {
        r.layer_scale = Some(vec![0.5, 1.0]);
        r.anchor_weight = Some(1.0);
        r.adapter_projection_count = Some(4);
    });
    for pair in [[&a, &b], [&b, &a]] {
        let r = both(&pair).regularization;
        assert_eq!(r.layer_scale, Some(vec![0.5, 0.2]));
        assert_eq!((r.anchor_weight, r.adapter_projection_count), (Some(3.0), Some(10)));
        assert_eq!(r.alignment_complement, Some(0.5));
    }
    let anchors = |divergence, harmful, answer_tokens| {
        let need = AnchorNeed { harmful, harmless: 1, answer_tokens, divergence };
        Needs { anchors: Some(need), ..Needs::new() }
    };
    let (kl, hidden) = (AnchorDivergence::ForwardKl, AnchorDivergence::HiddenDistance);
    let (a, b, other) = (anchors(kl, 4, 8), anchors(kl, 1, 16), anchors(hidden, 1, 1));
    let together = AnchorNeed::together(&[&a, &Needs::new(), &b]);
    assert_eq!(together, Ok(anchors(kl, 4, 16).anchors));
    let found = check_together(&[&a, &Needs::new(), &other]).unwrap_err();
    assert_eq!((found.policy, found.actuator), (2, "safety-anchors"));
}

#[test]
fn a_value_per_block_must_fit_the_model() {
    let needs = Needs { actuators: Actuators::LAYER_SCALE, ..Needs::new() };
    let mut one = plain();
    one.regularization.layer_scale = Some(vec![1.0; 3]);
    let expected = "regularization.layer-scale has 3 values; it must have 2, one per decoder block";
    assert_eq!(check(&one, &needs).unwrap_err().to_string(), expected);
    one.regularization.layer_scale = Some(vec![1.0, 1.5]);
    let expected = "regularization.layer-scale[1] is 1.5; it must be a number from 0 to 1";
    assert_eq!(check(&one, &needs).unwrap_err().to_string(), expected);
}

/// What a policy is said to take is what a run is refused for that lacks it.
#[test]
fn what_takes_alignment_data_or_a_base_is_refused_without() {
    let whole = RunCapabilities {
        canary: true,
        task: true,
        alignment: true,
        base: true,
        additive: true,
        anchors: [true; 2],
        judges: &[],
    };
    let lacks = |needs: &Needs, run| {
        let found = |run: &RunCapabilities<'_>| check_capabilities(needs, run).is_err();
        found(&run) && !found(&whole)
    };
    let actuators = ACTUATORS.iter().map(|one| (one.name(), declaring(*one)));
    let signals = SIGNALS.iter().map(|one| {
        let mut needs = Needs::new();
        one.example(&mut needs);
        (one.name(), needs)
    });
    for (name, needs) in actuators.chain(signals) {
        let without = RunCapabilities { alignment: false, ..whole };
        assert_eq!(needs.alignment(), lacks(&needs, without), "{name}");
        let without = RunCapabilities { base: false, ..whole };
        assert_eq!(needs.base(), lacks(&needs, without), "{name}");
        let without = RunCapabilities { additive: false, ..whole };
        assert_eq!(needs.base(), lacks(&needs, without), "{name}");
    }
}
