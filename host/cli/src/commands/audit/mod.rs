mod file;
mod page;
mod run;
mod text;

pub use run::{calibrated, journal_folder};
pub use text::inspection;

use host_trainer::records::Ending;

use crate::arguments::AuditArguments;

pub fn audit(arguments: Box<AuditArguments>) -> anyhow::Result<Ending> {
    match (&arguments.file, &arguments.run) {
        (Some(path), _) => file::audit(path, &arguments),
        (None, Some(folder)) => run::audit(folder, &arguments),
        // The arguments ask for one of the two.
        (None, None) => Ok(Ending::Finished),
    }
}
