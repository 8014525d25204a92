//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::arm::Arm;
use crate::scenario::Scenario;

/// Trains one model under several policies, attacks, learning rates and seeds, and
/// writes tables and plots. Goes on where it was stopped.
#[derive(Debug, Parser)]
#[command(name = "study", max_term_width = 100)]
pub struct Arguments {
    /// Model to study: a folder, a .gguf file or a Hub id. It is aligned first, on the
    /// data. Default: the demo model inside of host, which is aligned already.
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Folder with the data for that model; examples/study/README.md says which files.
    /// Default: the demo data inside of host.
    #[arg(long, value_name = "DIR", requires = "model")]
    pub data: Option<PathBuf>,
    /// The useful task: NAME_train.jsonl and NAME_eval.jsonl of the data.
    #[arg(long, value_name = "NAME", default_value = "sst2", requires = "data")]
    pub task: String,
    /// Folder of a sentence embedding model, such as all-MiniLM-L6-v2: it learns to tell
    /// harmful requests that are agreed to, and judges the evaluations beside the refusal
    /// phrases.
    #[arg(long, value_name = "DIR", requires = "model")]
    pub judge: Option<PathBuf>,
    /// Where everything goes: sets, reference, runs, tables, plots.
    #[arg(long, value_name = "DIR", default_value = "runs/study")]
    pub out: PathBuf,
    /// Fewer scenarios, rows, prompts and learning rates, one seed.
    #[arg(long)]
    pub small: bool,
    /// Seeds of rows, order and adapter.
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub seeds: Vec<u64>,
    /// harmless, harmful, identity, or a share of harmful rows such as 10%.
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub scenarios: Vec<Scenario>,
    /// Policies of plugins/, each with settings if wanted, such as fixed-kl:kl_weight=0.3 or
    /// probe:b_max=0.95:b_min=0.05; several at once as probe+safe-mix:share=0.25.
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub policies: Vec<Arm>,
    /// How often a run goes through its rows. Default: twice, the demo model once.
    #[arg(long, value_name = "X")]
    pub epochs: Option<f64>,
    /// Highest learning rates.
    #[arg(long, value_name = "X,X", value_delimiter = ',')]
    pub learning_rates: Vec<f64>,
    /// The program. Default: the host of this build, which cargo brings up to date first.
    #[arg(long, value_name = "FILE")]
    pub host: Option<PathBuf>,
}
