use host_contract::JudgeNeed;
use host_data::Sample;
use host_data::parse_rows;

use super::*;

/// Samples of these rows, without tokens.
fn samples(rows: &[(&str, &str)]) -> Vec<Sample> {
    let row = |(prompt, answer): &(&str, &str)| {
        serde_json::json!({"prompt": prompt, "answer": answer}).to_string() + "\n"
    };
    let rows: String = rows.iter().map(row).collect();
    let rows = parse_rows("x.jsonl".as_ref(), rows.into_bytes()).expect("rows");
    let sample = |row: host_data::Row| Sample {
        id: row.id,
        messages: row.messages.into(),
        ..Sample::prompt_only(vec![1])
    };
    rows.into_iter().map(sample).collect()
}

#[test]
fn a_sample_without_a_score_is_missing_and_the_worst() {
    let folder = tempfile::tempdir().expect("temp");
    let path = folder.path().join("scores.jsonl");
    let rows = "{\"prompt\": \"a\", \"answer\": \"b\", \"score\": 2}\n{\"prompt\": \"c\", \"answer\": \"d\", \"score\": null}\n";
    std::fs::write(&path, rows).expect("written");
    let config = BTreeMap::from([("mine".to_owned(), JudgeConfig::Scores(path))]);
    let judges = Judges::load(&config, None).expect("loads");
    assert_eq!(judges.names().collect::<Vec<_>>(), ["mine"]);

    let samples = samples(&[("a", "b"), ("c", "d"), ("e", "f")]);
    let need = JudgeNeed { judge: "mine".into(), prefix_words: None };
    let model = host_data::demo::model();
    let samples: Vec<&Sample> = samples.iter().collect();
    let judged = judges.of_step([&need].into_iter(), &samples, &model.tokenizer);
    let found: Vec<_> =
        judged.expect("judged")[0].scores.judgements.iter().map(|j| (j.status, j.score)).collect();
    use JudgementStatus::{Failed, Missing, Scored};
    assert_eq!(found, [(Scored, 2.0), (Failed, 5.0), (Missing, 5.0)]);
}

#[test]
fn a_judge_that_is_not_there_is_named_with_those_that_are() {
    let message = |judges: &Judges| {
        let judged = judges.judge("other", &[], &AtomicBool::new(false));
        judged.expect_err("refused").to_string()
    };
    let none = message(&Judges::default());
    assert!(none.contains("judges.other: there is no judge"), "{none}");
    let folder = tempfile::tempdir().expect("temp");
    let path = folder.path().join("scores.jsonl");
    let row = "{\"prompt\": \"a\", \"answer\": \"b\", \"score\": 2}\n";
    std::fs::write(&path, row).expect("written");
    let judge = || JudgeConfig::Scores(path.clone());
    let config = BTreeMap::from([("one".to_owned(), judge()), ("two".to_owned(), judge())]);
    let one = message(&Judges::load(&config, None).expect("loads"));
    assert!(one.contains("there are one, two"), "{one}");
}
