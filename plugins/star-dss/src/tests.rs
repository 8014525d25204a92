#![allow(clippy::unwrap_used)]

use risk_policy::prelude::*;
use risk_policy::{fixtures, settings};

use super::*;

fn parse(text: &str) -> Settings {
    settings::parse(text, StarDss::SETTINGS_SCHEMA).unwrap()
}

/// One sample per list of (end, score); none is a judgement that failed.
fn signals(samples: &[&[(u32, Option<f64>)]]) -> Signals {
    let mut signals = fixtures::signals(0, samples.len() as u32);
    let judgement = |score: &Option<f64>| Judgement {
        status: match score {
            Some(_) => JudgementStatus::Scored,
            None => JudgementStatus::Failed,
        },
        score: score.unwrap_or(5.0),
    };
    let (mut offsets, mut ends, mut judgements) = (vec![0], vec![], vec![]);
    for (sample, prefixes) in signals.samples.iter_mut().zip(samples) {
        sample.answer_tokens = prefixes.last().map_or(0, |(end, _)| *end);
        ends.extend(prefixes.iter().map(|(end, _)| *end));
        judgements.extend(prefixes.iter().map(|(_, score)| judgement(score)));
        offsets.push(ends.len() as u32);
    }
    signals.prefixes.push(PrefixScores { judge: "mine".into(), offsets, ends, judgements });
    signals
}

fn assess(text: &str, signals: &Signals) -> Result<Assessment, String> {
    let mut run = fixtures::run(signals.samples.len() as u32);
    run.judges = vec!["mine".into()];
    StarDss::assess(&Call {
        settings: &parse(text),
        run: &run,
        parameters: &[],
        state: &[],
        signals,
    })
}

/// The loss of a token by the weights, as the host computes it (policy.wit).
fn loss(r: &Regularization, token: usize, sample: usize, ce: f64, moved: f64) -> f64 {
    let weight = |list: &Option<Vec<f32>>| f64::from(list.as_ref().unwrap()[token]);
    r.task_weight[sample] * weight(&r.token_task_weight) * ce
        + r.kl_weight[sample] * weight(&r.token_kl_weight) * moved * moved / 2.0
}

#[test]
fn golden_value_of_the_loss() {
    // V = .25, CE = 2, ln pi - ln ref = .4, c = .5.
    let signals = signals(&[&[(1, Some(4.0))]]);
    let text = r#"{"divergence": "label-k2"}"#;
    let regularization = assess(text, &signals).unwrap().regularization;
    assert_eq!(regularization.divergence, Divergence::LabelK2);
    assert!((loss(&regularization, 0, 0, 2.0, 0.4) - 0.53).abs() < 1e-6);
}

#[test]
fn an_answer_is_learned_up_to_where_it_turns_harmful() {
    let signals = signals(&[&[(2, Some(1.0)), (3, Some(3.0)), (5, Some(5.0))], &[(1, Some(2.0))]]);
    let assessment = assess("{}", &signals).unwrap();
    let regularization = assessment.regularization;
    assert_eq!(regularization.task_weight, [1.0; 2]);
    assert_eq!(regularization.kl_weight, [0.5; 2]);
    let task = [1.0, 1.0, 0.5, 0.0, 0.0, 0.75];
    assert_eq!(regularization.token_task_weight.unwrap(), task);
    let kl = [0.0, 0.0, 0.5, 1.0, 1.0, 0.25];
    assert_eq!(regularization.token_kl_weight.unwrap(), kl);
    assert_eq!(assessment.risk, [1.0, 0.25]);
    assert_eq!(assessment.reasons.len(), 1);
    assert_eq!(assessment.reasons[0].code, "harmful-chunk");
    assert!(assessment.reasons[0].message.contains("token 2"));
}

#[test]
fn an_unknown_chunk_is_the_worst_unless_the_settings_say_otherwise() {
    for score in [None, Some(f64::NAN), Some(0.0), Some(9.0)] {
        let signals = signals(&[&[(2, Some(1.0)), (3, score)]]);
        let assessment = assess("{}", &signals).unwrap();
        let regularization = assessment.regularization;
        assert_eq!(regularization.token_task_weight.unwrap(), [1.0, 1.0, 0.0]);
        assert_eq!(regularization.token_kl_weight.unwrap(), [0.0, 0.0, 1.0]);
        assert_eq!(assessment.reasons[0].code, "no-judgement");
        let lenient = assess(r#"{"unknown_score": 2}"#, &signals).unwrap();
        assert_eq!(lenient.risk, [0.25]);
    }
}

#[test]
fn prefixes_that_are_missing_or_leave_tokens_out_fail_the_step() {
    let good = || signals(&[&[(2, Some(1.0)), (3, Some(1.0))], &[(1, Some(1.0))]]);
    assert!(assess("{}", &good()).is_ok());
    let bad = |change: fn(&mut Signals)| {
        let mut signals = good();
        change(&mut signals);
        assess("{}", &signals).unwrap_err()
    };
    for (error, says) in [
        (bad(|s| s.prefixes.clear()), "there are none"),
        (bad(|s| s.prefixes[0].judge = "other".into()), "there are none"),
        (bad(|s| s.prefixes[0].judgements.truncate(1)), "do not fit"),
        (bad(|s| s.prefixes[0].ends.truncate(1)), "do not fit"),
        (bad(|s| s.prefixes[0].offsets.truncate(1)), "do not fit"),
        (bad(|s| s.prefixes[0].offsets[1] = 9), "not in order"),
        (bad(|s| s.prefixes[0].ends[0] = 3), "do not cover"),
        (bad(|s| s.prefixes[0].ends[0] = 0), "do not cover"),
        (bad(|s| s.samples[0].answer_tokens = 4), "do not cover"),
        (bad(|s| s.samples[1].answer_tokens = 0), "do not cover"),
    ] {
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_step_without_samples_is_answered() {
    let assessment = assess("{}", &signals(&[])).unwrap();
    assert!(assessment.risk.is_empty());
}

#[test]
fn what_is_needed_depends_on_what_holds_the_tokens() {
    let run = fixtures::run(1);
    let label = r#"{"judge": "mine", "chunk_words": 3, "divergence": "label-k2"}"#;
    let needs = StarDss::needs(&parse(label), &run).unwrap();
    assert_eq!(needs.judges[0].prefix_words, Some(3));
    assert_eq!(needs.tokens, TokenNeeds::CURRENT | TokenNeeds::REFERENCE);
    let both = Actuators::TOKEN_WEIGHTS | Actuators::LABEL_DIVERGENCE;
    assert_eq!(needs.actuators, both);
    let whole = "{}";
    let needs = StarDss::needs(&parse(whole), &run).unwrap();
    assert_eq!(needs.tokens, TokenNeeds::empty());
    assert_eq!(needs.actuators, Actuators::TOKEN_WEIGHTS);
    let regularization = assess(whole, &signals(&[&[(1, Some(1.0))]])).unwrap();
    let divergence = regularization.regularization.divergence;
    assert_eq!(divergence, Divergence::ForwardKl);
}

#[test]
fn settings_out_of_range_are_refused() {
    let run = fixtures::run(1);
    for (text, key) in [
        (r#"{"chunk_words": 0}"#, "`chunk_words`"),
        (r#"{"kl_weight": 11}"#, "`kl_weight`"),
        (r#"{"kl_weight": -0.1}"#, "`kl_weight`"),
        (r#"{"unknown_score": 0}"#, "`unknown_score`"),
        (r#"{"threshold": 6}"#, "`threshold`"),
    ] {
        let error = StarDss::needs(&parse(text), &run).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let from_schema = parse(&fixtures::schema_defaults(StarDss::SETTINGS_SCHEMA));
    assert_eq!(format!("{from_schema:?}"), format!("{:?}", Settings::default()));
}
