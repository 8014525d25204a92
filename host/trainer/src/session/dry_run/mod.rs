//! What a run would take, told before it starts: `host train --dry-run`.
//!
//! Loads and checks what a run loads and checks, goes through its steps without taking
//! them, and writes nothing. Memory is counted on the structures that a step fills; time
//! is measured on some samples of the run and extended to all of them.

mod evaluation;
mod memory;
mod process;
mod speed;
mod table;
mod time;
mod walk;

use host_contract::{Actuators, Needs};
use host_model::decoder::MicroBatchShape;
use host_sandbox::{Engine, Signer};
use serde::Serialize;
use walk::StepPlan;

use crate::actuators::adapter_projection::Subspaces;
use crate::actuators::any_may;
use crate::config::RunConfig;
use crate::error::Result;
use crate::records::observer::Observer;
use crate::records::run_dir::RunDir;
use crate::session::anchors::Beside;
use crate::session::capabilities::capabilities;
use crate::session::load_policies::check_all;
use crate::session::prepare::{Caches, Loaded, first_adapter};
use crate::session::steering;
use crate::signals::reference;
use crate::signals::sensors;
use crate::step::state;

pub use evaluation::EvaluationEstimate;
pub use memory::MemoryEstimate;
pub use process::{available, resident};
pub use time::Time;

/// What a run would take.
#[derive(Debug, Clone, Serialize)]
pub struct Estimate {
    pub samples: usize,
    pub steps: u64,
    pub steps_per_epoch: usize,
    pub largest: MicroBatchSize,
    /// Bytes.
    pub memory: MemoryEstimate,
    /// Seconds.
    pub time: Time,
    /// Those between the steps, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluations: Option<EvaluationEstimate>,
}

/// The micro-batch that needs most memory.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MicroBatchSize {
    pub samples: usize,
    pub tokens: usize,
    pub answer_tokens: usize,
}

/// What the policies ask for, all together.
pub struct PolicyDemands {
    /// Values of the reference's taps per sample.
    tap_values: usize,
    reads_current: bool,
    /// A policy may add alignment samples to the batch.
    adds_samples: bool,
    /// 2 if signals are read off the reference and another, steered one may teach.
    references: u64,
    /// Vectors as long as the parameters that steps keep or make for them.
    vectors: usize,
    /// Bytes that are kept to project the adapter with.
    subspaces: u64,
    /// Whether samples are compared with the alignment gradient, by a forward of their own.
    agrees: bool,
    anchors: AnchorVisit,
}

/// The safety anchors of one visit.
#[derive(Default)]
struct AnchorVisit {
    lengths: Vec<usize>,
    answer_tokens: usize,
    /// Of one pass over them.
    products: f64,
}

/// Arguments as for [`crate::session::recipe::fine_tune`]; `signer` only has to open a key that is
/// named.
///
/// # Errors
/// Those of a run, up to the moment when it would make its folder.
pub fn dry_run(
    config: &RunConfig,
    engine: &Engine,
    signer: impl FnOnce() -> Result<Option<Signer>>,
    caches: Caches,
    observer: &mut dyn Observer,
) -> Result<Estimate> {
    let reader = config.reader();
    let judge_cache = caches.judges.as_deref();
    let mut loaded = Loaded::new(config, signer, engine, judge_cache, &reader, observer)?;
    if let Some(output) = &config.output {
        RunDir::check_free(output)?;
    }
    let examination = loaded.examination(config)?;
    let info = loaded.info(config);
    let capabilities =
        capabilities(config, &loaded.plan, loaded.canary.as_ref(), &info.judges, &loaded.shape);
    let policies = std::mem::take(&mut loaded.policies);
    check_all(&policies, config, &info, &capabilities)?;
    let needs = policies
        .into_iter()
        .map(|policy| policy.dry_configure(config, &reader, &info, &loaded.model, &capabilities))
        .collect::<Result<Vec<Needs>>>()?;
    let model = &loaded.model;
    let steers = steering::dry_configure(&needs, config, &reader, model)?;
    reader.notices().lines().for_each(|line| observer.notice(&line));
    let taps = sensors::reference_taps(needs.iter());
    let on_disk = if needs.is_empty() {
        false
    } else {
        reference::open(&config.train, caches.reference, model, &taps)?.is_some()
    };
    let all: Vec<&Needs> = needs.iter().collect();
    let beside = Beside { config, needs: &all, reader: &reader, model, store: None };
    let anchors = beside.lengths()?.map_or(AnchorVisit::default(), |(lengths, answer)| {
        let products = lengths.iter().map(|length| speed::products(&model.config, *length));
        AnchorVisit { products: products.sum(), answer_tokens: lengths.len() * answer, lengths }
    });
    // Before anything of a training is made but the adapter, which counts beside it.
    let adapter = first_adapter(config, model)?;
    let asked = (!needs.is_empty()).then(|| PolicyDemands {
        tap_values: taps.iter().map(|tap| tap.layers.len()).sum::<usize>()
            * model.config.hidden_size,
        reads_current: needs.iter().any(sensors::reads_current),
        adds_samples: any_may(&needs, Actuators::ALIGNMENT_EXTRA),
        references: if steers && needs.iter().any(sensors::reads_reference) { 2 } else { 1 },
        vectors: state::vectors(&needs),
        agrees: needs.iter().any(|needs| needs.gradient_agreement),
        anchors,
        subspaces: if needs.iter().any(Needs::base) {
            Subspaces::bytes(&model.config, adapter.shape())
        } else {
            0
        },
    });

    if asked.as_ref().is_some_and(|asked| asked.adds_samples) {
        observer.notice(
            "a policy may add alignment samples to the steps; their memory is counted, their time \
             is not, because nobody knows how many",
        );
    }

    if examination.is_some() {
        observer.stage("timing an evaluation", None);
    }
    let evaluations = EvaluationEstimate::measure(
        examination.as_ref(),
        config,
        loaded.plan.total_steps(),
        (model, loaded.canary.as_ref()),
        &adapter,
    )?;
    // Before anything of a training is made.
    let resident = process::resident();
    let decoder = &model.decoder;
    let (train, asked) = (&config.train, asked.as_ref());
    let noise = config.noise();
    let walk = StepPlan::new(&loaded.plan, (train, &noise), decoder, &adapter, asked);
    let memory = MemoryEstimate::of(decoder, &adapter, train, asked, &walk, resident)
        .with(evaluations.as_ref());
    observer.stage("timing the parts of a step", None);
    let room = memory.available.unwrap_or(u64::MAX);
    let fits = |work: &MicroBatchShape| {
        let step = decoder.step_memory(&adapter, work);
        step.is_none_or(|step| step.peak < room)
    };
    let typical = walk.typical(fits)?;
    let typical = host_data::borrowed(&typical);
    let speed = speed::measure(decoder, &adapter, (train, &noise), &typical)?;
    let disk = if on_disk { train.reference_cache_disk_mib } else { 0 };
    let cached = (train.reference_cache_mib as u64 + disk) << 20;
    Ok(Estimate {
        samples: loaded.plan.samples().len(),
        steps: loaded.plan.total_steps(),
        steps_per_epoch: loaded.plan.steps_per_epoch(),
        largest: MicroBatchSize {
            samples: walk.largest.lengths.len(),
            tokens: walk.largest.lengths.iter().sum(),
            answer_tokens: walk.largest.answer_tokens,
        },
        memory,
        time: Time::of(&walk, &speed, train, asked, cached).with(evaluations.as_ref(), train),
        evaluations,
    })
}
