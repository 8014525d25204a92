//! One command per file.

mod audit;
mod calibrate;
mod compare;
mod eval;
mod export;
mod generate;
mod judge;
mod policy;
mod steer;
mod subject;
mod train;

pub use audit::audit;
pub use calibrate::calibrate;
pub use compare::compare;
pub use eval::eval;
pub use export::export;
pub use generate::generate;
pub use judge::judge;
pub use policy::policy;
pub use steer::steer;
pub use train::train;

use std::io::Write;
use std::path::{Path, PathBuf};

use host_model::Model;
use host_model::lora::Lora;
use host_policy::{Engine, Limits, Signer, public_path};
use host_trainer::Error;
use serde::Serialize;

use crate::arguments::AdapterArguments;
use crate::home;

/// The engine that loads policies: compiled in a process of its own, and once only.
fn engine(limits: &Limits) -> Result<Engine, Error> {
    Ok(Engine::guarded(limits, home::worker()?, home::cache())?)
}

/// The named secret key, or the user's own, which is made on first use.
fn signer(key: Option<&Path>) -> Result<Signer, host_policy::Error> {
    if let Some(key) = key {
        return Signer::open(key);
    }
    let path = home::key()?;
    let (signer, made) = Signer::open_or_create(&path)?;
    if made {
        eprintln!(
            "note: made a key that signs what you do: {} (its public half: {})",
            path.display(),
            public_path(&path).display()
        );
    }
    Ok(signer)
}

/// Data for a program, on stdout.
fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_text(&serde_json::to_string_pretty(value)?)
}

fn print_text(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

impl AdapterArguments {
    /// The adapter's folder, if one is named.
    fn folder(&self) -> Option<PathBuf> {
        self.adapter.clone().or_else(|| self.run.as_ref().map(|run| run.join("adapter")))
    }

    fn load(&self, model: &Model) -> Result<Option<Lora>, Error> {
        let load =
            |folder: PathBuf| Lora::load_peft(&folder, &model.config, model.decoder.device());
        Ok(self.folder().map(load).transpose()?)
    }
}
