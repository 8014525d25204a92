//! Which steering is in force, and how it relates to safety.

use std::cell::OnceCell;

use host_contract::SteeringSignals;
use host_model::Steering;
use host_model::decoder::{Decoder, Overlay};
use host_model::lora::Lora;

pub use host_eval::report::SteeringState;

use super::vectors::Vectors;
use crate::error::Result;
use host_eval::canary::Canary;

fn at_first(vectors: &Vectors) -> SteeringState {
    SteeringState { coefficient: vectors.coefficient, project: false, reference: false }
}

/// The steering of a run as it stands.
pub struct ActiveSteering<'a> {
    vectors: &'a Vectors,
    cosines: Vec<f64>,
    in_force: SteeringState,
    /// What it adds to the residual stream, if anything.
    added: Option<Steering>,
    /// Of the reference, without and with: they change only with what is in force.
    of_reference: OnceCell<[Vec<f64>; 2]>,
}

impl<'a> ActiveSteering<'a> {
    pub fn new(vectors: &'a Vectors) -> Result<Self> {
        let in_force = at_first(vectors);
        Ok(Self {
            vectors,
            cosines: vectors.cosines()?,
            added: vectors.added(&in_force)?,
            in_force,
            of_reference: OnceCell::new(),
        })
    }

    pub fn in_force(&self) -> SteeringState {
        self.in_force
    }

    /// Puts something in force; says whether that is a change.
    pub fn put(&mut self, in_force: SteeringState) -> Result<bool> {
        let changes = in_force != self.in_force;
        if changes {
            self.added = self.vectors.added(&in_force)?;
            self.of_reference = OnceCell::new();
            self.in_force = in_force;
        }
        Ok(changes)
    }

    /// What is added to the reference while it teaches.
    pub fn teacher(&self) -> Option<&Steering> {
        self.added.as_ref().filter(|_| self.in_force.reference)
    }

    /// `current` holds the margins of the model in training, if they were measured. The
    /// margins are those of the model that is steered: the reference while it teaches so,
    /// else the model in training, as it would be used.
    pub fn signals(
        &self,
        decoder: &Decoder,
        adapter: &Lora,
        canary: Option<&Canary>,
        current: Option<&[f64]>,
    ) -> Result<SteeringSignals> {
        let [without, with] = match (canary, current) {
            (Some(canary), Some(current)) => {
                if self.in_force.reference {
                    self.of_reference(decoder, canary)?
                } else {
                    [current.to_vec(), self.with(decoder, adapter, canary, current)?]
                }
            }
            _ => [Vec::new(), Vec::new()],
        };
        Ok(SteeringSignals {
            coefficient: self.in_force.coefficient,
            cosines: self.cosines.clone(),
            margins_without: without,
            margins_with: with,
        })
    }

    fn with(
        &self,
        decoder: &Decoder,
        adapter: &Lora,
        canary: &Canary,
        without: &[f64],
    ) -> Result<Vec<f64>> {
        match &self.added {
            None => Ok(without.to_vec()),
            steering => Ok(canary.margins(
                decoder,
                Overlay { adapter: Some(adapter), steering: steering.as_ref() },
            )?),
        }
    }

    fn of_reference(&self, decoder: &Decoder, canary: &Canary) -> Result<[Vec<f64>; 2]> {
        if let Some(known) = self.of_reference.get() {
            return Ok(known.clone());
        }
        let steered = Overlay { adapter: None, steering: self.added.as_ref() };
        let margins = [canary.margins(decoder, None)?, canary.margins(decoder, steered)?];
        Ok(self.of_reference.get_or_init(|| margins).clone())
    }
}

#[cfg(test)]
#[path = "steering_tests.rs"]
mod tests;
