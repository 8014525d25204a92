//! The report for a terminal: the verdict first, then what it rests on.

use host_audit::{
    checks::{Audit, Finding, Group, Verdict},
    coverage::{Coverage, Reached, Unreached},
    inspect::{Inspection, Memory, Setting, Structure},
};
use host_files::{Page, text};

const WIDTH: usize = 100;
/// Before the text of a finding, whose verdict stands in front of it.
const INDENT: &str = "        ";

pub fn report(audit: &Audit) -> Page {
    let mut out = Page::default();
    let outcome = if audit.passed { "NO CHECK FAILED" } else { "FAILED" };
    let about = &audit.inspection;
    out.line(format!("{outcome}  {} {}  {}", about.name, about.version, about.file));
    out.line(format!("sha256  {}", about.sha256));
    out.line(format!("{}, in {:.1} s", counts(audit), audit.time.as_secs_f64()));
    out.line("");
    out.append(&inspection(about));
    out.line("");
    out.line("Audited with");
    line(&mut out, "settings", &audit.settings.to_string());
    line(&mut out, "model", &model(audit));
    line(&mut out, "parameters", &audit.parameters);
    let mut group = None;
    for finding in &audit.findings {
        if group.replace(finding.group) != Some(finding.group) {
            out.line("");
            out.line(finding.group.title());
        }
        write_finding(&mut out, finding);
    }
    out.line("");
    out.line("Code that was reached");
    coverage(&mut out, &audit.coverage);
    out.line("");
    out.line("What this says");
    line(&mut out, "tried", &tried(audit));
    line(&mut out, "unknown", UNKNOWN);
    out
}

/// Functions that are listed with what was not reached of them.
const LISTED: usize = 12;
/// Blocks that are named of each.
const BLOCKS: usize = 6;

fn coverage(out: &mut Page, coverage: &Coverage) {
    match coverage {
        Coverage::Unknown { problem } => line(out, "unknown", problem),
        Coverage::Measured(reached) => {
            line(out, "reached", &share(reached));
            list(out, "not reached", &unreached(reached, LISTED), "nothing");
        }
    }
}

/// How much of the code was reached.
pub fn share(reached: &Reached) -> String {
    let Reached { blocks, reached_blocks, functions, called_functions, .. } = reached;
    let percent = 100.0 * *reached_blocks as f64 / (*blocks).max(1) as f64;
    format!(
        "{reached_blocks} of {blocks} blocks ({percent:.0}%), in {called_functions} of {functions} \
         functions"
    )
}

/// What was not reached: a line for each of the first functions, and one that counts the others.
pub fn unreached(reached: &Reached, most: usize) -> Vec<String> {
    let (listed, others) = reached.unreached.split_at(reached.unreached.len().min(most));
    let mut lines: Vec<String> = listed.iter().map(function).collect();
    if !others.is_empty() {
        let never = others.iter().filter(|one| !one.called).count();
        let part = others.len() - never;
        lines
            .push(format!("and of {part} functions parts, of {never} everything (--json has all)"));
    }
    lines
}

fn function(one: &Unreached) -> String {
    if !one.called {
        return format!("{}: never called ({} blocks)", one.function, one.blocks);
    }
    let named = one.unreached.iter().take(BLOCKS);
    let mut named: Vec<String> =
        named.map(|block| format!("{} at byte {}", block.number, block.byte)).collect();
    if one.unreached.len() > BLOCKS {
        named.push("...".to_owned());
    }
    let (missed, of) = (one.unreached.len(), one.blocks);
    format!("{}: {missed} of {of} blocks ({})", one.function, named.join(", "))
}

/// What no audit can know, whatever it finds.
pub const UNKNOWN: &str = "signals that were not tried, and so whether it knows an audit when it sees \
                           one. Rules of the run bind it in any case: [trust] require, such as \
                           \"kl_weight >= 0.5 * risk\".";

/// What the findings rest on.
pub fn tried(audit: &Audit) -> String {
    let seed = audit.seed;
    let recorded = audit.findings.iter().any(|one| one.group == Group::Recorded);
    let runs = if recorded {
        "and the recorded signals of the runs that were named"
    } else {
        "and no recorded signals (--run DIR asks about those of real runs)"
    };
    format!("synthetic signals of seed {seed} (--seed {seed} repeats this audit), {runs}")
}

/// What the file is and says, without any verdict.
pub fn inspection(about: &Inspection) -> Page {
    let mut out = Page::default();
    out.line(format!("{} {}", about.name, about.version));
    line(&mut out, "summary", &about.summary);
    line(&mut out, "file", &format!("{}, {} bytes", about.file, about.bytes));
    line(&mut out, "sha256", &about.sha256);
    line(&mut out, "signature", &about.signature.to_string());
    line(&mut out, "interface", about.interface);
    structure(&mut out, &about.structure);
    list(&mut out, "asks for", &about.needs, "nothing");
    list(&mut out, "may steer", &about.actuators, "loss weights and actions only");
    let settings: Vec<String> = about.settings.iter().map(setting).collect();
    list(&mut out, "settings", &settings, "none");
    out
}

pub fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Note => "note",
        Verdict::Fail => "FAIL",
        Verdict::NotApplicable => "-",
    }
}

/// Such as `18 checks passed, 1 note, 0 failed, 4 not applicable`.
pub fn counts(audit: &Audit) -> String {
    let of = |verdict| {
        let findings = audit.findings.iter();
        findings.filter(|finding| finding.verdict == verdict).count()
    };
    let notes = of(Verdict::Note);
    format!(
        "{} checks passed, {notes} {}, {} failed, {} not applicable",
        of(Verdict::Pass),
        if notes == 1 { "note" } else { "notes" },
        of(Verdict::Fail),
        of(Verdict::NotApplicable)
    )
}

pub fn model(audit: &Audit) -> String {
    let run = &audit.run;
    let judges = if run.judges.is_empty() {
        "no judges".to_owned()
    } else {
        format!("judges {}", run.judges.join(", "))
    };
    format!(
        "{} layers, width {}, vocabulary {}, {} samples a step, {} steps, seed {}, {judges}",
        run.layers, run.hidden, run.vocabulary, run.samples_per_step, run.total_steps, run.seed
    )
}

fn write_finding(out: &mut Page, finding: &Finding) {
    let verdict = verdict_word(finding.verdict);
    out.line(format!("  {verdict:<6}{} [{}]", finding.title, finding.id));
    for text in [&finding.measured, &finding.meaning] {
        if text != "-" {
            out.lines(hanging(text, INDENT, INDENT));
        }
    }
}

fn structure(out: &mut Page, s: &Structure) {
    let imports = if s.imports.is_empty() {
        "none: it can only compute".to_owned()
    } else {
        s.imports.join(", ")
    };
    line(out, "imports", &imports);
    line(out, "exports", &s.exports.join(", "));
    line(
        out,
        "code",
        &format!(
            "{} core modules, {} functions, {} bytes (largest {}), {} bytes of \
             data, {} run at start",
            s.core_modules,
            s.functions,
            s.code_bytes,
            s.largest_function_bytes,
            s.data_bytes,
            s.start_functions
        ),
    );
    let memories: Vec<String> = s.memories.iter().map(memory).collect();
    list(out, "memories", &memories, "none");
    let tables = s.tables.iter().map(|table| match table.maximum {
        Some(maximum) => format!("{} elements, at most {maximum}", table.elements),
        None => format!("{} elements, no maximum of its own", table.elements),
    });
    list(out, "tables", &tables.collect::<Vec<_>>(), "none");
    let producers = s.producers.iter();
    let producers = producers.map(|one| format!("{} {} {}", one.field, one.name, one.version));
    list(out, "made with", &producers.collect::<Vec<_>>(), "it does not say");
    let custom = s.custom_sections.iter();
    let custom = custom.map(|one| format!("{} ({} bytes)", one.name, one.bytes));
    let custom: Vec<String> = custom.collect();
    let custom = if custom.is_empty() { "none".to_owned() } else { custom.join(", ") };
    line(out, "custom", &custom);
}

fn memory(memory: &Memory) -> String {
    let kib = |pages: u64| pages * 64;
    match memory.maximum {
        Some(maximum) => format!("{} KiB, at most {} KiB", kib(memory.pages), kib(maximum)),
        None => format!("{} KiB, no maximum of its own", kib(memory.pages)),
    }
}

fn setting(setting: &Setting) -> String {
    let default = match &setting.default {
        Some(value) => format!(" = {value}"),
        None => String::new(),
    };
    let text = format!("{}{default} ({})", setting.name, setting.accepts);
    if setting.description.is_empty() { text } else { format!("{text}: {}", setting.description) }
}

fn line(out: &mut Page, name: &str, text: &str) {
    let first = format!("  {name:<12}");
    out.lines(hanging(text, &first, &" ".repeat(14)));
}

fn list(out: &mut Page, name: &str, lines: &[String], none: &str) {
    if lines.is_empty() {
        return line(out, name, none);
    }
    for (number, text) in lines.iter().enumerate() {
        line(out, if number == 0 { name } else { "" }, text);
    }
}

/// The lines of a text. A line break of its own begins none of them.
fn hanging(words: &str, first: &str, rest: &str) -> Vec<String> {
    let options = textwrap::Options::new(WIDTH)
        // Names stay in one piece.
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .initial_indent(first)
        .subsequent_indent(rest);
    let words = text::line(words);
    textwrap::wrap(&words, options).into_iter().map(std::borrow::Cow::into_owned).collect()
}
