//! Adapters of modules that hold several projections, such as Phi-3's `qkv_proj`.
//!
//! Writing: the A of the n adapted parts are stacked to [n r, in] and their B become the blocks of a block-diagonal
//! matrix [rows of all parts, n r]; the rank of the module is n r and its alpha n alpha (`rank_pattern`,
//! `alpha_pattern`), so the scaling stays alpha / r and the product is the same, number by number.
//!
//! Reading: such blocks are taken apart again. An adapter that `peft` trained on the stacked module has one A for all
//! its parts; every part gets a copy of it and its own rows of B, which is again the same product.

use std::path::Path;

use candle_core::Tensor;
use serde_json::json;

use super::config_file::AdapterConfig;
use super::{Tensors, tensor_name};
use crate::config::{Config, Module, Target};
use crate::error::{Error, Result};
use crate::lora::{Lora, Side};

/// The modules of a model that hold several projections.
pub fn modules(model: &Config) -> impl Iterator<Item = &'static Module> {
    model.family.modules().iter().filter(|module| module.is_stacked())
}

fn adapted(module: &Module, is_target: impl Fn(Target) -> bool) -> Vec<Target> {
    module.parts.iter().copied().filter(|part| is_target(*part)).collect()
}

/// Replace the parts' tensors by those of the stacked modules, and say so in `file`.
pub fn fuse(
    lora: &Lora,
    model: &Config,
    mut tensors: Tensors,
    file: &mut AdapterConfig,
) -> Result<Tensors> {
    let rank = lora.config.rank;
    for module in modules(model) {
        let parts = adapted(module, |part| lora.config.targets.contains(&part));
        if parts.is_empty() {
            continue;
        }
        for layer in 0..model.num_layers {
            let mut stacked_a = Vec::new();
            for part in &parts {
                stacked_a.extend(tensors.remove(&Lora::var_name(layer, *part, Side::A)));
            }
            let mut rows = Vec::new();
            for part in module.parts {
                let b = tensors.remove(&Lora::var_name(layer, *part, Side::B));
                let (height, _) = model.shape(*part);
                let column = parts.iter().position(|adapted| adapted == part);
                rows.push(block_row(b, height, column.unwrap_or(0), rank, parts.len())?);
            }
            tensors.insert(tensor_name(module, layer, "lora_A"), Tensor::cat(&stacked_a, 0)?);
            tensors.insert(tensor_name(module, layer, "lora_B"), Tensor::cat(&rows, 0)?);
        }
        file.modules.retain(|name| !module.parts.iter().any(|part| part.name() == name));
        file.modules.push(module.name().to_owned());
        if parts.len() > 1 {
            let n = parts.len();
            file.rank_pattern.insert(module.name().to_owned(), json!(n * rank));
            file.alpha_pattern
                .insert(module.name().to_owned(), json!(n as f64 * lora.config.alpha));
        }
    }
    Ok(tensors)
}

/// [height, blocks * rank]: zero but for `b` at block `column`.
fn block_row(
    b: Option<Tensor>,
    height: usize,
    column: usize,
    rank: usize,
    blocks: usize,
) -> Result<Tensor> {
    let device = b.as_ref().map_or(candle_core::Device::Cpu, |b| b.device().clone());
    let zeros = |width: usize| Tensor::zeros((height, width), candle_core::DType::F32, &device);
    let Some(b) = b else {
        return Ok(zeros(blocks * rank)?);
    };
    let (left, right) = (column * rank, (blocks - column - 1) * rank);
    let mut row = Vec::new();
    if left > 0 {
        row.push(zeros(left)?);
    }
    row.push(b);
    if right > 0 {
        row.push(zeros(right)?);
    }
    Ok(Tensor::cat(&row, 1)?)
}

/// What one projection gets.
pub struct Factors {
    pub layer: usize,
    pub target: Target,
    /// [rank, in]
    pub a: Tensor,
    /// [out, rank]
    pub b: Tensor,
    pub scaling: f64,
}

/// A module whose A and B are taken apart.
pub struct Stack<'a> {
    pub path: &'a Path,
    pub model: &'a Config,
    pub module: &'a Module,
    pub layer: usize,
    /// Of B, for errors.
    pub name: &'a str,
    pub scaling: f64,
}

/// The factors of a module's parts. `parts`: the adapted projections, comma-separated, when this crate wrote the file, and
/// then each has `rank` rows of A for itself.
///
/// # Errors
/// [`Error::File`] when the module's blocks were trained on as a whole.
pub fn split(
    stack: &Stack,
    a: Tensor,
    b: Tensor,
    rank: usize,
    parts: Option<&str>,
) -> Result<Vec<Factors>> {
    let Stack { path, model, module, layer, name, scaling } = *stack;
    if let [target] = module.parts {
        return Ok(vec![Factors { layer, target: *target, a, b, scaling }]);
    }
    let named =
        |part: Target| parts.is_some_and(|list| list.split(',').any(|name| name == part.name()));
    let own = adapted(module, named);
    let blocks = !own.is_empty() && a.dims().first() == Some(&(own.len() * rank));
    // Without blocks every part has its rows of the product, whatever the header says.
    let adapted = if blocks { own } else { module.parts.to_vec() };
    let mut first_row = 0;
    let mut factors = Vec::new();
    for part in module.parts {
        let (height, _) = model.shape(*part);
        let rows = b.narrow(0, first_row, height)?;
        first_row += height;
        let Some(column) = adapted.iter().position(|p| p == part) else {
            continue;
        };
        let (a, b) = if blocks {
            take_block(path, name, &a, &rows, column, rank)?
        } else {
            (a.clone(), rows.force_contiguous()?)
        };
        factors.push(Factors { layer, target: *part, a, b, scaling });
    }
    Ok(factors)
}

fn take_block(
    path: &Path,
    name: &str,
    a: &Tensor,
    b: &Tensor,
    column: usize,
    rank: usize,
) -> Result<(Tensor, Tensor)> {
    let block = b.narrow(1, column * rank, rank)?.force_contiguous()?;
    let sum =
        |t: &Tensor| t.abs()?.sum_all()?.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>();
    let nonzero = |t: &Tensor| t.ne(0f32)?.to_dtype(candle_core::DType::F32);
    if sum(&nonzero(b)?)? != sum(&nonzero(&block)?)? {
        return Err(unfit(
            path,
            name,
            "isn't block-diagonal any more: it was trained on as a whole",
        ));
    }
    Ok((a.narrow(0, column * rank, rank)?.force_contiguous()?, block))
}

fn unfit(path: &Path, tensor: &str, problem: &str) -> Error {
    Error::file(
        path,
        format!("tensor {tensor} {problem}"),
        "merge the adapter in Python, or train it again here",
    )
}
