use std::path::PathBuf;

use clap::Args;
use host_trainer::config::Layers;
use host_trainer::records::Ending;

use crate::flags::with_defaults;
use crate::out::print_line;

/// Check the keys and values of configuration files. `host train --config FILE --dry-run` also
/// reads the model and the data that one names.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Configuration files, each checked by itself.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    for file in &arguments.files {
        let mut layers = Layers::default();
        layers.add_file(file)?;
        with_defaults(layers)?;
        print_line(format!("{}: every key is known and every value fits", file.display()))?;
    }
    Ok(Ending::Finished)
}
