use clap::Args;
use host_sandbox::Signer;
use host_trainer::config::{Layers, RunConfig};
use host_trainer::ranks::{self, Ranks};
use host_trainer::recipe::{self, Runtime};
use host_trainer::records::Ending;
use host_trainer::report::Report;
use host_trainer::run_dir::RunDir;
use host_trainer::{Error, dry_run, follow};

use super::{engine, signer};
use crate::exit::Failed;
use crate::flags::{
    BaseFlags, ConfigFlags, DataFlags, EvalFlags, FlagGroup as _, PolicyFlags, TrackFlags,
    TrainFlags, with_defaults,
};
use crate::home;
use crate::out::{print, say};
use crate::screen::Screen;
use crate::signal;

/// Fine-tune a model with LoRA, under a policy or without one.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub config: ConfigFlags,
    #[command(flatten)]
    pub data: DataFlags,
    #[command(flatten)]
    pub policy: PolicyFlags,
    #[command(flatten)]
    pub eval: EvalFlags,
    #[command(flatten)]
    pub train: TrainFlags,
    #[command(flatten)]
    pub base: BaseFlags,
    #[command(flatten)]
    pub track: TrackFlags,
}

impl Arguments {
    fn resolve(&self) -> Result<RunConfig, Error> {
        let Some(run) = &self.train.resume else {
            let mut layers = self.config.layers(None)?;
            self.data.apply(&mut layers)?;
            self.policy.apply(&mut layers)?;
            self.eval.apply(&mut layers)?;
            self.train.apply(&mut layers)?;
            self.base.apply(&mut layers)?;
            self.track.apply(&mut layers)?;
            return with_defaults(layers);
        };
        let mut layers = Layers::default();
        layers.add_run(RunDir::open(run)?.path())?;
        layers.allow_endpoints(&self.config.allowed_endpoints);
        // Of these, clap has refused all that would change what the run learns.
        self.train.apply(&mut layers)?;
        self.track.apply(&mut layers)?;
        layers.resolve()
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    if arguments.train.dry_run {
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
    let (report, config) = ranks.end(led)?;
    match print(arguments.config.json, &report, || report.table()) {
        // Its terminal may be what ended the run.
        Err(error) if report.ending() == Ending::Interrupted => say(format!("warning: {error}")),
        printed => printed?,
    }
    for warning in report.warnings() {
        say(format!("warning: {warning}"));
    }
    if !arguments.config.json {
        say(format!(
            "{}: {} (adapter/, report.json, metrics.jsonl)",
            report.ending_name(),
            report.run.display()
        ));
        if report.ending() == Ending::Interrupted {
            say(format!("go on with: {}", config.resume_command(&report.run)));
        }
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

fn lead(arguments: &Arguments, ranks: &Ranks) -> Result<(Report, RunConfig), Error> {
    let config = arguments.resolve()?;
    let engine = engine(&config.limits)?.isolated(config.trust.isolate);
    let stop = signal::stop_flag(true);
    let mut screen = Screen::stopped_by(arguments.config.quiet, &stop);
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
    let resume = arguments.train.resume.as_deref();
    let means = Runtime { engine: &engine, caches: home::caches(), ranks };
    let report = recipe::fine_tune(config.clone(), resume, means, signer, &mut screen, &stop)?;
    Ok((report, config))
}

fn forecast(arguments: &Arguments) -> anyhow::Result<Ending> {
    let config = arguments.resolve()?;
    let engine = engine(&config.limits)?.isolated(config.trust.isolate);
    let mut screen = Screen::new(arguments.config.quiet);
    // A key of the user's own would be made only now, and no journal needs one yet.
    let named = || -> Result<_, Error> {
        let key = config.journal.key.as_deref();
        Ok(key.map(Signer::open).transpose()?)
    };
    let caches = home::caches();
    let forecast = dry_run::dry_run(&config, &engine, named, caches, &mut screen)?;
    drop(screen);
    print(arguments.config.json, &forecast, || forecast.table())?;
    Ok(Ending::Finished)
}
