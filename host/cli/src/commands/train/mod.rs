mod ending;

use clap::Args;
use host_sandbox::Signer;
use host_trainer::config::RunConfig;
use host_trainer::ranks::{self, Ranks};
use host_trainer::recipe::{self, Runtime};
use host_trainer::records::Ending;
use host_trainer::report::Report;
use host_trainer::{Error, dry_run, follow};

use crate::commands::registry::RegistryFlags;
use crate::commands::signer;
use crate::exit::Failed;
use crate::flags::RunFlags;
use crate::home;
use crate::out::{print, say};
use crate::screen::Screen;
use crate::signal;

/// Fine-tune a model with LoRA, under a policy or without one.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub run: RunFlags,
    #[command(flatten)]
    pub registry: RegistryFlags,
    /// Check everything, print the memory and time that the training would take, and stop.
    #[arg(long, conflicts_with = "resume")]
    pub dry_run: bool,
}

impl Arguments {
    /// The configuration, in which policies of registries are named by their digests.
    fn resolve(&self) -> Result<RunConfig, Error> {
        let mut config = self.run.resolve()?;
        self.registry.pin_all(&mut config)?;
        Ok(config)
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    if arguments.dry_run {
        return forecast(arguments);
    }
    let ranks = ranks::join()?;
    if !ranks.is_root() {
        let stop = signal::stop_flag(false);
        let followed = follow::follow(&ranks, home::caches().reference, &stop);
        // The first one tells what went wrong, and its exit code is that of all.
        let _ = ranks.end(followed);
        return Ok(Ending::Finished);
    }
    let led = lead(arguments, &ranks);
    let Led { report, config, notices } = ranks.end(led)?;
    match print(arguments.run.config.json, &report, |width| report.table(width)) {
        // Its terminal may be what ended the run.
        Err(error) if report.ending() == Ending::Interrupted => say(format!("warning: {error}")),
        printed => printed?,
    }
    for warning in report.warnings() {
        say(format!("warning: {warning}"));
    }
    if !arguments.run.config.json {
        let resume = config.resume_command(&report.run);
        ending::tell(&report, &notices, &resume, arguments.run.config.quiet);
    }
    match report.failure() {
        Some(problem) => Err(Failed::Run(format!(
            "{problem}, so {} is the model as it was; metrics.jsonl and the journal say why, step by \
             step",
            report.run.join("adapter").display()
        ))
        .into()),
        None => Ok(report.ending()),
    }
}

/// What a training left.
struct Led {
    report: Report,
    config: RunConfig,
    /// All that was said of it on the way, each once.
    notices: Vec<String>,
}

fn lead(arguments: &Arguments, ranks: &Ranks) -> Result<Led, Error> {
    let config = arguments.resolve()?;
    let engine = arguments.registry.engine(&config.limits)?.isolated(config.trust.isolate);
    let stop = signal::stop_flag(true);
    let mut screen = Screen::stopped_by(arguments.run.config.quiet, &stop);
    let key = config.journal.key.as_deref();
    let signer = || match key {
        // Its signatures would be those of whoever made the folder.
        Some(key) if config.journal.key_is_of_run => Err(Error::config(
            "journal.key",
            format!(
                "the run's folder names the key that signs it, {0}, and may be anybody's; if that \
                 is your key, go on with --key {0}",
                key.display()
            ),
        )),
        key => Ok(signer(key)?),
    };
    let resume = arguments.run.train.resume.as_deref();
    let means = Runtime { engine: &engine, caches: home::caches(), ranks };
    let report = recipe::fine_tune(config.clone(), resume, means, signer, &mut screen, &stop)?;
    Ok(Led { report, config, notices: screen.notices() })
}

fn forecast(arguments: &Arguments) -> anyhow::Result<Ending> {
    let config = arguments.resolve()?;
    let engine = arguments.registry.engine(&config.limits)?.isolated(config.trust.isolate);
    let mut screen = Screen::new(arguments.run.config.quiet);
    // A key of the user's own would be made only now, and no journal needs one yet.
    let named = || -> Result<_, Error> {
        let key = config.journal.key.as_deref();
        Ok(key.map(Signer::open).transpose()?)
    };
    let caches = home::caches();
    let forecast = dry_run::dry_run(&config, &engine, named, caches, &mut screen)?;
    drop(screen);
    print(arguments.run.config.json, &forecast, |width| forecast.table(width))?;
    Ok(Ending::Finished)
}
