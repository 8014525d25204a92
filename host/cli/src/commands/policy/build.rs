use std::path::PathBuf;

use clap::Args;
use host_trainer::records::Ending;

use crate::out::print;

/// Build the project in a folder into FOLDER/NAME.wasm.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder of the project, with its policy.toml.
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
    /// Print what was built as JSON.
    #[arg(long)]
    pub json: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let built = host_authoring::build(&arguments.folder)?;
    print(arguments.json, &built, |_| {
        let file = built.component.display();
        [format!("{file}  {} bytes  sha256 {}", built.bytes, built.sha256)].into_iter().collect()
    })?;
    Ok(Ending::Finished)
}
