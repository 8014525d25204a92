use std::path::PathBuf;

use clap::Args;
use host_trainer::Error;
use host_trainer::config::Layers;
use host_trainer::data::{DataSource, Notices, Progress as _};
use host_trainer::judges::{Judges, Tally, table};
use host_trainer::records::Ending;
use host_trainer::run_dir::write_atomically;
use serde::Serialize;

use crate::flags::{DataFlags, FlagGroup as _};
use crate::home;
use crate::out::{print_json, print_line, say};
use crate::screen::Screen;
use crate::signal;

/// Ask a judge about rows of prompts and answers, and write a file of scores.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Rows with prompt and answer: JSON Lines, JSON or Parquet.
    #[arg(required = true, value_name = "FILE")]
    pub rows: Vec<PathBuf>,
    /// Name of the judge, as in [judges.NAME]. Default: the only one.
    #[arg(long, value_name = "NAME")]
    pub judge: Option<String>,
    /// TOML file with the judge; `host config example` has every key.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override a key of the configuration. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// Endpoint that the file names, with the variable and the files that it gets: needed for
    /// all that isn't set by --set, but for servers on this machine.
    #[arg(long = "allow-endpoint", value_name = "ENDPOINT")]
    pub allowed_endpoints: Vec<String>,
    #[command(flatten)]
    pub data: DataFlags,
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

#[derive(Serialize)]
struct Scored {
    judge: String,
    scores: PathBuf,
    #[serde(flatten)]
    tally: Tally,
    #[serde(skip_serializing_if = "Notices::is_empty")]
    notices: Notices,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let mut layers = Layers::default();
    if let Some(path) = &arguments.config {
        layers.add_file(path)?;
    }
    for assignment in &arguments.assignments {
        layers.add_assignment(assignment)?;
    }
    arguments.data.apply(&mut layers)?;
    layers.allow_endpoints(&arguments.allowed_endpoints);
    let mut config = layers.resolve()?;
    let name = name(arguments, config.judges.keys())?;
    let sources: Vec<DataSource> = arguments.rows.iter().map(DataSource::whole).collect();
    let reader = config.reader();
    let rows = reader.rows(&sources)?;
    // The others may be large.
    config.judges.retain(|known, _| *known == name);
    let judges = Judges::load(&config.judges, home::caches().judges.as_deref())?;
    let stop = signal::stop_flag(true);
    let mut screen = Screen::new(arguments.quiet);
    let notices = judges.try_out([name.as_str()], &config.trust.unchecked_judges, &stop)?;
    notices.iter().for_each(|notice| screen.notice(notice));
    let words = arguments.prefix_words;
    let (lines, tally) = table(&judges, &name, &rows, words, &mut screen, &stop)?;
    reader.keep(judges.notices());
    let notices = reader.notices();
    notices.lines().for_each(|line| screen.notice(&line));
    drop(screen);
    write_atomically(&arguments.output, lines.as_bytes())?;
    let share = config.trust.judge_failures;
    let (unscored, total) = (tally.unscored(), tally.total());
    let counts = format!(
        "{} scored, {} missing, {} failed, {} unparsable",
        tally.scored, tally.missing, tally.failed, tally.unparsable
    );
    let output = arguments.output.display();
    if arguments.json {
        print_json(&Scored {
            judge: name.clone(),
            scores: arguments.output.clone(),
            tally,
            notices,
        })?;
    } else {
        print_line(&counts)?;
        say(format!("wrote {output}; use it with --set 'judges.{name}.scores=\"{output}\"'"));
    }
    if unscored as f64 > share * total as f64 {
        let what = format!(
            "it gave no score for {unscored} of {total} pairs, more than trust.judge_failures = \
             {share} allows"
        );
        return Err(judges.failure(&name, &what).into());
    }
    Ok(Ending::Finished)
}

/// The judge that is named, or the only one there is.
fn name<'n>(
    arguments: &Arguments,
    known: impl Iterator<Item = &'n String>,
) -> Result<String, Error> {
    let known: Vec<&str> = known.map(String::as_str).collect();
    match (&arguments.judge, known.as_slice()) {
        (Some(name), _) => Ok(name.clone()),
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => {
            Err(Error::config("judges", "there is no judge; give --config FILE with [judges.NAME]"))
        }
        (None, several) => Err(Error::config(
            "judges",
            format!("there are {}; choose one with --judge", several.join(", ")),
        )),
    }
}
