use std::path::PathBuf;

use clap::Args;
use host_data::{Notices, Progress as _, Reader};
use host_model::Model;
use host_trainer::calibration::load_prompts;
use host_trainer::config::RunConfig;
use host_trainer::evaluation::{EvalSets, Evaluator};
use host_trainer::records::Ending;
use host_trainer::run_dir::Lines;
use host_trainer::steering::effect::{Effects, effects};
use host_trainer::steering::{at_layers, fit, read};
use host_trainer::{Error, prepare};

use crate::commands::adapter::AdapterFlags;
use crate::commands::eval::{all_judged, judges, try_out};
use crate::flags::{ConfigFlags, DataFlags, EffectFlags, EvalFlags, FlagGroup as _, with_defaults};
use crate::out::print;
use crate::screen::Screen;
use crate::signal;

/// Measure what a vector does to refusals: margin, attack success, over-refusal.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub config: ConfigFlags,
    #[command(flatten)]
    pub data: DataFlags,
    #[command(flatten)]
    pub adapter: AdapterFlags,
    #[command(flatten)]
    pub eval: EvalFlags,
    #[command(flatten)]
    pub effect: EffectFlags,
    /// Also write every answer, as JSON Lines.
    #[arg(long, value_name = "FILE")]
    pub generations: Option<PathBuf>,
}

impl Arguments {
    fn resolve(&self) -> Result<RunConfig, Error> {
        let mut layers = self.config.layers(self.adapter.run.as_deref())?;
        self.data.apply(&mut layers)?;
        self.eval.apply(&mut layers)?;
        self.effect.apply(&mut layers)?;
        with_defaults(layers)
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let config = arguments.resolve()?;
    let reader = config.reader();
    let sets = EvalSets::load(&config.eval, &reader)?;
    if sets.is_empty() && config.canary.prompts.is_empty() {
        let problem = "nothing to evaluate; give --harmful, --harmless, --task or --canary FILE";
        return Err(Error::config("eval", problem).into());
    }
    if arguments.effect.project && config.calibration.data.is_empty() {
        let problem =
            "names no labelled prompts to find the refusal direction; give --labelled FILE";
        return Err(Error::config("calibration.data", problem).into());
    }
    let coefficients = if arguments.effect.coefficients.is_empty() {
        vec![config.steering.coefficient]
    } else {
        arguments.effect.coefficients.clone()
    };
    let stop = signal::stop_flag(true);
    let mut screen = Screen::new(arguments.config.quiet);
    let answers = arguments.generations.as_deref().map(Lines::create).transpose();
    let mut answers = answers.map_err(Error::from)?;
    let model = host_data::load_model(&config.model, &mut screen)?;
    let adapter = arguments.adapter.load(&model, &mut screen)?;
    let (vector, mut measured) = subject(arguments, &config, &reader, &model, &mut screen)?;
    sets.check(&model, &reader)?;
    let canary = prepare::canary(&config, &model, &reader)?;
    let judges = judges(&config)?;
    try_out(&judges, &config, &stop, &mut screen)?;
    let evaluator = Evaluator {
        model: &model,
        config: &config.eval,
        sets: &sets,
        judges: &judges,
        canary: canary.as_ref(),
        stop: &stop,
    };
    measured.effects =
        effects(&evaluator, adapter.as_ref(), &vector, &coefficients, &mut answers, &mut screen)?;
    reader.keep(judges.notices());
    measured.notices = reader.notices();
    measured.notices.lines().for_each(|line| screen.notice(&line));
    drop(screen);
    print(arguments.config.json, &measured, |width| measured.table(width))?;
    let evaluations = measured.effects.iter().map(|effect| &effect.evaluation);
    all_judged(evaluations, &config, &judges)?;
    Ok(Ending::Finished)
}

/// The vector to steer by, and what is known of it before anything is measured.
fn subject(
    arguments: &Arguments,
    config: &RunConfig,
    reader: &Reader,
    model: &Model,
    screen: &mut Screen,
) -> Result<(host_model::Steering, Effects), Error> {
    let Some(path) = &config.steering.vector else {
        let problem = "names no file; give --vector FILE, made by host steer fit";
        return Err(Error::config("steering.vector", problem));
    };
    let mut vector = if config.steering.layers.is_empty() {
        read(path, model)?
    } else {
        at_layers(path, &config.steering.layers, model)?
    };
    let layers: Vec<usize> = vector.layers().collect();
    let mut cosines = None;
    if !config.calibration.data.is_empty() {
        let labelled = load_prompts(&config.calibration, reader)?;
        let at: Vec<u32> = layers.iter().map(|layer| *layer as u32).collect();
        let refusal = fit::refusal_direction(model, &at, &labelled, screen)?;
        cosines = Some(vector.cosines(&refusal)?);
        if arguments.effect.project {
            vector = vector.projected(&refusal)?;
        }
    }
    let measured = Effects {
        layers,
        cosines,
        projected: arguments.effect.project,
        effects: Vec::new(),
        notices: Notices::default(),
    };
    Ok((vector, measured))
}
