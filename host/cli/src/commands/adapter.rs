//! Which adapter to use.

use std::path::PathBuf;

use clap::Args;
use host_model::Model;
use host_model::lora::Lora;
use host_trainer::Error;

#[derive(Debug, Args)]
pub struct AdapterFlags {
    /// Folder of a run: takes its configuration and its adapter.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Folder with an adapter in peft's format.
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
}

impl AdapterFlags {
    /// The adapter's folder, if one is named.
    fn folder(&self) -> Option<PathBuf> {
        self.adapter.clone().or_else(|| self.run.as_ref().map(|run| run.join("adapter")))
    }

    pub fn load(&self, model: &Model) -> Result<Option<Lora>, Error> {
        let load =
            |folder: PathBuf| Lora::load_peft(&folder, &model.config, model.decoder.device());
        Ok(self.folder().map(load).transpose()?)
    }
}
