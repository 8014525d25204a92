//! What was found, for people.

use std::collections::BTreeMap;

use host_files::{Page, text};

use super::{Check, Duplicates, FileCheck, Overlap};

/// Keys that are named on a line.
const MOST_KEYS: usize = 12;

impl Check {
    /// As lines.
    pub fn page(&self) -> Page {
        let mut page = Page::default();
        for file in &self.files {
            file.add_to(&mut page, self.limit);
            page.line("");
        }
        for overlap in &self.against {
            overlap.add_to(&mut page);
        }
        match &self.refused {
            None => page.line("a training would take these files"),
            Some(why) => page.line(format!("a training would refuse: {why}")),
        }
        page
    }
}

impl FileCheck {
    fn add_to(&self, page: &mut Page, limit: usize) {
        page.line(&self.file);
        let mut row = |name: &str, what: String| page.line(format!("  {name:<14} {what}"));
        if let Some(problem) = &self.problem {
            row("problem", problem.clone());
            return;
        }
        if let Some(content) = &self.content {
            let packed =
                content.packing.map(|it| format!(", packed with {it}")).unwrap_or_default();
            row("format", format!("{}{packed}, {} bytes", content.format, content.bytes));
            row("sha256", content.sha256.clone());
            row("shape", content.shape.clone());
        }
        row("rows", format!("{}, of which {} can be learned", self.rows, self.usable));
        if let Some(left_out) = &self.left_out {
            row("left out", format!("{} rows; the first:", left_out.rows));
            left_out.reasons.iter().for_each(|reason| row("", reason.clone()));
        }
        if let Some(it) = self.tokens {
            row(
                "tokens",
                format!("min {}, median {}, p95 {}, max {}", it.min, it.median, it.p95, it.max),
            );
        }
        row("over-long", format!("{} rows with more than {limit} tokens", self.over_limit));
        let share = 100.0 * self.share;
        row("answer tokens", format!("{}, {share:.1} % of all files'", self.answer_tokens));
        row("duplicates", self.duplicates.told());
        if !self.ignored.is_empty() {
            row("ignored keys", counted(&self.ignored, self.rows));
        }
        if !self.not_rendered.is_empty() {
            row("not rendered", counted(&self.not_rendered, self.rows));
        }
        for example in &self.examples {
            page.line("");
            page.lines(example.lines().map(|line| format!("  {line}")));
        }
    }
}

impl Duplicates {
    fn told(&self) -> String {
        let near = match self.near {
            Some(near) => format!("{near} near ones"),
            None => "near ones not looked for: too many rows, or too many that are alike".into(),
        };
        format!("{} the same, {near}{}", self.same, pairs(&self.first))
    }
}

impl Overlap {
    fn add_to(&self, page: &mut Page) {
        let Self { file, set, same, near, first } = self;
        let pairs = pairs(first);
        page.line(format!(
            "{file} and {set}: {same} rows ask the same, {near} nearly the same{pairs}"
        ));
    }
}

fn pairs(pairs: &[(usize, usize)]) -> String {
    let named: Vec<String> = pairs.iter().map(|(one, two)| format!("{one} and {two}")).collect();
    if named.is_empty() { String::new() } else { format!(" (first: {})", named.join(", ")) }
}

fn counted(keys: &BTreeMap<String, usize>, rows: usize) -> String {
    let named = keys.iter().take(MOST_KEYS).map(|(key, count)| {
        let key = text::brief(key, 120);
        format!("`{key}` in {count} of {rows} rows")
    });
    let more = keys.len().saturating_sub(MOST_KEYS);
    named.chain((more > 0).then(|| format!("{more} more"))).collect::<Vec<_>>().join(", ")
}
