use host_trainer::evaluation::{EvalSets, Evaluator};
use host_trainer::records::Ending;
use host_trainer::report::Comparison;
use host_trainer::run_dir::Lines;
use host_trainer::{Error, prepare};

use super::{print_json, print_text};
use crate::arguments::{EvalArguments, with_defaults};
use crate::screen::Screen;
use crate::signal;

pub fn eval(arguments: Box<EvalArguments>) -> anyhow::Result<Ending> {
    let mut layers = arguments.config.layers(Some(&arguments.adapter))?;
    arguments.eval.apply(&mut layers)?;
    let config = with_defaults(layers)?;
    let sets = EvalSets::load(&config.eval, config.seed.0)?;
    if sets.is_empty() {
        return Err(Error::config(
            "eval",
            "nothing to evaluate; give --harmful, --harmless or --task FILE",
        )
        .into());
    }
    let stop = signal::stop_flag(true);
    let mut screen = Screen::new(arguments.config.quiet);
    let mut answers = arguments
        .generations
        .as_deref()
        .map(Lines::create)
        .transpose()?;
    let model = prepare::load_model(&config.model, &mut screen)?;
    let adapter = arguments.adapter.load(&model)?;
    let evaluator = Evaluator {
        model: &model,
        config: &config.eval,
        sets: &sets,
        stop: &stop,
    };
    let before = evaluator.evaluate("before", None, answers.as_mut(), &mut screen)?;
    let after = match &adapter {
        Some(adapter) => {
            Some(evaluator.evaluate("after", Some(adapter), answers.as_mut(), &mut screen)?)
        }
        None => None,
    };
    let comparison = Comparison { before, after };
    drop(screen);
    if arguments.config.json {
        print_json(&comparison)?;
    } else {
        print_text(&comparison.table())?;
    }
    Ok(Ending::Finished)
}
