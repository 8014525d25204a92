//! `host judge ...`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum JudgeCommand {
    /// Ask a judge about rows of prompts and answers, and write a file of scores.
    Score(Box<ScoreArguments>),
    /// Fit a judge's head for a sentence embedding model on labelled rows.
    Fit(Box<FitArguments>),
}

#[derive(Debug, Args)]
pub struct ScoreArguments {
    /// Rows with prompt and answer: JSON Lines, JSON or Parquet.
    #[arg(required = true, value_name = "FILE")]
    pub rows: Vec<PathBuf>,
    /// Name of the judge, as in [judges.NAME]. Default: the only one.
    #[arg(long, value_name = "NAME")]
    pub judge: Option<String>,
    /// TOML file with the judge; see examples/config.toml for every key.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override a key of the configuration. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// Also score every answer cut after each N words, for policies that ask for that.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub prefix_words: Option<u32>,
    /// Where to write the scores.
    #[arg(short, long, value_name = "FILE", default_value = "scores.jsonl")]
    pub output: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Print no progress.
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct FitArguments {
    /// Sentence embedding model: a folder with config.json, model.safetensors and
    /// tokenizer.json.
    #[arg(long, value_name = "DIR")]
    pub embedding: PathBuf,
    /// Rows with label 1 (harmful) or 0 (harmless), and optionally split. Can be repeated.
    #[arg(long, required = true, value_name = "FILE")]
    pub labelled: Vec<PathBuf>,
    /// What the judge reads of a row.
    #[arg(long, value_name = "prompt|answer|both", default_value = "both", value_parser = reads)]
    pub reads: host_trainer::config::Reads,
    /// Seed of the splits that the rows don't name.
    #[arg(long, value_name = "N", default_value_t = 17)]
    pub seed: u64,
    /// Where to write the head.
    #[arg(short, long, value_name = "FILE", default_value = "judge.json")]
    pub output: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Print no progress.
    #[arg(short, long)]
    pub quiet: bool,
}

fn reads(text: &str) -> Result<host_trainer::config::Reads, String> {
    use host_trainer::config::Reads;
    match text {
        "prompt" => Ok(Reads::Prompt),
        "answer" => Ok(Reads::Answer),
        "both" => Ok(Reads::Both),
        _ => Err("use prompt, answer or both".into()),
    }
}
