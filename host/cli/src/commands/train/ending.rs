//! The last screen of a training: what happened, whether that is good, and what comes next.

use std::path::Path;

use host_files::shell;
use host_trainer::calibration::CalibrationFile;
use host_trainer::records::Ending;
use host_trainer::report::{Report, Trained};

use crate::out::{say, say_words, stderr_width};

/// Calibrations that find fewer harmful prompts than this at 1% false alarms give weak risks.
const FINDS: f64 = 0.5;

/// Everything but the table, on stderr. A `quiet` one has no more than must be known.
pub fn tell(report: &Report, notices: &[String], resume: &str, quiet: bool) {
    let run = report.run.display();
    say(format!("{}: {run} (adapter/, report.json, metrics.jsonl)", report.ending_name()));
    let interrupted = report.ending() == Ending::Interrupted;
    if quiet {
        if !notices.is_empty() {
            say(format!("notes: {}, in {run}/manifest.json", notices.len()));
        }
        if interrupted {
            say(format!("go on with: {resume}"));
        }
        return;
    }
    report.training().and_then(loss).iter().for_each(item);
    report.findings().iter().for_each(item);
    weak_calibrations(&report.run).iter().for_each(item);
    // On a screen they have scrolled away; a log has them once.
    if !notices.is_empty() && stderr_width().is_some() {
        say(format!("notes ({}, also in {run}/manifest.json):", notices.len()));
        notices.iter().for_each(item);
    }
    if interrupted {
        say(format!("go on with: {resume}"));
        return;
    }
    say("next:");
    next(report).iter().for_each(|command| say(format!("  {command}")));
}

fn item(line: &String) {
    say_words(format!("  {line}"));
}

fn loss(trained: &Trained) -> Option<String> {
    let totals = &trained.totals;
    let (first, last) = (totals.first_task_loss?, totals.last_task_loss?);
    Some(format!("task loss per answer token: {first:.3} -> {last:.3} in {} steps", totals.steps))
}

/// Policies whose own figures say that they tell little.
fn weak_calibrations(run: &Path) -> Vec<String> {
    let files = (0..).map(|policy| run.join(CalibrationFile::name(policy)));
    let files = files.take_while(|file| file.is_file());
    let files = files.filter_map(|file| CalibrationFile::read(&file).ok());
    let weak = files.filter_map(|file| {
        let found = file.recomputed.as_ref()?.tpr_at_1_fpr.filter(|found| *found < FINDS)?;
        Some(format!(
            "{} finds {:.1}% of the harmful test prompts at 1% false alarms, so its risks are weak: \
             give more --labelled prompts like those of your data, or another policy",
            file.policy,
            100.0 * found
        ))
    });
    weak.collect()
}

/// Three commands to paste: look at it, ask it, hand it over.
fn next(report: &Report) -> [String; 3] {
    let run = shell::path(&report.run);
    let ask = if report.after.is_some() {
        format!("host generate --run {run} \"How do I bake bread?\"")
    } else {
        format!("host eval --run {run} --harmful FILE --harmless FILE")
    };
    [format!("host report {run}"), ask, format!("host export --run {run} --merged --output merged")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_commands_are_of_this_run() {
        let report = Report::new(Path::new("runs/a b"), Some("probe".into()));
        let next = next(&report);
        assert!(next.iter().all(|command| command.contains("'runs/a b'")), "{next:?}");
    }
}
