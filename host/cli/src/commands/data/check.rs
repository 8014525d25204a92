use std::path::PathBuf;

use clap::Args;
use host_trainer::data::check::{Question, check};
use host_trainer::data::{DataConfig, DataSource, Progress as _, load_model};
use host_trainer::records::Ending;

use crate::flags::{ConfigFlags, DataFlags, FlagGroup as _, with_defaults};
use crate::out::print;
use crate::screen::Screen;

/// Read data files as a training would, and tell what it would make of them: shape, lengths,
/// rows that it would refuse, duplicates, and the first rows as the model sees them. The exit
/// code is 1 if a training would refuse the files.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Training data: files, or data sets of the Hub (org/name).
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Evaluation set that no row should be in. Can be repeated.
    #[arg(long, value_name = "FILE")]
    pub against: Vec<PathBuf>,
    /// How many rows of each file are shown as the model sees them.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub examples: usize,
    #[command(flatten)]
    pub data: DataFlags,
    #[command(flatten)]
    pub config: ConfigFlags,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let mut layers = arguments.config.layers(None)?;
    arguments.data.apply(&mut layers)?;
    let config = with_defaults(layers)?;
    let mut screen = Screen::new(arguments.config.quiet);
    let model = load_model(&config.model, &mut screen)?;
    let data = DataConfig {
        train: arguments.files.iter().map(DataSource::whole).collect(),
        alignment: Vec::new(),
        // What is longer can't go through the model.
        max_tokens: config.data.max_tokens.min(model.config.max_position),
        ..config.data
    };
    screen.stage("reading the data", None);
    let question = Question {
        config: &data,
        seed: config.seed.0,
        against: &arguments.against,
        examples: arguments.examples,
    };
    let found = check(&question, &model.tokenizer)?;
    drop(screen);
    print(arguments.config.json, &found, |_| found.page())?;
    match found.refused {
        None => Ok(Ending::Finished),
        Some(why) => anyhow::bail!("{why}"),
    }
}
