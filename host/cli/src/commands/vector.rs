//! Which steering vector to add.

use std::path::PathBuf;

use clap::Args;
use host_model::{Model, Steering};
use host_trainer::{Error, steering};

#[derive(Debug, Args)]
pub struct VectorFlags {
    /// Steering vector, made by `host steer fit` or left by a run.
    #[arg(long = "vector", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How much of the vector is added at every position.
    #[arg(long, value_name = "C", requires = "file", allow_negative_numbers = true)]
    pub coefficient: Option<f64>,
}

impl VectorFlags {
    /// The vector, if one is named.
    pub fn load(&self, model: &Model) -> Result<Option<Steering>, Error> {
        let Some(path) = &self.file else {
            return Ok(None);
        };
        let vector = steering::read(path, model)?;
        Ok(Some(vector.scaled(self.coefficient.unwrap_or(1.0))?))
    }
}
