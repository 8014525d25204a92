use std::path::PathBuf;

use clap::Args;

use crate::arguments::SubjectArguments;

#[derive(Debug, Args)]
pub struct BenchArguments {
    /// Policy to measure.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub subject: SubjectArguments,
    /// Samples of a step. Can be repeated.
    #[arg(long = "batch", value_name = "N", default_values_t = [1, 8, 32], value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub batches: Vec<u32>,
    /// Calls per batch size.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub calls: u32,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}
