//! From what policies need and the configuration names to the vectors of a run.

use std::path::Path;

use host_contract::{Needs, SteeringNeed, SteeringVector};
use host_data::{Prompt, Reader};
use host_model::{Chat, Model, Steering};

use super::fit;
use crate::actuators::vectors::Vectors;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::policies::ActivePolicy;
use crate::records::observer::Observer;
use crate::session::calibration::{self, LabelledPrompt};

/// Refuses, before anything expensive runs, steering that the configuration lacks the
/// means for.
pub fn check(policy: &str, needs: &Needs, run: &RunConfig) -> Result<()> {
    let Some(need) = &needs.steering else {
        return Ok(());
    };
    let unmet = |need: &str, remedy: &str| {
        Err(Error::UnmetNeed { policy: policy.into(), need: need.into(), remedy: remedy.into() })
    };
    if run.calibration.data.is_empty() {
        return unmet(
            "the refusal direction to compare its steering with",
            "give --labelled FILE (rows of prompt and label), or calibration.data",
        );
    }
    if need.vector == SteeringVector::Configured && !run.steering.has_vector() {
        return unmet(
            "a configured steering vector",
            "name a file that host steer fit made in steering.vector, or prompts to fit one on \
             in steering.positive and steering.negative",
        );
    }
    Ok(())
}

/// The vectors that the policies of a run ask for, fitted or read; none if none do.
///
/// # Errors
/// If two policies ask for different ones, and if a file or a prompt can't be used.
pub fn prepare(
    policies: &[ActivePolicy],
    run: &RunConfig,
    reader: &Reader,
    model: &Model,
    observer: &mut dyn Observer,
) -> Result<Option<Vectors>> {
    let asked = policies.iter();
    let asked = asked.map(|active| (active.policy.to_string(), &active.needs));
    let Some(need) = the_one_need(asked)? else {
        return Ok(None);
    };
    let layers = &need.layers;
    let labelled = calibration::load_prompts(&run.calibration, reader)?;
    let vector = match need.vector {
        SteeringVector::RefusalDirection => None,
        SteeringVector::Configured => Some(configured(run, reader, layers, model, observer)?),
        SteeringVector::SafetyInstruction => {
            let own = reader.prompts(&run.steering.prompts)?;
            let prompts = instructed_on(&own, &labelled);
            let instruction = &run.steering.instruction;
            let found = fit::safety_instruction(model, layers, &prompts, instruction, observer)?;
            Some(found)
        }
    };
    let refusal = fit::refusal_direction(model, layers, &labelled, observer)?;
    Ok(Some(Vectors {
        vector: vector.unwrap_or_else(|| refusal.clone()),
        refusal,
        coefficient: run.steering.coefficient,
    }))
}

/// Checks what [`prepare`] checks without fitting anything; says whether anything is
/// steered. The policies come with their names.
pub fn dry_configure<'n>(
    asked: impl Iterator<Item = (String, &'n Needs)>,
    run: &RunConfig,
    reader: &Reader,
    model: &Model,
) -> Result<bool> {
    let Some(need) = the_one_need(asked)? else {
        return Ok(false);
    };
    calibration::load_prompts(&run.calibration, reader)?;
    let steering = &run.steering;
    match (need.vector, &steering.vector) {
        (SteeringVector::RefusalDirection, _) => {}
        (SteeringVector::SafetyInstruction, _) => {
            reader.prompts(&steering.prompts)?;
        }
        (SteeringVector::Configured, Some(path)) => drop(at_layers(path, &need.layers, model)?),
        (SteeringVector::Configured, None) => {
            reader.prompts(&steering.positive)?;
            reader.prompts(&steering.negative)?;
        }
    }
    Ok(true)
}

fn the_one_need<'n>(
    asked: impl Iterator<Item = (String, &'n Needs)>,
) -> Result<Option<&'n SteeringNeed>> {
    let mut steers = asked.filter_map(|(policy, needs)| Some((policy, needs.steering.as_ref()?)));
    let Some((first, need)) = steers.next() else {
        return Ok(None);
    };
    match steers.find(|(_, other)| *other != need) {
        None => Ok(Some(need)),
        Some((policy, _)) => Err(Error::UnmetNeed {
            policy,
            need: "another steering vector, or other layers of it".into(),
            remedy: format!(
                "one vector is steered in a run, and {first} asks for its own; give both the \
                 same settings, or leave one policy out"
            ),
        }),
    }
}

/// The prompts that the configuration names, else the labelled ones.
pub fn instructed_on<'p>(own: &'p [Prompt], labelled: &'p [LabelledPrompt]) -> Vec<Chat<'p>> {
    if own.is_empty() {
        let training = labelled.iter().filter(|prompt| prompt.split == host_data::Split::Training);
        training.map(|one| one.prompt.chat()).collect()
    } else {
        chats(own)
    }
}

/// The vector of the configuration at these layers: its file, or fitted on its prompts.
fn configured(
    run: &RunConfig,
    reader: &Reader,
    layers: &[u32],
    model: &Model,
    observer: &mut dyn Observer,
) -> Result<Steering> {
    if let Some(path) = &run.steering.vector {
        return at_layers(path, layers, model);
    }
    let positive = reader.prompts(&run.steering.positive)?;
    let negative = reader.prompts(&run.steering.negative)?;
    let (positive, negative) = (chats(&positive), chats(&negative));
    fit::difference(model, layers, &positive, &negative, observer)
}

/// The conversations of prompts.
pub fn chats(prompts: &[Prompt]) -> Vec<Chat<'_>> {
    prompts.iter().map(Prompt::chat).collect()
}

/// A vector file at these layers.
pub fn at_layers(path: &Path, layers: &[u32], model: &Model) -> Result<Steering> {
    let layers: Vec<usize> = layers.iter().map(|layer| *layer as usize).collect();
    let chosen = read(path, model)?.select(&layers);
    chosen.map_err(|error| Error::file(path, error.to_string()))
}

/// A vector file, which must be of this model if it says what it is of.
pub fn read(path: &Path, model: &Model) -> Result<Steering> {
    let (vector, origin) = Steering::load(path)?;
    if origin.model.is_some_and(|digest| digest != model.digest) {
        let problem = "was fitted on another model; fit it again with host steer fit";
        return Err(Error::file(path, problem));
    }
    vector.check(&model.config).map_err(|error| Error::file(path, error.to_string()))?;
    Ok(vector)
}
