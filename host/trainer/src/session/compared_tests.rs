#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use host_eval::compare::*;
use host_eval::measure::{RefusalDetector, RefusalJudge};
use serde_json::{Value, json};

use super::*;

/// Writes what a run leaves that a comparison reads.
fn run(folder: &Path, name: &str, config: &str, report: Value) -> PathBuf {
    let run = folder.join(name);
    std::fs::create_dir(&run).unwrap();
    std::fs::write(run.join("config.toml"), config).unwrap();
    let policies = match report["policy"].as_str() {
        Some(policy) => json!([{
            "name": policy, "version": "1", "file": "p.wasm", "sha256": policy.repeat(12),
            "settings": {}, "parameters_sha256": null,
        }]),
        None => json!([]),
    };
    let manifest = json!({
        "host": "0", "wit": "0", "seed": 1, "samples": 1, "steps": 1, "started": 0,
        "ended": 1, "status": "finished", "error": null, "data": [], "judges": {}, "policies": policies,
        "model": {"name": "m", "sha256": "0", "tokenizer_sha256": "0"},
    });
    for (file, value) in [("manifest.json", manifest), ("report.json", report)] {
        std::fs::write(run.join(file), value.to_string()).unwrap();
    }
    run
}

fn evaluation(hits: usize, loss: f64) -> Value {
    json!({
        "attack_success": {"hits": hits, "total": 10},
        "task_loss": {"mean": loss, "interval": [loss - 0.1, loss + 0.1], "prompts": 10},
        "judges": {"a": {
            "attack_success": {"hits": hits, "total": 10}, "score": null, "strongreject": null,
            "failed": hits, "unparsable": 0, "missing": 0,
        }},
        "generated_tokens": 0, "generation_seconds": 0.0, "seconds": 1.0,
    })
}

fn trained(seconds: f64) -> Value {
    let mut totals = serde_json::to_value(host_eval::report::Totals::default()).unwrap();
    totals["seconds"] = seconds.into();
    totals["total"] = 1.into();
    totals
}

/// After a training under `policy` that ended with `hits` of 10 and `loss`; before and
/// plain fine-tuning are the same for all.
fn report(policy: Option<&str>, hits: usize, loss: f64) -> Value {
    json!({
        "run": "", "policy": policy, "before": evaluation(1, 9.0),
        "baseline": trained(3.0), "baseline_after": evaluation(9, 0.5),
        "trained": trained(6.0), "after": evaluation(hits, loss), "peak_memory": null,
    })
}

fn under(setting: &str, seed: u64) -> String {
    format!(
        "seed = {seed}\noutput = \"{setting}-{seed}\"\n[policy]\npath = \"p.wasm\"\n\
         [policy.settings]\nb_max = {setting}\n"
    )
}

#[test]
fn seeds_of_one_method_are_a_row_with_mean_and_spread() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let runs = [
        run(folder, "a", &under("0.9", 1), report(Some("probe"), 2, 1.0)),
        run(folder, "b", &under("0.9", 2), report(Some("probe"), 4, 2.0)),
        run(folder, "c", &under("0.5", 1), report(Some("probe"), 6, 0.5)),
    ];
    let compared = compare(&runs, None).unwrap();
    assert_eq!(compared.notices, Vec::<String>::new());
    let titles: Vec<String> = compared.methods.iter().map(Method::title).collect();
    let expected = ["before", "plain fine-tuning", "probe, b_max=0.9", "probe, b_max=0.5"];
    assert_eq!(titles, expected);

    let probe = &compared.methods[2];
    assert_eq!((&probe.seeds[..], probe.runs.len()), (&[1, 2][..], 2));
    let attack = &probe.metrics[&Metric::AttackSuccess];
    assert!((attack.mean - 0.3).abs() < 1e-12 && attack.interval.is_none());
    assert!((attack.sd.unwrap() - 0.02f64.sqrt()).abs() < 1e-12);
    assert_eq!(attack.text(Unit::Percent, 2), "30.0 ± 14.1");
    assert_eq!(attack.text(Unit::Percent, 3), "30.0 ± 14.1 (2/3)");
    let unknown = &probe.metrics[&Metric::Judge("a".into(), Judged::Unknown)];
    assert_eq!(unknown.mean, 3.0);

    // One seed keeps the interval over its prompts.
    let single = &compared.methods[3].metrics[&Metric::TaskLoss];
    assert_eq!(single.text(Unit::Number(1), 1), "0.5 [0.4, 0.6]");
    // Counted once per seed, though three runs have it.
    assert_eq!(compared.methods[1].seeds, [1, 2]);
    assert_eq!(compared.methods[1].metrics[&Metric::TrainingSeconds].mean, 3.0);
}

#[test]
fn a_run_without_a_policy_is_the_plain_fine_tuning_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut alone = report(None, 8, 0.6);
    alone["baseline"] = Value::Null;
    alone["baseline_after"] = Value::Null;
    let runs = [
        run(folder, "a", &under("0.9", 1), report(Some("probe"), 2, 1.0)),
        run(folder, "b", "seed = 2\n", alone),
    ];
    let compared = compare(&runs, None).unwrap();
    assert_eq!(compared.methods.len(), 3);
    assert_eq!(compared.methods[1].seeds, [1, 2]);
    let attack = &compared.methods[1].metrics[&Metric::AttackSuccess];
    assert_eq!(attack.values, [0.9, 0.8]);
}

#[test]
fn what_differs_besides_the_seed_parts_methods_and_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let slow = under("0.9", 1) + "[train]\nlearning_rate = 0.001\n";
    let runs = [
        run(folder, "a", &under("0.9", 1), report(Some("probe"), 2, 1.0)),
        run(folder, "b", &slow, report(Some("probe"), 4, 2.0)),
        run(folder, "again", &under("0.9", 1), report(Some("probe"), 2, 1.0)),
    ];
    let compared = compare(&runs, None).unwrap();
    let titles: Vec<String> = compared.methods.iter().map(Method::title).collect();
    let expected = [
        "before",
        "plain fine-tuning, learning_rate=0.0002",
        "plain fine-tuning, learning_rate=0.001",
        "probe, learning_rate=0.0002",
        "probe, learning_rate=0.001",
    ];
    assert_eq!(titles, expected);
    assert_eq!(compared.methods[3].seeds, [1]);
    assert!(compared.notices[0].contains("again is a repetition of"), "{:?}", compared.notices);
}

#[test]
fn a_run_that_has_not_ended_is_told_and_left_out_and_another_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ended = run(folder, "a", &under("0.9", 1), report(Some("probe"), 2, 1.0));
    let begun = run(folder, "b", &under("0.9", 2), report(Some("probe"), 2, 1.0));
    let is_left_out = || {
        let compared = compare(&[ended.clone(), begun.clone()], None).unwrap();
        assert_eq!(compared.methods[2].seeds, [1]);
        assert!(compared.notices[0].contains("has not ended"), "{:?}", compared.notices);
    };
    let mut interrupted = report(Some("probe"), 2, 1.0);
    interrupted["trained"]["ending"] = json!("interrupted");
    std::fs::write(begun.join("report.json"), interrupted.to_string()).unwrap();
    is_left_out();
    std::fs::remove_file(begun.join("report.json")).unwrap();
    is_left_out();

    let error = |runs: &[PathBuf]| compare(runs, None).unwrap_err().to_string();
    assert!(error(&[begun]).contains("no run that has ended"));
    assert!(error(&[folder.into()]).contains("is no folder of a run"));
    std::fs::write(ended.join("report.json"), "{}").unwrap();
    let error = error(&[ended]);
    assert!(error.contains("report.json") && error.contains("can't be read"), "{error}");
}

#[test]
fn every_format_has_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let runs = [
        run(folder, "a", &under("0.9", 1), report(Some("probe"), 2, 1.0)),
        run(folder, "b", &under("0.9", 2), report(Some("probe"), 4, 2.0)),
    ];
    let compared = compare(&runs, None).unwrap();
    let text = |format| compared.to(format).unwrap();
    assert!(text(Format::Text).contains("30.0 ± 14.1"));
    let markdown = text(Format::Markdown);
    assert!(markdown.starts_with("| method") && markdown.contains("| 30.0 ± 14.1 |"), "{markdown}");
    let latex = text(Format::Latex);
    assert!(latex.contains("probe & 2 & 30.0 $\\pm$ 14.1 & "), "{latex}");
    assert!(latex.contains("not refused \\%"), "{latex}");

    let csv = text(Format::Csv);
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let column = |name: &str| rows[0].iter().position(|other| *other == name).unwrap();
    let number = |name: &str| rows[3][column(name)].parse::<f64>().unwrap();
    assert_eq!(rows[3][..2], ["probe", "1 2"]);
    assert!((number("attack_success") - 0.3).abs() < 1e-12);
    assert!((number("judge_a_unknown") - 3.0).abs() < 1e-12);
    assert_eq!(rows[3][column("attack_success_low")], "");

    let json: Value = serde_json::from_str(&text(Format::Json)).unwrap();
    let attack = &json["methods"][2]["metrics"]["attack_success"];
    assert_eq!(attack["values"], json!([0.2, 0.4]));
}

#[test]
fn every_format_says_what_found_the_refusals_and_a_mixture_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let found_by = |judge| {
        let by = RefusalDetector::new(judge, &[]).named();
        let mut report = report(Some("probe"), 2, 1.0);
        for model in ["before", "baseline_after", "after"] {
            report[model]["refusals_by"] = json!(by);
        }
        report
    };
    let classified = run(folder, "a", &under("0.9", 1), found_by(RefusalJudge::Classifier));
    let compared = compare(std::slice::from_ref(&classified), None).unwrap();
    assert_eq!(compared.notices, Vec::<String>::new());
    for format in [Format::Text, Format::Markdown, Format::Latex] {
        let text = compared.to(format).unwrap();
        assert_eq!(text.matches("Refusals by classifier 1: of ").count(), 1, "{text}");
    }
    let csv = compared.to(Format::Csv).unwrap();
    assert!(
        csv.starts_with("method,seeds,runs,refusals_by,refusals_found,false_refusals,"),
        "{csv}"
    );
    assert!(csv.contains(",classifier 1,0.9"), "{csv}");
    let json: Value = serde_json::from_str(&compared.to(Format::Json).unwrap()).unwrap();
    let measured = &json["methods"][2]["refusals_by"][0]["measured"];
    assert!(measured["found"]["share"].as_f64().unwrap() > 0.9, "{json}");

    let listed = run(folder, "b", &under("0.9", 2), found_by(RefusalJudge::Phrases));
    let earlier = run(folder, "c", &under("0.9", 3), report(Some("probe"), 2, 1.0));
    let compared = compare(&[classified, listed, earlier], None).unwrap();
    let notice = compared.notices.join(" ");
    for part in ["an earlier host", "classifier 1", "phrases 1", "don't compare", "--rescore"] {
        assert!(notice.contains(part), "{notice}");
    }
    assert_eq!(compared.footnotes().len(), 3);
}

#[test]
fn formats_have_names_and_endings() {
    assert_eq!(Format::named("latex"), Ok(Format::Latex));
    assert!(Format::named("pdf").unwrap_err().contains("text, markdown, csv"));
    assert_eq!(Format::of_file("a.b.md".as_ref()).unwrap(), Format::Markdown);
    let error = Format::of_file("table".as_ref()).unwrap_err().to_string();
    assert!(error.contains("--output") && error.contains(".tex"), "{error}");
}
