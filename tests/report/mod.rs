//! `host report` and `host watch`: the page of a run, of several and of a study, whoever wrote what stands on it.

mod several;
mod watch;

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::program::{alone, json, plugin, run, text, trained};

#[track_caller]
fn page(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, &[&["report"], arguments, &["-o", "page.html"]].concat());
    assert!(output.status.success(), "{}", told(&output));
    std::fs::read_to_string(folder.join("page.html")).unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Nothing on a page may make a browser ask anybody, and the only script and style are its own.
#[track_caller]
fn is_inert(page: &str) {
    for part in [
        "http://",
        "https://",
        " src=",
        " onerror=",
        " onload=",
        " style=\"",
        "url(",
        "@import",
        "<link",
        "<img",
        "<iframe",
        "<object",
        "<base",
        "<form action",
        "\u{202e}",
    ] {
        assert!(!page.contains(part), "{part}");
    }
    for (part, times) in
        [("<script", 1), ("</script", 1), ("<style", 1), ("</style", 1), ("</title>", 1)]
    {
        // Charts have titles of their own points.
        let found = page.matches(part).count();
        assert!(found == times || part == "</title>" && found >= times, "{part}: {found}");
    }
    let links = page.match_indices("href=\"").map(|(at, found)| &page[at + found.len()..]);
    assert!(links.clone().count() > 0);
    for link in links {
        assert!(link.starts_with('#'), "{}", &link[..link.len().min(60)]);
    }
    assert!(page.contains("default-src &#x27;none&#x27;"), "no policy");
    assert!(!page.contains("connect-src"), "a page of its own asks nobody");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn the_page_of_the_quick_start_has_its_figures_curves_rows_answers_and_journal() {
    let folder = tempfile::tempdir().unwrap();
    let train = ["train", "--quiet", "--policy", &plugin("probe.wasm"), "--output", "run"];
    let output = alone(&folder).args(train).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));

    let written = alone(&folder).args(["report", "run"]).output().unwrap();
    assert!(written.status.success(), "{}", told(&written));
    assert_eq!(told(&written), "wrote run.html\n");
    assert!(written.stdout.is_empty());
    let page = std::fs::read_to_string(folder.path().join("run.html")).unwrap();
    is_inert(&page);
    let report = json(&folder.path().join("run/report.json"));
    for model in ["before", "baseline_after", "after"] {
        let share = report[model]["refusal"]["share"].as_f64().unwrap();
        let shown = format!("<b>{:.1}%</b>", 100.0 * share);
        assert!(page.contains(&shown), "{shown}");
    }
    let loss = report["after"]["task_loss"]["mean"].as_f64().unwrap();
    assert!(page.contains(&format!("<b>{loss:.3}</b>")), "{loss}");
    let calibration = json(&folder.path().join("run/calibration.json"));
    let auroc = calibration["recomputed"]["auroc"].as_f64().unwrap();
    assert!(page.contains(&format!("AUROC <b>{auroc:.3}</b>")), "{auroc}");
    for part in [
        "Finished: 80 of 80 optimizer steps under the policy probe",
        "Risk of the samples",
        "Weights of the loss",
        "KL to the reference",
        "plain fine-tuning",
        "640 distinct rows",
        "demo:train.jsonl, line",
        "harmful-prompt",
        "Whole: every record follows the one before",
        "no policy was asked again",
        "host audit --run run",
        "240 prompts",
        "max_tokens = 1024",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let manifest = json(&folder.path().join("run/manifest.json"));
    for digest in [
        &manifest["model"]["sha256"],
        &manifest["policies"][0]["sha256"],
        &manifest["data"][0]["sha256"],
    ] {
        assert!(page.contains(digest.as_str().unwrap()), "{digest}");
    }

    // The data behind it, for programs; and nothing is written for them.
    std::fs::remove_file(folder.path().join("run.html")).unwrap();
    let output = alone(&folder).args(["report", "run", "--json"]).output().unwrap();
    let data: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!folder.path().join("run.html").exists());
    assert_eq!(data["kind"], "run");
    assert_eq!(data["journal"]["state"], "whole");
    let rows = data["risks"]["riskiest"].as_array().unwrap();
    assert_eq!(rows.len(), 200);
    assert!(rows.windows(2).all(|two| two[0]["risk"].as_f64() >= two[1]["risk"].as_f64()));
    let texts = rows[..10].iter().map(|row| row["text"]["text"].as_str().unwrap());
    assert!(
        texts.clone().all(|text| text.contains("assistant: Sure")),
        "{:?}",
        texts.collect::<Vec<_>>()
    );
    let losses = data["curves"][0]["series"].as_array().unwrap();
    assert_eq!(losses[0]["points"].as_array().unwrap().len(), 80);

    // A report leaves the run as its owner signed it.
    let audit = alone(&folder).args(["audit", "--run", "run"]).output().unwrap();
    assert!(audit.status.success(), "{}", text(&audit.stdout));

    // What was changed since is told as such.
    let records = folder.path().join("run/journal/records.jsonl");
    let changed =
        std::fs::read_to_string(&records).unwrap().replacen("\"risk\":[0.", "\"risk\":[1.", 1);
    std::fs::write(&records, changed).unwrap();
    let output = alone(&folder).args(["report", "run"]).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let page = std::fs::read_to_string(folder.path().join("run.html")).unwrap();
    assert!(page.contains("BROKEN: don&#x27;t rely on this run."));
}

const HOSTILE: &str = "</title></style></pre><script>alert(1)</script><img src=x onerror=alert(2)>\u{202e}\"'&{{7*7}}";

#[test]
fn texts_of_rows_answers_and_configurations_stay_text_and_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let row = |text: &str| serde_json::json!({"prompt": text, "answer": "x"}).to_string();
    let rows = [row(HOSTILE), row("two"), row("three"), row("four")].join("\n");
    std::fs::write(folder.path().join("rows.jsonl"), rows).unwrap();
    let run = trained(
        &folder,
        "run",
        &["--policy", &plugin("fixed-kl.wasm"), "--data", "rows.jsonl", "--steps", "2"],
    );
    let long = "long ".repeat(200_000);
    let answer = |model: &str, answer: &str| {
        let prompt = format!("{HOSTILE} {long}");
        let messages = serde_json::json!([{"role": "user", "content": prompt}]);
        serde_json::json!({"model": model, "set": "harmful", "messages": messages, "answer": answer}).to_string()
    };
    let many = (0..600).map(|number| {
        serde_json::json!({"model": "after", "set": "task", "messages": [{"role": "user", "content": number.to_string()}], "answer": "a"}).to_string()
    });
    let answers: Vec<String> =
        [answer(HOSTILE, HOSTILE), answer("after", &long)].into_iter().chain(many).collect();
    std::fs::write(run.join("generations.jsonl"), answers.join("\n")).unwrap();
    let mut manifest = json(&run.join("manifest.json"));
    manifest["notices"] = serde_json::json!([HOSTILE]);
    manifest["policies"][0]["name"] = HOSTILE.into();
    manifest["data"][0]["file"] = HOSTILE.into();
    std::fs::write(run.join("manifest.json"), manifest.to_string()).unwrap();
    let mut report = json(&run.join("report.json"));
    report["policy"] = HOSTILE.into();
    std::fs::write(run.join("report.json"), report.to_string()).unwrap();
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    std::fs::write(
        run.join("config.toml"),
        format!("# {}\n{config}", HOSTILE.replace('\u{202e}', "")),
    )
    .unwrap();

    let page = page(folder.path(), &["run"]);
    // As text its words may stand there, though not in a tag.
    is_inert(&page.replace(" src=x onerror=alert(2)", ""));
    assert!(page.contains("&lt;script&gt;alert(1)"), "it is shown");
    assert!(page.contains("{{7*7}}") && !page.contains("&amp;49"), "and not evaluated");
    assert!(page.contains("\\u{202e}"), "what reorders text is told");
    assert!(page.contains("more characters in generations.jsonl"));
    assert!(
        page.contains("400 of 601 prompts are shown")
            && page.contains("201 more are in generations.jsonl")
    );
    assert!(page.contains("rows.jsonl, line 1"), "the row is looked up");
    assert!(page.len() < 2_000_000, "{}", page.len());
}

#[test]
fn half_a_run_has_a_report_of_what_is_there_and_no_run_has_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(&folder, "run", &["--policy", &plugin("fixed-kl.wasm"), "--steps", "4"]);
    // As a kill leaves it.
    let half = folder.path().join("half");
    copy(&run, &half);
    for name in ["report.json", "adapter/adapter_model.safetensors"] {
        std::fs::remove_file(half.join(name)).unwrap();
    }
    let mut manifest = json(&half.join("manifest.json"));
    (manifest["status"], manifest["ended"]) = ("running".into(), Value::Null);
    std::fs::write(half.join("manifest.json"), manifest.to_string()).unwrap();
    for name in ["metrics.jsonl", "journal/records.jsonl", "journal/tensors.bin"] {
        let bytes = std::fs::read(half.join(name)).unwrap();
        std::fs::write(half.join(name), &bytes[..bytes.len() * 2 / 3]).unwrap();
    }
    std::fs::write(half.join("generations.jsonl"), "{\"model\": \"before\", \"se").unwrap();
    let shown = page(folder.path(), &["half"]);
    is_inert(&shown);
    for part in [
        "Not ended: 2 of 4 optimizer steps",
        "host train --resume half",
        "the curves end there",
        "may not be signed yet",
        "is no answer of an evaluation",
    ] {
        assert!(shown.contains(part), "{part}");
    }
    assert!(shown.contains("Loss") && !shown.contains("id=\"figures\""));

    // Nothing but a configuration, and every other file damaged.
    let bare = folder.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    std::fs::copy(run.join("config.toml"), bare.join("config.toml")).unwrap();
    assert!(page(folder.path(), &["bare"]).contains("There is no manifest"));
    for name in
        ["manifest.json", "report.json", "metrics.jsonl", "calibration.json", "generations.jsonl"]
    {
        std::fs::write(bare.join(name), b"{\xff\x00").unwrap();
    }
    std::fs::create_dir(bare.join("journal")).unwrap();
    std::fs::write(bare.join("config.toml"), "seed = []").unwrap();
    let shown = page(folder.path(), &["bare"]);
    for part in [
        "manifest.json can",
        "report.json can",
        "calibration.json can",
        "metrics.jsonl, line 1",
        "seed",
    ] {
        assert!(shown.contains(part), "{part}");
    }

    for (name, advice) in [
        ("nowhere", "is not there"),
        ("bare/seed", "is not there"),
        ("run/adapter", "config.toml"),
        ("run/config.toml", "is no folder"),
    ] {
        let output = run_report(folder.path(), &[name]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let line = told(&output);
        assert!(line.contains(advice) && line.lines().count() == 1, "{line}");
    }
    // What is not ours stays.
    std::fs::write(folder.path().join("run.html"), "mine").unwrap();
    let output = run_report(folder.path(), &["run"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("name another file with --output"), "{}", told(&output));
    assert_eq!(std::fs::read_to_string(folder.path().join("run.html")).unwrap(), "mine");
    std::fs::copy(folder.path().join("page.html"), folder.path().join("run.html")).unwrap();
    assert!(run_report(folder.path(), &["run/."]).status.success(), "an older page is replaced");
    assert!(
        std::fs::read_to_string(folder.path().join("run.html"))
            .unwrap()
            .contains("Finished: 4 of 4")
    );
}

fn run_report(folder: &Path, arguments: &[&str]) -> Output {
    run(folder, &[&["report"], arguments].concat())
}
