use clap::Args;
use host_trainer::records::Ending;

use crate::out::print_block;

/// A file with every key.
const EXAMPLE: &str = include_str!("../../../../../examples/config.toml");

/// Print a configuration file that has every key with its default and meaning.
#[derive(Debug, Args)]
pub struct Arguments {}

pub fn run(Arguments {}: &Arguments) -> anyhow::Result<Ending> {
    print_block(EXAMPLE.trim_end())?;
    Ok(Ending::Finished)
}
