//! `host init`: the first configuration file.

mod ask;
mod file;

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use host_files::shell;
use host_trainer::config::Layers;
use host_trainer::data::{BadRows, DataSource, Reader};
use host_trainer::records::Ending;
use host_trainer::run_dir::write_atomically;

use crate::flags::with_defaults;
use crate::out::say;
use file::Answers;

/// Write a short, commented configuration that runs. On a terminal it asks for what no flag says.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The file to write.
    #[arg(default_value = "host.toml", value_name = "FILE")]
    pub file: PathBuf,
    /// Model: a Hugging Face folder, a .gguf file, or a Hub id. Default: the embedded demo model.
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Training data: files, or data sets of the Hub. Can be repeated. Default: the embedded demo data.
    #[arg(short, long, value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// Policy: builtin:NAME, a .wasm file, or none. Can be repeated.
    #[arg(short, long = "policy", value_name = "FILE|none")]
    pub policies: Vec<String>,
    /// Labelled prompts for policies that calibrate themselves. Can be repeated.
    #[arg(long, value_name = "FILE")]
    pub labelled: Vec<PathBuf>,
    /// Refusals and harmless answers, for policies that mix them in. Can be repeated.
    #[arg(long, value_name = "FILE")]
    pub alignment: Vec<PathBuf>,
    /// Harmful prompts for the evaluation. Can be repeated. Default: embedded ones.
    #[arg(long, value_name = "FILE")]
    pub harmful: Vec<PathBuf>,
    /// Harmless prompts for the evaluation. Can be repeated. Default: embedded ones.
    #[arg(long, value_name = "FILE")]
    pub harmless: Vec<PathBuf>,
    /// Prompts with answers for the evaluation. Can be repeated.
    #[arg(long, value_name = "FILE")]
    pub task: Vec<PathBuf>,
    /// Ask nothing: defaults stand in for what no flag says.
    #[arg(short, long)]
    pub yes: bool,
    /// Replace the file if it exists.
    #[arg(long)]
    pub force: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let path = &arguments.file;
    if path.exists() && !arguments.force {
        bail!("{} exists already; name another file, or replace it with --force", path.display());
    }
    let mut answers = Answers::from_flags(arguments);
    if !arguments.yes && ask::can_ask() {
        ask::fill(&mut answers)?;
    }
    answers.check()?;
    answers.rows = count(&answers.data)?;
    let text = answers.toml();
    // What was written must run.
    let mut layers = Layers::default();
    layers.add_text(&text, &path.display().to_string())?;
    with_defaults(layers)?;
    write_atomically(path, text.as_bytes())?;
    say(format!("wrote {}; next:", path.display()));
    let shown = shell::path(path);
    say(format!("  host train --config {shown} --dry-run"));
    say(format!("  host train --config {shown}"));
    Ok(Ending::Finished)
}

/// Rows of local files; data sets of the Hub are not fetched for this.
fn count(files: &[String]) -> anyhow::Result<Option<usize>> {
    if files.is_empty() || !files.iter().all(|file| PathBuf::from(file).is_file()) {
        return Ok(None);
    }
    let sources: Vec<DataSource> = files.iter().map(DataSource::whole).collect();
    Ok(Some(Reader::new(0, BadRows::default()).rows(&sources)?.len()))
}
