//! The report as a page of its own: no script, nothing loaded from elsewhere.

use anyhow::Context as _;
use host_audit::checks::Audit;
use host_audit::coverage::Coverage;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};

use host_files::text;

use super::text::{UNKNOWN, counts, model, share, tried, unreached, verdict_word};

/// Escaped by its ending: whatever a policy says of itself stays text.
const NAME: &str = "page.html";
const TEMPLATE: &str = include_str!("page.html");
/// Functions that are listed with what was not reached of them.
const LISTED: usize = 40;

pub fn page(audit: &Audit) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.add_template(NAME, TEMPLATE).context("the page of the report")?;
    let mut groups: Vec<(&str, Vec<Value>)> = Vec::new();
    for finding in &audit.findings {
        let shown = context! {
            word => verdict_word(finding.verdict),
            ..Value::from(Serde(finding))
        };
        match groups.last_mut() {
            Some((title, findings)) if *title == finding.group.title() => findings.push(shown),
            _ => groups.push((finding.group.title(), vec![shown])),
        }
    }
    let (share, unreached) = match &audit.coverage {
        Coverage::Measured(reached) => (share(reached), unreached(reached, LISTED)),
        Coverage::Unknown { problem } => (format!("unknown: {problem}"), Vec::new()),
    };
    let template = environment.get_template(NAME)?;
    let page = template.render(context! {
        audit => Serde(audit),
        signature => audit.inspection.signature.to_string(),
        settings => audit.settings.to_string(),
        counts => counts(audit),
        tried => tried(audit),
        unknown => UNKNOWN,
        model => model(audit),
        groups => groups,
        share => share,
        unreached => unreached,
    });
    // A browser obeys overrides of direction, too.
    Ok(text::block(&page.context("the page of the report")?).into_owned())
}
