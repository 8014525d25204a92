//! Several runs and studies, and the pages and plots of `host compare`.

use crate::program::{json, plugin, run, trained};
use crate::report::{is_inert, page, run_report, told};

/// Whether every element ends where it must, and no text is markup: what a reader of XML asks.
fn is_well_formed(xml: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml.trim();
    while let Some(at) = rest.find('<') {
        entities(&rest[..at])?;
        let end = rest[at..].find('>').ok_or("an element has no end")? + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("{name} ends and did not begin"));
            }
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        let quotes = tag.matches('"').count();
        if !quotes.is_multiple_of(2) || quotes / 2 != tag.matches("=\"").count() {
            return Err(format!("attributes of {tag}"));
        }
        entities(tag)?;
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    if open.is_empty() && rest.trim().is_empty() { Ok(()) } else { Err(format!("{open:?} {rest}")) }
}

fn entities(text: &str) -> Result<(), String> {
    let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
    let all = text.split('&').skip(1).all(|rest| known.iter().any(|one| rest.starts_with(one)));
    if all && !text.contains('\0') { Ok(()) } else { Err(format!("entities of {text}")) }
}

#[test]
fn several_runs_are_one_page_and_compare_writes_pages_and_plots() {
    let folder = tempfile::tempdir().unwrap();
    for (name, policy, seed) in [("a", "sft.wasm", "1"), ("b", "fixed-kl.wasm", "1")] {
        let train = [
            "train",
            "--quiet",
            "--no-baseline",
            "--eval-limit",
            "8",
            "--steps",
            "4",
            "--policy",
            &plugin(policy),
            "--seed",
            seed,
            "--output",
            name,
        ];
        let output = run(folder.path(), &train);
        assert!(output.status.success(), "{}", told(&output));
    }
    let shown = page(folder.path(), &["a", "b"]);
    // Without parts to jump to, there is the link to the content alone.
    is_inert(&shown);
    for part in [
        "2 runs, 3 methods",
        "Task loss",
        "KL to the reference",
        "Attack success over the task",
        "Paired by prompt",
        "Finished: 4 of 4",
    ] {
        assert!(shown.contains(part), "{part}");
    }

    let output = run(folder.path(), &["compare", "a", "b", "-o", "c.html", "-o", "c.svg"]);
    assert!(output.status.success(), "{}", told(&output));
    let shown = std::fs::read_to_string(folder.path().join("c.html")).unwrap();
    is_inert(&shown);
    assert!(shown.contains("not refused %") && shown.contains("<svg"));
    let svg = std::fs::read_to_string(folder.path().join("c.svg")).unwrap();
    is_well_formed(&svg).unwrap();
    assert!(
        svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && svg.contains("fixed-kl"),
        "{svg}"
    );
    assert!(
        svg.contains("before training") && svg.contains("harmful requests answered, %"),
        "{svg}"
    );

    // Nothing to plot is told.
    trained(&folder, "bare", &["--policy", &plugin("sft.wasm"), "--steps", "1"]);
    let output = run(folder.path(), &["compare", "bare", "-o", "d.svg"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("nothing to plot"), "{}", told(&output));
    let output = run(folder.path(), &["compare", "bare", "-o", "d.pdf"]);
    assert!(told(&output).contains(".html, .svg"), "{}", told(&output));
}

#[test]
fn a_study_is_one_page_with_its_tables_and_plots() {
    let folder = tempfile::tempdir().unwrap();
    let grid = [
        "study",
        "--out",
        "study",
        "--attacks",
        "harmless,30%",
        "--policies",
        "sft,probe",
        "--seeds",
        "17",
    ];
    let output = run(folder.path(), &grid);
    assert!(output.status.success(), "{}", told(&output));
    let shown = page(folder.path(), &["study"]);
    is_inert(&shown);
    let summary = json(&folder.path().join("study/summary.json"));
    for group in summary["groups"].as_array().unwrap() {
        let share = group["measured"]["attack_success"]["mean"].as_f64().unwrap();
        assert!(shown.contains(&format!("<b>{:.1}%</b>", 100.0 * share)), "{share}");
    }
    for part in [
        "30%, learning rate 3e-3",
        "Paired with plain fine-tuning",
        "Over the attacks",
        "Attack success over the task",
        "left out",
    ] {
        assert!(shown.contains(part), "{part}");
    }
    for plot in folder.path().join("study/plots").read_dir().unwrap() {
        let svg = std::fs::read_to_string(plot.unwrap().path()).unwrap();
        is_well_formed(&svg).unwrap();
    }
    std::fs::write(folder.path().join("study/summary.json"), "{").unwrap();
    let output = run_report(folder.path(), &["study"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("host study --out study"), "{}", told(&output));
}
