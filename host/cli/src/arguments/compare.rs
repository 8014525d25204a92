use std::path::PathBuf;

use clap::Args;
use host_trainer::compare::Format;

#[derive(Debug, Args)]
pub struct CompareArguments {
    /// Folders of runs. Those that differ only in the seed are one method.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// What to print: text, markdown, csv, latex or json.
    #[arg(short, long, default_value = "text", value_parser = Format::named)]
    pub format: Format,
    /// Print JSON; the same as --format json.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Also write the table, in the format of the name's ending: .txt, .md, .csv, .tex or
    /// .json. Can be repeated.
    #[arg(short, long = "output", value_name = "FILE")]
    pub outputs: Vec<PathBuf>,
}
