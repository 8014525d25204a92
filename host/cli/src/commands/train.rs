use host_trainer::recipe;
use host_trainer::run::Ending;

use super::{print_json, print_text};
use crate::arguments::TrainArguments;
use crate::screen::Screen;
use crate::signal;

pub fn train(arguments: Box<TrainArguments>) -> anyhow::Result<Ending> {
    let config = arguments.resolve()?;
    let stop = signal::stop_flag();
    let report = recipe::fine_tune(config, &mut Screen::new(arguments.config.quiet), &stop)?;
    if arguments.config.json {
        print_json(&report)?;
    } else {
        print_text(&report.table())?;
        eprintln!(
            "{}: {} (adapter/, report.json, metrics.jsonl)",
            report.ending_name(),
            report.run.display()
        );
    }
    Ok(report.ending())
}
