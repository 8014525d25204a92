//! `host doctor`: what this machine, its folders and its network give a training.

mod files;
mod machine;
mod reach;

use clap::Args;
use host_files::Page;
use host_trainer::records::Ending;
use serde::Serialize;

use crate::exit::Failed;
use crate::flags::ConfigFlags;
use crate::out::print;

/// Check what a training needs of this machine: processor, memory, GPU, sandbox, folders, keys and,
/// if asked to, the network.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Also ask the Hub, and try out the judges that the configuration names.
    #[arg(long)]
    pub online: bool,
    #[command(flatten)]
    pub config: ConfigFlags,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    /// What was looked at.
    name: &'static str,
    state: State,
    /// What there is.
    found: String,
    /// What to do, where something is amiss or could be better.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Ok,
    /// Works, and not as well as it could.
    Note,
    /// Something that a training needs fails.
    Problem,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), remedy: None }
    }

    fn note(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Note, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn problem(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Problem, found: found.into(), remedy: Some(remedy.into()) }
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let mut checks = machine::checks();
    checks.extend(files::checks());
    checks.extend(reach::checks(arguments)?);
    print(arguments.config.json, &checks, |_| page(&checks))?;
    match checks.iter().filter(|check| check.state == State::Problem).count() {
        0 => Ok(Ending::Finished),
        1 => Err(Failed::Run("1 check found a problem; the list says what to do".into()).into()),
        many => {
            let problem = format!("{many} checks found problems; the list says what to do");
            Err(Failed::Run(problem).into())
        }
    }
}

fn page(checks: &[Check]) -> Page {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut page = Page::default();
    for Check { name, state, found, remedy } in checks {
        let mark = match state {
            State::Ok => "ok     ",
            State::Note => "note   ",
            State::Problem => "PROBLEM",
        };
        page.line(format!("{mark}  {name:width$}  {found}"));
        page.lines(remedy.iter().map(|remedy| format!("{:9}{:width$}  -> {remedy}", "", "")));
    }
    page
}
