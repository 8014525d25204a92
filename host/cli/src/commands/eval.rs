use std::path::Path;
use std::sync::atomic::AtomicBool;

use host_trainer::config::RunConfig;
use host_trainer::evaluation::{
    EvalSets, Evaluation as Metrics, Evaluator, judge, read_generations, rescore,
};
use host_trainer::judges::Judges;
use host_trainer::records::Ending;
use host_trainer::report::Comparison;
use host_trainer::run_dir::Lines;
use host_trainer::{Error, prepare};

use super::{print_json, print_text};
use crate::arguments::{EvalArguments, with_defaults};
use crate::home;
use crate::screen::Screen;
use crate::signal;

pub fn eval(arguments: Box<EvalArguments>) -> anyhow::Result<Ending> {
    let mut layers = arguments.config.layers(Some(&arguments.adapter))?;
    arguments.eval.apply(&mut layers)?;
    let config = with_defaults(layers)?;
    let stop = signal::stop_flag(true);
    let mut screen = Screen::new(arguments.config.quiet);
    let mut evaluation = Evaluation {
        config: &config,
        arguments: &arguments,
        judges: judges(&config, &stop)?,
        answers: arguments
            .generations
            .as_deref()
            .map(Lines::create)
            .transpose()?,
        screen: &mut screen,
        stop: &stop,
    };
    let models = match &arguments.rescore {
        Some(file) => evaluation.again(file)?,
        None => evaluation.asked()?,
    };
    drop(screen);
    let comparison = Comparison { models };
    if arguments.config.json {
        print_json(&comparison)?;
    } else {
        print_text(&comparison.table())?;
    }
    Ok(Ending::Finished)
}

/// The judges that evaluate, tried out. Others may be large.
pub fn judges(config: &RunConfig, stop: &AtomicBool) -> Result<Judges, Error> {
    let names = &config.eval.judges;
    let mut configured = config.judges.clone();
    configured.retain(|name, _| names.contains(name));
    let judges = Judges::load(&configured, home::caches().judges.as_deref())?;
    judges.try_out(names.iter().map(String::as_str), stop)?;
    Ok(judges)
}

struct Evaluation<'a> {
    config: &'a RunConfig,
    arguments: &'a EvalArguments,
    judges: Judges,
    answers: Option<Lines>,
    screen: &'a mut Screen,
    stop: &'a AtomicBool,
}

impl Evaluation<'_> {
    /// Asks the model, and the model with the adapter.
    fn asked(&mut self) -> Result<Vec<(String, Metrics)>, Error> {
        let config = self.config;
        let sets = EvalSets::load(&config.eval, config.seed.0)?;
        if sets.is_empty() {
            let problem = "nothing to evaluate; give --harmful, --harmless or --task FILE";
            return Err(Error::config("eval", problem));
        }
        let model = prepare::load_model(&config.model, self.screen)?;
        let adapter = self.arguments.adapter.load(&model)?;
        let canary = prepare::canary(config, &model)?;
        let evaluator = Evaluator {
            model: &model,
            config: &config.eval,
            sets: &sets,
            judges: &self.judges,
            canary: canary.as_ref(),
            stop: self.stop,
        };
        let mut models = Vec::new();
        for (name, adapter) in [("before", None), ("after", adapter.as_ref())] {
            if name == "before" || adapter.is_some() {
                let lines = self.answers.as_mut();
                let metrics = evaluator.evaluate(name, adapter, lines, self.screen)?;
                models.push((name.to_owned(), metrics));
            }
        }
        Ok(models)
    }

    /// Reads the answers that models gave earlier, and asks the judges of them.
    fn again(&mut self, file: &Path) -> Result<Vec<(String, Metrics)>, Error> {
        let mut generations = read_generations(file)?;
        let names = &self.config.eval.judges;
        judge(
            &mut generations,
            &self.judges,
            names,
            self.stop,
            self.screen,
        )?;
        if let Some(answers) = &mut self.answers {
            generations.iter().try_for_each(|one| answers.write(one))?;
        }
        Ok(rescore(&generations))
    }
}
