use anyhow::bail;
use clap::Args;
use host_files::Page;
use host_trainer::records::Ending;

use crate::out::print_page;

/// The guide's page, a section per topic.
const PAGE: &str = include_str!("../../../../docs/guide/errors.md");

/// Explain a kind of error, or an exit code: what it means, usual causes, and what to do.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Topic or exit code; without one, the topics are listed.
    pub topic: Option<String>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let Some(asked) = arguments.topic.as_deref() else {
        let width = topics().map(|(name, _)| name.len()).max().unwrap_or(0);
        let line = |(name, text): (&str, &str)| format!("{name:width$}  {}", first(text));
        print_page(&topics().map(line).collect::<Page>())?;
        return Ok(Ending::Finished);
    };
    let names = of_code(asked).unwrap_or_else(|| vec![asked]);
    let known: Vec<&str> = topics().map(|(name, _)| name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        bail!(
            "{unknown} is no topic and no exit code; host explain lists them: {}",
            known.join(", ")
        );
    }
    let found = topics().filter(|(name, _)| names.contains(name));
    let mut page = Page::default();
    for (name, text) in found {
        page.line(name);
        // A paragraph is one line, which ends where the terminal does.
        page.lines(text.split("\n\n").flat_map(|part| [String::new(), paragraph(part)]));
        page.line("");
    }
    print_page(&page)?;
    Ok(Ending::Finished)
}

/// Names and texts of the sections.
fn topics() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.split("\n## ").skip(1).filter_map(|section| {
        let (name, text) = section.split_once('\n')?;
        Some((name.trim(), text.trim()))
    })
}

/// On one line, with links as a reader of plain text follows them.
fn paragraph(text: &str) -> String {
    let text = text.replace('\n', " ");
    let mut parts = text.split("](");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (file, rest) = part.split_once(')').unwrap_or((part, ""));
        if let Some(at) = plain.rfind('[') {
            plain.remove(at);
        }
        plain += &format!(" (docs/guide/{file}){rest}");
    }
    plain
}

fn first(text: &str) -> String {
    paragraph(text.split("\n\n").next().unwrap_or_default())
}

/// The topics of an exit code, from the page's table.
fn of_code(code: &str) -> Option<Vec<&'static str>> {
    let row = PAGE.lines().find_map(|line| line.strip_prefix(&format!("| {code} | ")))?;
    Some(
        row.trim_end_matches('|')
            .split(',')
            .map(str::trim)
            .filter(|name| *name != "success")
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::TOPICS;

    #[test]
    fn links_are_names_of_files() {
        let plain = paragraph("[Audit](audit.md) lists\nthem; [a](b.md), [1]");
        assert_eq!(plain, "Audit (docs/guide/audit.md) lists them; a (docs/guide/b.md), [1]");
    }

    #[test]
    fn every_topic_of_an_error_and_every_exit_code_is_explained() {
        let known: Vec<&str> = topics().map(|(name, _)| name).collect();
        assert!(TOPICS.iter().all(|topic| known.contains(topic)), "{known:?}");
        for code in ["1", "2", "3", "4", "5", "130"] {
            let names = of_code(code).unwrap_or_default();
            assert!(!names.is_empty() && names.iter().all(|name| known.contains(name)), "{code}");
        }
        let listed = ["1", "2", "3", "4", "5", "130"].map(|code| of_code(code).unwrap_or_default());
        assert_eq!(listed.concat().len(), known.len(), "a topic without an exit code");
    }
}
