use std::path::PathBuf;

use host_trainer::Error;
use host_trainer::config::Layers;
use host_trainer::data::{DataSource, read_rows};
use host_trainer::judges::{Judges, Tally, table};
use host_trainer::records::Ending;
use host_trainer::run_dir::write_atomically;
use serde::Serialize;

use crate::arguments::ScoreArguments;
use crate::commands::{print_json, print_text};
use crate::home;
use crate::screen::Screen;
use crate::signal;

#[derive(Serialize)]
struct Scored {
    judge: String,
    scores: PathBuf,
    #[serde(flatten)]
    tally: Tally,
}

pub fn score(arguments: &ScoreArguments) -> anyhow::Result<Ending> {
    let mut layers = Layers::default();
    if let Some(path) = &arguments.config {
        layers.add_file(path)?;
    }
    for assignment in &arguments.assignments {
        layers.add_assignment(assignment)?;
    }
    let mut config = layers.resolve()?;
    let name = name(arguments, config.judges.keys())?;
    let sources: Vec<DataSource> = arguments.rows.iter().map(DataSource::whole).collect();
    let rows = read_rows(&sources, config.seed.0)?;
    // The others may be large.
    config.judges.retain(|known, _| *known == name);
    let judges = Judges::load(&config.judges, home::caches().judges.as_deref())?;
    let stop = signal::stop_flag(true);
    judges.try_out([name.as_str()], &stop)?;
    let mut screen = Screen::new(arguments.quiet);
    let words = arguments.prefix_words;
    let (lines, tally) = table(&judges, &name, &rows, words, &mut screen, &stop)?;
    drop(screen);
    write_atomically(&arguments.output, lines.as_bytes())?;
    if arguments.json {
        print_json(&Scored { judge: name, scores: arguments.output.clone(), tally })?;
        return Ok(Ending::Finished);
    }
    print_text(&format!(
        "{} scored, {} missing, {} failed, {} unparsable",
        tally.scored, tally.missing, tally.failed, tally.unparsable
    ))?;
    let output = arguments.output.display();
    eprintln!("wrote {output}; use it with --set 'judges.{name}.scores=\"{output}\"'");
    Ok(Ending::Finished)
}

/// The judge that is named, or the only one there is.
fn name<'n>(
    arguments: &ScoreArguments,
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
