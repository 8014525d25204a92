use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use host_sandbox::Limits;
use host_study::{Arm, Interrupted, Options, Program, Scenario, Task};
use host_trainer::Error;
use host_trainer::config::LossMean;
use host_trainer::measure::RefusalJudge;
use host_trainer::records::Ending;

use crate::commands::registry::RegistryFlags;
use crate::exit::Failed;
use crate::out::{print_json, print_page, say, stdout_width};
use crate::signal;
use host_installed::POLICIES;

/// Train a model under several policies, attacks, learning rates and seeds, and put what came of
/// it into tables and plots. Goes on where it was stopped.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Model to study: a folder, a .gguf file or a Hub id. It is aligned first, on the data.
    /// Default: the demo model of the program, which is aligned already.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// The model refuses by itself: it is studied as it is, and its own refusals are the alignment
    /// rows.
    #[arg(long, requires = "model")]
    aligned: bool,
    /// Folder with the data for that model; docs/guide/study.md says which files. Default: the demo
    /// data of the program.
    #[arg(long, value_name = "DIR", requires = "model")]
    data: Option<PathBuf>,
    /// The useful task: NAME_train.jsonl and NAME_eval.jsonl of the data. How its answers are
    /// marked (exact, number or choice) and their longest in tokens may follow.
    #[arg(long, value_name = "NAME[:MARKING][:TOKENS]", default_value = "sst2", requires = "data")]
    task: Task,
    /// Folder of a sentence embedding model, such as all-MiniLM-L6-v2: it learns to tell harmful
    /// requests that are agreed to, and judges the answers beside what finds refusals.
    #[arg(long, value_name = "DIR", requires = "model")]
    judge: Option<PathBuf>,
    /// Where everything goes: sets, reference, runs, tables, plots.
    #[arg(long, value_name = "DIR", default_value = "runs/study")]
    out: PathBuf,
    /// Policies, each with settings if wanted, such as fixed-kl:kl_weight=0.3, those of `host policy
    /// list`, files (./mine.wasm) or those of registries (oci://REGISTRY/NAME:TAG); several at once as
    /// probe+safe-mix:share=0.25. Default: sft and those of several kinds.
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    policies: Vec<Arm>,
    #[command(flatten)]
    registry: RegistryFlags,
    /// harmless, harmful, identity, backdoor, prefill, anchor-aware, probe-aware, or a share of
    /// harmful rows such as 10%.
    /// Default: harmless,10%,harmful, for the demo model the first two.
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    attacks: Vec<Scenario>,
    /// Highest learning rates. Default: 2e-4, for the demo model 3e-3.
    #[arg(long, value_name = "X,X", value_delimiter = ',')]
    learning_rates: Vec<f64>,
    /// Seeds of rows, order and adapter. Default: 17,18,19.
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Training rows of a run; alignment rows that a policy mixes in come on top. Default: 160,
    /// for the demo model 320.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    rows: Option<usize>,
    /// How often a run goes through its rows. Default: twice, the demo model once.
    #[arg(long, value_name = "X")]
    epochs: Option<f64>,
    /// What counts alike in the loss of a step, of every arm: answer tokens, or samples however
    /// long their answers are.
    #[arg(long, value_name = "tokens|samples", default_value = "tokens", value_parser = loss)]
    loss: LossMean,
    /// Most prompts of each set of requests. Default: 100, for the demo model 80.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    prompts: Option<usize>,
    /// Most questions of the task. Default: as --prompts.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    task_prompts: Option<usize>,
    /// Longest answer to a request, in tokens. Default: 32, for the demo model 16.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    eval_answer_tokens: Option<usize>,
    /// What tells refusals from answers: classifier or phrases.
    #[arg(long, value_name = "classifier|phrases", default_value = "classifier", value_parser = refusals)]
    refusals: RefusalJudge,
    /// Runs at a time, each with its share of the processor.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    jobs: usize,
    /// Device of all runs: cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Number format that all runs compute in.
    #[arg(long, value_name = "f32|bf16|bf16x3")]
    precision: Option<String>,
    /// How all runs hold the frozen matrices: dense, stored, q8_0, q6_k, q5_k or q4_k.
    #[arg(long, value_name = "FORMAT")]
    weights: Option<String>,
    /// Override a key of the configuration in all runs, such as train.batch=4 or lora.rank=32. Can be
    /// repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
    /// List the runs, with an estimate of the time if some are done, and run nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("must be a whole number of at least 1".into()),
        Ok(number) => Ok(number),
    }
}

fn loss(text: &str) -> Result<LossMean, String> {
    match text {
        "tokens" => Ok(LossMean::Tokens),
        "samples" => Ok(LossMean::Samples),
        _ => Err("must be tokens or samples".into()),
    }
}

fn refusals(text: &str) -> Result<RefusalJudge, String> {
    match text {
        "classifier" => Ok(RefusalJudge::Classifier),
        "phrases" => Ok(RefusalJudge::Phrases),
        _ => Err("must be classifier or phrases".into()),
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let path = std::env::current_exe().context("the path of this program is not known")?;
    let program = Program::new(path, signal::stop_flag(true));
    let outcome = match host_study::run(&arguments.options()?, &program, &|line| say(line)) {
        Ok(outcome) => outcome,
        Err(error) if error.is::<Interrupted>() => {
            say(error.to_string());
            return Ok(Ending::Interrupted);
        }
        Err(error) => return Err(anyhow!("{error:#}")),
    };
    if arguments.json {
        print_json(&outcome.json)?;
    } else {
        print_page(&outcome.text.lines().collect())?;
    }
    match outcome.failed {
        0 => Ok(Ending::Finished),
        1 => Err(Failed::Run("1 run failed; the same command tries it again".into()).into()),
        failed => {
            let problem = format!("{failed} runs failed; the same command tries them again");
            Err(Failed::Run(problem).into())
        }
    }
}

impl Arguments {
    /// The keys of the configuration that all runs share, flags last: as elsewhere they win.
    fn common(&self) -> Vec<String> {
        let flags = [
            ("model.device", &self.device),
            ("model.dtype", &self.precision),
            ("model.weights", &self.weights),
        ];
        let flags =
            flags.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)));
        self.assignments.iter().cloned().chain(flags).collect()
    }

    fn options(&self) -> Result<Options, Error> {
        Ok(Options {
            model: self.model.clone(),
            aligned: self.aligned,
            data: self.data.clone(),
            task: self.task.clone(),
            judge: self.judge.clone(),
            out: self.out.clone(),
            arms: self.arms()?,
            attacks: self.attacks.clone(),
            learning_rates: self.learning_rates.clone(),
            seeds: self.seeds.clone(),
            rows: self.rows,
            epochs: self.epochs,
            loss: self.loss,
            prompts: self.prompts,
            task_prompts: self.task_prompts,
            answer_tokens: self.eval_answer_tokens,
            common: self.common(),
            refusals: self.refusals,
            jobs: self.jobs,
            builtin: POLICIES.iter().map(|one| one.name).collect(),
            width: stdout_width(),
            dry_run: self.dry_run,
        })
    }

    /// The policies, those of registries by their digests: each is asked for once, whatever it is told.
    fn arms(&self) -> Result<Vec<Arm>, Error> {
        let mut pinned = BTreeMap::new();
        let mut pin = |name: &str| -> Result<String, Error> {
            if let Some(known) = pinned.get(name) {
                return Ok(String::clone(known));
            }
            let found = self.registry.pin(name.as_ref(), &Limits::default())?.display().to_string();
            pinned.insert(name.to_owned(), found.clone());
            Ok(found)
        };
        self.policies.iter().map(|arm| arm.pinned(&mut pin)).collect()
    }
}
