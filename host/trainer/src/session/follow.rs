//! What all ranks but the first do: load what it loads, and train what it trains. They
//! evaluate nothing, write nothing and say nothing.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use host_contract::{Guardrails, Needs};
use host_model::decoder::TokenSubset;
use serde::{Deserialize, Serialize};

use crate::actuators::safety_anchors::{AnchorPrompts, Anchors};
use crate::actuators::vectors::{Vectors, VectorsMessage};
use crate::config::{OnFault, RunConfig};
use crate::error::{Error, Result};
use crate::ranks::Ranks;
use crate::records::checkpoint::{self, Progress, Saved, Tensors};
use crate::records::observer::Silent;
use crate::session::prepare;
use crate::session::prepare::{Trainable, first_adapter};
use crate::signals::reference;
use crate::signals::sensors;
use crate::step::evaluations::Evaluations;
use crate::step::{RunContext, TrainingSpec, run};

/// A training, as the root tells of it. The tensors of the checkpoint come after it.
#[derive(Serialize, Deserialize)]
struct Task {
    needs: Vec<Needs>,
    steering: Option<VectorsMessage>,
    anchors: Option<AnchorPrompts>,
    /// Safety tokens and their temperature.
    token_set: Option<(Vec<u32>, f64)>,
    goes_on_from: Option<Progress>,
}

/// Tells the other ranks to begin a training, or to go on with it.
pub fn begin(spec: &TrainingSpec<'_>, saved: Option<&Saved>) -> Result<()> {
    let TrainingSpec { ranks, needs, context, .. } = *spec;
    if ranks.size() == 1 {
        return Ok(());
    }
    ranks.broadcast(&Task {
        needs: needs.to_vec(),
        steering: spec.steering().map(Vectors::told),
        anchors: context.anchors.as_ref().map(|anchors| anchors.prompts.clone()),
        token_set: context
            .token_set
            .as_ref()
            .map(|set| (set.ids().to_vec(), f64::from(set.temperature()))),
        goes_on_from: saved.map(|saved| saved.progress.clone()),
    })?;
    let Some(saved) = saved else {
        return Ok(());
    };
    let tensors = saved.tensors.iter();
    let tensors: Tensors =
        tensors.map(|(name, values)| (name.as_str(), values.as_slice())).collect();
    ranks.broadcast_bytes(checkpoint::to_bytes(&tensors).map_err(told_badly)?)
}

/// Does what the root tells until it ends. `reference_cache` keeps what the
/// reference says, if the configuration names no folder.
///
/// # Errors
/// Whatever ends the run, here or on another rank.
pub fn follow(ranks: &Ranks, reference_cache: Option<PathBuf>, stop: &AtomicBool) -> Result<()> {
    let Some(config) = ranks.receive::<RunConfig>()? else {
        return Ok(());
    };
    let Trainable { model, plan, .. } =
        prepare::load_training(&config, &config.reader(), &mut Silent)?;
    prepare::agree(ranks, &model, &plan)?;
    let context = RunContext::new(model, plan);
    let mut follower = Follower { config, context, reference_cache, ranks };
    while let Some(task) = ranks.receive::<Task>()? {
        follower.train(task, stop)?;
    }
    Ok(())
}

struct Follower<'a> {
    config: RunConfig,
    context: RunContext,
    reference_cache: Option<PathBuf>,
    ranks: &'a Ranks,
}

impl Follower<'_> {
    fn train(&mut self, task: Task, stop: &AtomicBool) -> Result<()> {
        let saved = match task.goes_on_from {
            Some(progress) => {
                let tensors = self.ranks.receive_bytes()?.unwrap_or_default();
                let tensors = checkpoint::from_bytes(&tensors).map_err(told_badly)?;
                Some(Saved { progress, tensors })
            }
            None => None,
        };
        self.context.reference = if task.needs.is_empty() {
            None
        } else {
            let taps = sensors::reference_taps(task.needs.iter());
            let usual = self.reference_cache.clone();
            reference::open(&self.config.train, usual, &self.context.model, &taps)?
        };
        self.context.anchors = task.anchors.map(Anchors::from);
        let vocabulary = self.context.model.config.vocab_size;
        let set = task.token_set.map(|(ids, t)| TokenSubset::new(ids, t, vocabulary));
        self.context.token_set = set.transpose()?;
        self.context.steering = task.steering.map(Vectors::try_from).transpose()?;
        let adapter = first_adapter(&self.config, &self.context.model)?;
        let spec = TrainingSpec {
            context: &self.context,
            config: &self.config.train,
            noise: self.config.noise(),
            adapter: &adapter,
            needs: &task.needs,
            policies: &[],
            on_fault: OnFault::Stop,
            require: Guardrails::none(),
            ranks: self.ranks,
            evaluations: Evaluations::of(&self.config, None)?,
        };
        run(&spec, saved, None, &mut Silent, stop).map(drop)
    }
}

fn told_badly(problem: String) -> Error {
    Error::Resume { path: "the first rank's checkpoint".into(), problem }
}
