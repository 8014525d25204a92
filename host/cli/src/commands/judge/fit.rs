use host_trainer::data::DataSource;
use host_trainer::judges::fit;
use host_trainer::records::Ending;
use host_trainer::report::candidates_table;

use crate::arguments::FitArguments;
use crate::commands::{print_json, print_text};
use crate::screen::Screen;
use crate::signal;

pub fn fit(arguments: &FitArguments) -> anyhow::Result<Ending> {
    let stop = signal::stop_flag(true);
    let mut screen = Screen::new(arguments.quiet);
    let sources: Vec<DataSource> = arguments.labelled.iter().map(DataSource::whole).collect();
    let fitted = fit::fit(
        &arguments.embedding,
        &sources,
        arguments.reads,
        arguments.seed,
        &mut screen,
        &stop,
    )?;
    drop(screen);
    fitted.head.write(&arguments.output)?;
    if arguments.json {
        print_json(&fitted)?;
    } else {
        print_text(&candidates_table(&fitted.candidates, &fitted.summary))?;
        let (model, head) = (arguments.embedding.display(), arguments.output.display());
        eprintln!(
            "wrote {head}; use it as [judges.NAME.embedding] with model = \"{model}\" and \
             head = \"{head}\""
        );
    }
    Ok(Ending::Finished)
}
