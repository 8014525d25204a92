//! After a run has ended: its journal.

use std::path::Path;

use host_trainer::records::Ending;

use crate::arguments::AuditArguments;

pub fn audit(folder: &Path, _arguments: &AuditArguments) -> anyhow::Result<Ending> {
    anyhow::bail!("{}: this host can't audit runs yet", folder.display())
}
