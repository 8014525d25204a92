//! What the owner of a run vouches for: how it ended, where its journal stands and which files it
//! left, by digest and under its key. `host train` keeps it in its stages.json, training loops of
//! Python in [`FILE`].

mod content;
pub mod notary;

use std::collections::BTreeMap;
use std::path::Path;

use host_files::{json, own};
use host_sandbox::Statement;
use serde::{Deserialize, Serialize};

use crate::error::FileError;
use crate::journal::{Identity, standing};

pub use content::{Content, names};
pub use notary::Notary;

/// Where a seal lies that has a file of its own.
pub const FILE: &str = "seal.json";

/// What the owner's key vouches for.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// What the run is made of, as record 0 of its journal names it.
    pub identity: Identity,
    /// Seconds since 1970.
    pub started: u64,
    pub notices: Vec<String>,
    /// How the run ended, once it did: finished, interrupted, stopped or failed.
    pub ended: Option<String>,
    /// Where the journal stands after the last training.
    pub journal: Option<JournalHead>,
    /// By their paths in the folder of the run: while it goes on those that it relies on, and
    /// when it ended all that it left.
    pub files: BTreeMap<String, Content>,
}

/// The last record of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalHead {
    pub records: u64,
    pub head: String,
}

impl Seal {
    /// Notes how the run ended, and all that lies in its folder. `file` is where the seal will lie.
    ///
    /// # Errors
    /// A journal that is not the one which the run left, and files that can't be read.
    pub fn close(
        &mut self,
        folder: &Path,
        file: &str,
        notary: Notary<'_>,
        ended: &str,
    ) -> Result<(), FileError> {
        let journal = folder.join("journal");
        if journal.is_dir() {
            let found = standing(&journal, notary.signer.public())?;
            let head = JournalHead { records: found.records, head: found.head };
            let other = self.journal.as_ref().is_some_and(|left| *left != head);
            if other || found.run.as_deref() != Some(notary.run) {
                let problem = "is not the one that this run left; it is not signed again";
                return Err(FileError::file(&journal, problem));
            }
            self.journal = Some(head);
        }
        self.ended = Some(ended.into());
        self.files.clear();
        let listed = names(folder, file).map_err(|source| FileError::read(folder, source))?;
        for name in listed {
            let path = folder.join(&name);
            let content =
                Content::of(&path, None).map_err(|source| FileError::read(&path, source))?;
            self.files.insert(name, content);
        }
        Ok(())
    }

    /// Writes it, signed, into a file of its own.
    ///
    /// # Errors
    /// A file that can't be written, or a folder that others can write to.
    pub fn write(&self, folder: &Path, notary: Notary<'_>) -> Result<(), FileError> {
        let path = folder.join(FILE);
        let signed = notary.sign(Statement::Run, self);
        json::write(&path, &signed.map_err(|problem| FileError::file(&path, problem))?)?;
        own::close_to_others(folder)
            .map_err(|strange| FileError::file(&strange.path, strange.problem))
    }
}
