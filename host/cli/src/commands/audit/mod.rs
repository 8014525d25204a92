//! `host audit`: of a policy file, or of the journal of a run.

mod run;

use crate::arguments::AuditArguments;
use crate::exit::Outcome;

pub fn audit(arguments: Box<AuditArguments>) -> anyhow::Result<Outcome> {
    match &arguments.run {
        Some(run) => run::audit_run(run, &arguments),
        None => unreachable!("clap asks for --run"),
    }
}
