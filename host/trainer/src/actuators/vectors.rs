//! The vectors of a run.

use std::collections::BTreeMap;
use std::path::Path;

use host_eval::report::SteeringState;
use host_files::sha256;
use host_model::Steering;
use host_model::steering::Origin;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const FOLDER: &str = "steering";
const VECTOR: &str = "vector.safetensors";
const REFUSAL: &str = "refusal.safetensors";

/// The vector that a policy controls, and the refusal direction at the same layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    pub vector: Steering,
    pub refusal: Steering,
    /// Of the configuration: in force until a policy says another.
    pub coefficient: f64,
}

/// How ranks tell each other: the bits of every value.
#[derive(Serialize, Deserialize)]
pub struct VectorsMessage {
    vector: BTreeMap<usize, Vec<u32>>,
    refusal: BTreeMap<usize, Vec<u32>>,
    coefficient: f64,
}

impl Vectors {
    /// What is added to the residual stream, if anything is.
    ///
    /// # Errors
    /// [`host_model::Error::Steering`] for a coefficient that leads beyond what f32 holds.
    pub fn added(&self, in_force: &SteeringState) -> Result<Option<Steering>> {
        if in_force.coefficient == 0.0 {
            return Ok(None);
        }
        let vector = if in_force.project {
            self.vector.projected(&self.refusal)?
        } else {
            self.vector.clone()
        };
        Ok(Some(vector.scaled(in_force.coefficient)?))
    }

    /// Of the vector, before any projection, with the refusal direction, per layer.
    pub fn cosines(&self) -> Result<Vec<f64>> {
        Ok(self.vector.cosines(&self.refusal)?)
    }

    /// SHA-256 of both, in hexadecimal.
    pub fn digest(&self) -> String {
        sha256::hex_of([self.vector.digest(), self.refusal.digest()])
    }

    /// Keeps them in a run's folder, for the run to go on with.
    pub fn save(&self, folder: &Path, model: &str) -> Result<()> {
        let folder = folder.join(FOLDER);
        host_files::private::create(&folder).map_err(|source| Error::write(&folder, source))?;
        for (name, vectors) in [(VECTOR, &self.vector), (REFUSAL, &self.refusal)] {
            let origin = Origin { model: Some(model.to_owned()), about: None };
            vectors.save(&folder.join(name), &origin)?;
        }
        Ok(())
    }

    /// What [`save`](Self::save) kept, if it did.
    pub fn kept(folder: &Path, coefficient: f64) -> Result<Option<Self>> {
        let path = |name: &str| folder.join(FOLDER).join(name);
        if !path(VECTOR).is_file() || !path(REFUSAL).is_file() {
            return Ok(None);
        }
        Ok(Some(Self {
            vector: Steering::load(&path(VECTOR))?.0,
            refusal: Steering::load(&path(REFUSAL))?.0,
            coefficient,
        }))
    }

    pub fn told(&self) -> VectorsMessage {
        let bits = |steering: &Steering| {
            let vectors = steering.vectors().iter();
            let vectors = vectors.map(|(layer, vector)| {
                let bits = vector.iter().map(|value| value.to_bits());
                (*layer, bits.collect())
            });
            vectors.collect()
        };
        VectorsMessage {
            vector: bits(&self.vector),
            refusal: bits(&self.refusal),
            coefficient: self.coefficient,
        }
    }
}

impl TryFrom<VectorsMessage> for Vectors {
    type Error = Error;

    fn try_from(told: VectorsMessage) -> Result<Self> {
        let vectors = |bits: BTreeMap<usize, Vec<u32>>| {
            let vectors = bits.into_iter().map(|(layer, bits)| {
                let values = bits.into_iter().map(f32::from_bits);
                (layer, values.collect())
            });
            Steering::new(vectors.collect())
        };
        Ok(Self {
            vector: vectors(told.vector)?,
            refusal: vectors(told.refusal)?,
            coefficient: told.coefficient,
        })
    }
}
