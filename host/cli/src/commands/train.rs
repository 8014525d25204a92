use host_trainer::recipe;
use host_trainer::records::Ending;

use super::{engine, print_json, print_text, signer};
use crate::arguments::TrainArguments;
use crate::home;
use crate::screen::Screen;
use crate::signal;

pub fn train(arguments: Box<TrainArguments>) -> anyhow::Result<Ending> {
    let config = arguments.resolve()?;
    let engine = engine(&config.limits)?;
    let stop = signal::stop_flag();
    let mut screen = Screen::new(arguments.config.quiet);
    let key = config.journal.key.clone();
    let signer = || -> Result<_, host_trainer::Error> { Ok(signer(key.as_deref())?) };
    let resume = arguments.resume.as_deref();
    let cache = home::reference_cache();
    let report = recipe::fine_tune(config, resume, &engine, signer, cache, &mut screen, &stop)?;
    drop(screen);
    if arguments.config.json {
        print_json(&report)?;
    } else {
        print_text(&report.table())?;
        eprintln!(
            "{}: {} (adapter/, report.json, metrics.jsonl)",
            report.ending_name(),
            report.run.display()
        );
        if report.ending() == Ending::Interrupted {
            eprintln!("go on with: host train --resume {}", report.run.display());
        }
    }
    Ok(report.ending())
}
