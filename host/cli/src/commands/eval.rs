use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Args;
use host_data::{Progress as _, Reader};
use host_trainer::config::RunConfig;
use host_trainer::evaluation::{
    EvalSets, Evaluation, Evaluator, judge, read_generations, rescore, unjudged,
};
use host_trainer::judges::Judges;
use host_trainer::records::Ending;
use host_trainer::report::Comparison;
use host_trainer::run_dir::Lines;
use host_trainer::{Error, prepare};

use crate::commands::adapter::AdapterFlags;
use crate::flags::{ConfigFlags, DataFlags, EvalFlags, FlagGroup as _, with_defaults};
use crate::home;
use crate::out::print;
use crate::screen::Screen;
use crate::signal;

/// Measure refusals, over-refusals and the task, before and after an adapter.
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
    /// Also write every answer, as JSON Lines.
    #[arg(long, value_name = "FILE")]
    pub generations: Option<PathBuf>,
    /// Compute the metrics of answers again, without the model: the generations.jsonl of
    /// a run, perhaps with what another tool's judge says in each line's `judges`.
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "model", "chat_template", "device", "precision", "weights", "adapter", "harmful", "harmless",
        "task", "eval_limit", "max_new_tokens", "max_thinking_tokens",
    ])]
    pub rescore: Option<PathBuf>,
}

type Models = Vec<(String, Evaluation)>;

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let mut layers = arguments.config.layers(arguments.adapter.run.as_deref())?;
    arguments.data.apply(&mut layers)?;
    arguments.eval.apply(&mut layers)?;
    let config = with_defaults(layers)?;
    let stop = signal::stop_flag(true);
    let mut screen = Screen::new(arguments.config.quiet);
    let reader = config.reader();
    let judges = judges(&config)?;
    let models = match &arguments.rescore {
        Some(file) => again(file, &config, arguments, &judges, &mut screen, &stop)?,
        None => asked(&config, arguments, &reader, &judges, &mut screen, &stop)?,
    };
    reader.keep(judges.notices());
    let notices = reader.notices();
    notices.lines().for_each(|line| screen.notice(&line));
    drop(screen);
    let comparison = Comparison { models, notices };
    print(arguments.config.json, &comparison, |width| comparison.table(width))?;
    let evaluations = comparison.models.iter().map(|(_, evaluation)| evaluation);
    all_judged(evaluations, &config, &judges)?;
    Ok(Ending::Finished)
}

/// The judges that evaluate; others may be large.
pub fn judges(config: &RunConfig) -> Result<Judges, Error> {
    config.model.prepare()?;
    let mut configured = config.judges.clone();
    configured.retain(|name, _| config.eval.judges.contains(name));
    Ok(Judges::load(&configured, home::caches().judges.as_deref())?)
}

/// Asks them for the first time: once all else that is needed is there, so that nothing is sent
/// in vain.
pub fn try_out(
    judges: &Judges,
    config: &RunConfig,
    stop: &AtomicBool,
    screen: &mut Screen,
) -> Result<(), Error> {
    let names = config.eval.judges.iter().map(String::as_str);
    let notices = judges.try_out(names, &config.trust.unchecked_judges, stop)?;
    notices.iter().for_each(|notice| screen.notice(notice));
    Ok(())
}

/// Refuses to call an evaluation a success if judges had no scores for too many answers.
pub fn all_judged<'e>(
    mut evaluations: impl Iterator<Item = &'e Evaluation>,
    config: &RunConfig,
    judges: &Judges,
) -> Result<(), Error> {
    let share = config.trust.judge_failures;
    match evaluations.find_map(|evaluation| unjudged(evaluation, &config.eval.judges, share)) {
        Some((judge, what)) => Err(judges.failure(judge, &what).into()),
        None => Ok(()),
    }
}

/// Asks the model, and the model with the adapter.
fn asked(
    config: &RunConfig,
    arguments: &Arguments,
    reader: &Reader,
    judges: &Judges,
    screen: &mut Screen,
    stop: &AtomicBool,
) -> Result<Models, Error> {
    let sets = EvalSets::load(&config.eval, reader)?;
    if sets.is_empty() {
        let problem = "nothing to evaluate; give --harmful, --harmless or --task FILE";
        return Err(Error::config("eval", problem));
    }
    let model = host_data::load_model(&config.model, screen)?;
    config.demo_data().iter().for_each(|line| screen.notice(line));
    let adapter = arguments.adapter.load(&model, screen)?;
    sets.check(&model, reader)?;
    let canary = prepare::canary(config, &model, reader)?;
    try_out(judges, config, stop, screen)?;
    let mut lines = lines(arguments)?;
    let evaluator = Evaluator {
        model: &model,
        config: &config.eval,
        sets: &sets,
        judges,
        canary: canary.as_ref(),
        stop,
    };
    let mut evaluate = |name: &str, adapter| -> Result<(String, Evaluation), Error> {
        let evaluation = evaluator.evaluate(name, adapter, lines.as_mut(), screen)?;
        Ok((name.to_owned(), evaluation))
    };
    let mut models = vec![evaluate("before", None)?];
    if adapter.is_some() {
        models.push(evaluate("after", adapter.as_ref())?);
    }
    Ok(models)
}

/// Reads the answers that models gave earlier, and asks the judges of them.
fn again(
    file: &Path,
    config: &RunConfig,
    arguments: &Arguments,
    judges: &Judges,
    screen: &mut Screen,
    stop: &AtomicBool,
) -> Result<Models, Error> {
    let refusals = config.eval.refusal_detector();
    let mut generations = read_generations(file, &refusals)?;
    try_out(judges, config, stop, screen)?;
    let mut lines = lines(arguments)?;
    judge(&mut generations, judges, &config.eval.judges, stop, screen)?;
    if let Some(lines) = &mut lines {
        generations.iter().try_for_each(|one| lines.write(one))?;
    }
    let models = rescore(&generations, &refusals);
    for (name, evaluation) in &models {
        if let Some(unread) = evaluation.told_unread() {
            screen.notice(&format!("{name}: {unread}"));
        }
    }
    Ok(models)
}

/// Where the answers are kept, if they are.
fn lines(arguments: &Arguments) -> Result<Option<Lines>, Error> {
    let path = arguments.generations.as_deref();
    Ok(path.map(Lines::create).transpose()?)
}
