//! One command per file.

mod calibrate;
mod eval;
mod export;
mod generate;
mod train;

pub use calibrate::calibrate;
pub use eval::eval;
pub use export::export;
pub use generate::generate;
pub use train::train;

use std::io::Write;
use std::path::PathBuf;

use host_model::Model;
use host_model::lora::Lora;
use host_trainer::Error;
use serde::Serialize;

use crate::arguments::AdapterArguments;

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
        self.adapter
            .clone()
            .or_else(|| self.run.as_ref().map(|run| run.join("adapter")))
    }

    fn load(&self, model: &Model) -> Result<Option<Lora>, Error> {
        let load =
            |folder: PathBuf| Lora::load_peft(&folder, &model.config, model.decoder.device());
        Ok(self.folder().map(load).transpose()?)
    }
}
