//! Named tensors of a model, whatever the file format is, and reading them with their shapes checked.

use std::path::Path;

use candle_core::Tensor;

use super::held::Held;
use super::mismatch;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::weights::Linear;

/// Named tensors of one model.
pub trait TensorSource: Sync {
    /// The file that holds `name`, or would hold it: for errors.
    fn file(&self, name: &str) -> &Path;
    /// Hugging Face names of all tensors.
    fn names(&self) -> Vec<String>;
    /// Shape of a tensor, none when the source doesn't have it.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;
    /// The tensor in the requested type, on the requested device.
    fn read(&self, name: &str) -> Result<Tensor>;
    /// A matrix in the requested type, or in blocks as the source has it where that is asked for.
    fn matrix(&self, name: &str) -> Result<Matrix> {
        Ok(self.read(name)?.into())
    }
    /// Every matrix of a tensor [matrices, out, in], as [`TensorSource::matrix`] has one.
    fn stack(&self, name: &str) -> Result<Vec<Matrix>> {
        matrices(&self.read(name)?)
    }
    /// Whether two tensors are stored as the same bytes.
    fn same(&self, one: &str, other: &str) -> bool;
    /// Whether the configuration is a config.json, in which a person could correct a field.
    fn has_config_json(&self) -> bool {
        true
    }
}

/// Every matrix of a tensor [matrices, out, in], each laid out on its own.
pub(super) fn matrices(stack: &Tensor) -> Result<Vec<Matrix>> {
    let (count, ..) = stack.dims3()?;
    let one = |index| Ok(stack.get(index)?.force_contiguous()?.into());
    (0..count).map(one).collect()
}

const WRONG_FILES: &str =
    "check that the weights belong to this configuration, or fetch the model again";

/// Reads tensors whose shapes it checks.
pub(super) struct Reader<'a> {
    pub config: &'a Config,
    pub source: &'a dyn TensorSource,
    pub prefix: &'static str,
    pub held: Held,
}

impl Reader<'_> {
    pub fn named(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.check(name, shape)?;
        self.source.read(name)
    }

    /// As many matrices that are one tensor.
    pub fn stack(&self, name: &str, count: usize, [out, input]: [usize; 2]) -> Result<Vec<Matrix>> {
        self.check(name, &[count, out, input])?;
        match self.held {
            Held::Stored => self.source.stack(name),
            Held::Dense | Held::Blocks(_) => matrices(&self.source.read(name)?),
        }
    }

    /// A matrix of a layer, before it is split.
    pub fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Matrix> {
        self.check(name, &shape)?;
        match self.held {
            Held::Stored => self.source.matrix(name),
            Held::Dense | Held::Blocks(_) => Ok(self.source.read(name)?.into()),
        }
    }

    /// The embedding or the head.
    pub fn outside(&self, name: &str, shape: [usize; 2]) -> Result<Matrix> {
        self.held.hold(self.matrix(name, shape)?, true)
    }

    fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        let file = self.source.file(name);
        match self.source.shape(name) {
            Some(found) if found == shape => Ok(()),
            Some(found) => {
                let problem = format!(
                    "tensor {name} has shape {found:?}, the configuration asks for {shape:?}"
                );
                let rows = found.first().copied().unwrap_or(0);
                let fits = found.len() == shape.len() && found.get(1) == shape.get(1);
                let action = || mismatch::misshapen(self.config, name, rows);
                Err(Error::file(file, problem, self.action(fits.then(action))))
            }
            None => {
                let action = mismatch::missing(self.config, name);
                Err(Error::file(
                    file,
                    format!("tensor {name} is missing"),
                    self.action(Some(action)),
                ))
            }
        }
    }

    /// A GGUF file has no config.json to correct.
    pub fn action(&self, action: Option<String>) -> String {
        action.filter(|_| self.source.has_config_json()).unwrap_or_else(|| WRONG_FILES.into())
    }

    pub fn inner(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.named(&format!("{}{name}", self.prefix), shape)
    }

    pub fn linear(&self, name: &str, shape: [usize; 2], bias: bool) -> Result<Linear> {
        let weight = self.matrix(&format!("{}{name}.weight", self.prefix), shape)?;
        let bias =
            if bias { Some(self.inner(&format!("{name}.bias"), &shape[..1])?) } else { None };
        Ok(Linear { weight, bias })
    }
}
