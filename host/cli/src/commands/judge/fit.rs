use std::path::PathBuf;

use clap::Args;
use host_trainer::config::Layers;
use host_trainer::data::{DataSource, Progress as _, Reader};
use host_trainer::judges::fit;
use host_trainer::records::Ending;
use host_trainer::report::candidates_table;

use crate::flags::{DataFlags, FlagGroup as _};
use crate::out::{print_json, print_page, say, stdout_width};
use crate::screen::Screen;
use crate::signal;

/// Fit a judge's head for a sentence embedding model on labelled rows.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Sentence embedding model: a folder with config.json, model.safetensors and
    /// tokenizer.json.
    #[arg(long, value_name = "DIR")]
    pub embedding: PathBuf,
    /// Rows with label 1 (harmful) or 0 (harmless), and optionally split. Can be repeated.
    #[arg(long, required = true, value_name = "FILE")]
    pub labelled: Vec<PathBuf>,
    #[command(flatten)]
    pub data: DataFlags,
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

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let stop = signal::stop_flag(true);
    let mut screen = Screen::new(arguments.quiet);
    let sources: Vec<DataSource> = arguments.labelled.iter().map(DataSource::whole).collect();
    let mut layers = Layers::default();
    arguments.data.apply(&mut layers)?;
    let bad = layers.resolve()?.data.bad_rows();
    let reader = Reader::new(arguments.seed, bad);
    let fitted =
        fit::fit(&arguments.embedding, &sources, arguments.reads, &reader, &mut screen, &stop)?;
    reader.notices().lines().for_each(|line| screen.notice(&line));
    drop(screen);
    fitted.head.write(&arguments.output)?;
    if arguments.json {
        print_json(&fitted)?;
    } else {
        print_page(&candidates_table(&fitted.candidates, &fitted.summary, stdout_width()))?;
        let (model, head) = (arguments.embedding.display(), arguments.output.display());
        say(format!(
            "wrote {head}; use it as [judges.NAME.embedding] with model = \"{model}\" and \
             head = \"{head}\""
        ));
    }
    Ok(Ending::Finished)
}
