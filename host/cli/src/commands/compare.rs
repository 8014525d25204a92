use std::path::PathBuf;

use clap::Args;
use host_trainer::compare::Format;
use host_trainer::compared;
use host_trainer::records::Ending;
use host_trainer::run_dir::write_atomically;

use crate::out::{print_block, print_page, say, stdout_width};

/// Put the reports of several runs into one table, over the seeds of each method.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folders of runs. Those that differ only in the seed are one method.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// What to print: text, markdown, csv, latex, json, html or svg.
    #[arg(short, long, default_value = "text", value_parser = Format::named)]
    pub format: Format,
    /// Print JSON; the same as --format json.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Method that the others are paired with, prompt by prompt. Default: plain fine-tuning, or
    /// the policy sft.
    #[arg(long, value_name = "METHOD")]
    pub against: Option<String>,
    /// Also write the table, in the format of the name's ending: .txt, .md, .csv, .tex,
    /// .json or .html; .svg is the plot of attack success over the task. Can be repeated.
    #[arg(short, long = "output", value_name = "FILE")]
    pub outputs: Vec<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let outputs = arguments
        .outputs
        .iter()
        .map(|path| Ok((path, Format::of_file(path)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let compared = compared::compare(&arguments.runs, arguments.against.as_deref())?;
    for notice in &compared.notices {
        say(format!("note: {notice}"));
    }
    for (path, format) in outputs {
        write_atomically(path, compared.to(format)?.as_bytes())?;
    }
    let format = if arguments.json { Format::Json } else { arguments.format };
    match format {
        Format::Text => print_page(&compared.text(stdout_width()))?,
        other => print_block(compared.to(other)?.trim_end())?,
    }
    Ok(Ending::Finished)
}
