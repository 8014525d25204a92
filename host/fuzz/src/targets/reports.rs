//! What a report reads of the folder of a run, and of that of a study.

use host_report::{Options, Refresh, read};

use crate::place;

/// Files of a run in this order, with a NUL between them, as a page.
const RUN: [&str; 5] =
    ["metrics.jsonl", "report.json", "manifest.json", "generations.jsonl", "calibration.json"];

/// The page of a run, and that of a study whose summary has the bytes of the report.
pub fn report(input: &[u8]) {
    let mut parts = input.split(|byte| *byte == 0);
    let config = place::file("report-run/config.toml", b"");
    for name in RUN {
        place::file(&format!("report-run/{name}"), parts.next().unwrap_or_default());
    }
    place::file("report-study/study.json", b"{}");
    let study = place::file("report-study/summary.json", input);
    for folder in [config.parent(), study.parent()].into_iter().flatten() {
        if let Ok(report) = read(&[folder.to_owned()], &Options::default()) {
            let page =
                report.page(Refresh::Never).expect("a page can be made of whatever was read");
            assert_eq!(page.matches("<script").count(), 1, "a text became markup");
        }
    }
}
