//! Policies of registries, as commands name them: found once, told, and from then on named by digest.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use clap::Args;
use host_registry::{Reference, Registry};
use host_sandbox::{Engine, Error as PolicyError, Limits};
use host_trainer::Error;
use host_trainer::config::RunConfig;

use crate::commands::engine;
use crate::out::say_words;

/// How policies named oci://… are found.
#[derive(Debug, Clone, Default, Args)]
pub struct RegistryFlags {
    /// Ask no registry: of a policy named oci://…, what was pulled before, and a tag as it was then.
    #[arg(long)]
    pub offline: bool,
    /// One for all that a command asks, so that logins and tokens are asked for once.
    #[arg(skip)]
    shared: OnceLock<Arc<Registry>>,
}

impl RegistryFlags {
    /// The way to registries.
    pub fn registry(&self) -> Arc<Registry> {
        let new = || Arc::new(Registry::new(host_installed::registry().as_deref(), self.offline));
        Arc::clone(self.shared.get_or_init(new))
    }

    /// The engine that loads policies, those of registries as well.
    pub fn engine(&self, limits: &Limits) -> Result<Engine, Error> {
        Ok(engine(limits)?.with_registry(self.registry()))
    }

    /// A policy file as it was named, or the name of a registry's policy by its digest.
    pub fn pin(&self, path: &Path, limits: &Limits) -> Result<PathBuf, Error> {
        let (path, notes) = self.registry().pin_path(path, limits.component_bytes)?;
        notes.iter().for_each(|note| say_words(format!("note: {note}")));
        Ok(path)
    }

    /// The same for all policies of a run, whose folder then names what it used.
    pub fn pin_all(&self, config: &mut RunConfig) -> Result<(), Error> {
        let limits = config.limits.clone();
        for policy in &mut config.policies {
            policy.path = self.pin(&policy.path, &limits)?;
        }
        Ok(())
    }
}

/// The reference that is named in place of a file, if one is.
pub fn named(path: &Path) -> Option<Result<Reference, Error>> {
    let read = Reference::named(path)?;
    Some(read.map_err(|problem| of_registry(host_registry::Error::named(path, &problem))))
}

/// The reference that an argument must be.
pub fn reference(path: &Path) -> Result<Reference, Error> {
    named(path).unwrap_or_else(|| {
        Err(Error::file(path, "is no name in a registry; write oci://REGISTRY/NAME:TAG"))
    })
}

/// An error of a registry, as one of a policy file.
pub fn of_registry(error: host_registry::Error) -> Error {
    PolicyError::from(error).into()
}
