//! `host audit`: of a policy file, or of the journal of a run.

mod run;

use host_trainer::records::Ending;

use crate::arguments::AuditArguments;

pub fn audit(arguments: Box<AuditArguments>) -> anyhow::Result<Ending> {
    match &arguments.run {
        Some(run) => run::audit_run(run, &arguments),
        None => unreachable!("clap asks for --run"),
    }
}
