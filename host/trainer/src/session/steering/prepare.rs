//! From what policies need and the configuration names to the vectors of a run.

use std::path::Path;

use host_contract::{Needs, SteeringNeed, SteeringVector};
use host_data::{DataSource, Prompt, Reader};
use host_model::{Model, Steering};

use super::fit;
use crate::actuators::vectors::Vectors;
use crate::config::{RunConfig, SteeringConfig};
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

/// The vectors that a policy of a run asks for, fitted or read; none if none does.
///
/// # Errors
/// If a file or a prompt can't be used.
pub fn prepare(
    policies: &[ActivePolicy],
    run: &RunConfig,
    reader: &Reader,
    model: &Model,
    observer: &mut dyn Observer,
) -> Result<Option<Vectors>> {
    let Some(need) = the_one_need(policies.iter().map(|active| &active.needs)) else {
        return Ok(None);
    };
    let layers = &need.layers;
    let labelled = calibration::load_prompts(&run.calibration, reader)?;
    reader.check(labelled.iter().map(|one| &one.prompt), model)?;
    let vector = match need.vector {
        SteeringVector::RefusalDirection => None,
        SteeringVector::Configured => Some(configured(run, reader, layers, model, observer)?),
        SteeringVector::SafetyInstruction => {
            let own = checked(&run.steering.prompts, reader, model)?;
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
/// steered.
pub fn dry_configure(
    needs: &[Needs],
    run: &RunConfig,
    reader: &Reader,
    model: &Model,
) -> Result<bool> {
    let Some(need) = the_one_need(needs.iter()) else {
        return Ok(false);
    };
    let labelled = calibration::load_prompts(&run.calibration, reader)?;
    reader.check(labelled.iter().map(|one| &one.prompt), model)?;
    let steering = &run.steering;
    match (need.vector, &steering.vector) {
        (SteeringVector::RefusalDirection, _) => {}
        (SteeringVector::SafetyInstruction, _) => {
            checked(&steering.prompts, reader, model)?;
        }
        (SteeringVector::Configured, Some(path)) => drop(at_layers(path, &need.layers, model)?),
        (SteeringVector::Configured, None) => {
            sides(steering, reader, model)?;
        }
    }
    Ok(true)
}

/// Steering is never combined, so one policy at most asks for it.
fn the_one_need<'n>(mut needs: impl Iterator<Item = &'n Needs>) -> Option<&'n SteeringNeed> {
    needs.find_map(|needs| needs.steering.as_ref())
}

/// The prompts that the configuration names, else the labelled ones.
pub fn instructed_on<'p>(own: &'p [Prompt], labelled: &'p [LabelledPrompt]) -> Vec<&'p Prompt> {
    if own.is_empty() {
        let training = labelled.iter().filter(|prompt| prompt.split == host_data::Split::Training);
        training.map(|one| &one.prompt).collect()
    } else {
        own.iter().collect()
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
    let [positive, negative] = sides(&run.steering, reader, model)?;
    let [positive, negative] = [&positive, &negative].map(|side| side.iter().collect::<Vec<_>>());
    fit::difference(model, layers, &positive, &negative, observer)
}

/// The prompts of the two sides of a vector, checked against the model.
///
/// # Errors
/// If a file can't be read, or a prompt is none for the model.
pub fn sides(
    steering: &SteeringConfig,
    reader: &Reader,
    model: &Model,
) -> Result<[Vec<Prompt>; 2]> {
    let of = |sources| checked(sources, reader, model);
    Ok([of(&steering.positive)?, of(&steering.negative)?])
}

/// Prompts of sources, checked against the model.
///
/// # Errors
/// As [`sides`].
pub fn checked(sources: &[DataSource], reader: &Reader, model: &Model) -> Result<Vec<Prompt>> {
    let prompts = reader.prompts(sources)?;
    reader.check(&prompts, model)?;
    Ok(prompts)
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
