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

use super::Tensors;
use super::config_file::AdapterConfig;
use crate::config::{Config, Module, Target};
use crate::error::{Error, Result};
use crate::lora::{Lora, Side};

/// The modules of a model that hold several projections.
pub fn modules(model: &Config) -> impl Iterator<Item = &'static Module> {
    model.family.modules().iter().filter(|module| module.is_stacked())
}

fn tensor_name(module: &Module, layer: usize, side: &str) -> String {
    format!("base_model.model.model.layers.{layer}.{}.{side}.weight", module.path)
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

/// Replace the tensors of stacked modules by those of their parts. `parts`: the adapted projections, comma-separated,
/// when this crate wrote the file.
///
/// # Errors
/// [`Error::File`] when a module's rank is neither the adapter's nor the sum over its parts, or its blocks were
/// trained on as a whole.
pub fn split(
    path: &Path,
    model: &Config,
    mut tensors: Tensors,
    file: &AdapterConfig,
    parts: Option<&str>,
) -> Result<Tensors> {
    let scaling = file.alpha / file.rank as f64;
    for module in modules(model) {
        let adapted = match parts {
            Some(list) => adapted(module, |part| list.split(',').any(|name| name == part.name())),
            None => module.parts.to_vec(),
        };
        for layer in 0..model.num_layers {
            let (a_name, b_name) =
                (tensor_name(module, layer, "lora_A"), tensor_name(module, layer, "lora_B"));
            let (Some(a), Some(b)) = (tensors.remove(&a_name), tensors.remove(&b_name)) else {
                continue;
            };
            let rank = a.dims().first().copied().unwrap_or(0);
            check_shape(path, model, module, &b_name, &b, rank)?;
            let alpha = file
                .alpha_pattern
                .get(module.name())
                .and_then(serde_json::Value::as_f64)
                .unwrap_or(file.alpha);
            if (alpha / rank as f64 - scaling).abs() > 1e-9 * scaling.abs() {
                return Err(unfit(
                    path,
                    &a_name,
                    "has another scaling than the rest of the adapter",
                ));
            }
            let blocks = parts.is_some() && rank == adapted.len() * file.rank;
            if !blocks && rank != file.rank {
                return Err(unfit(path, &a_name, "has another rank than the rest of the adapter"));
            }
            let mut first_row = 0;
            for part in module.parts {
                let (height, _) = model.shape(*part);
                let b = b.narrow(0, first_row, height)?;
                first_row += height;
                let Some(column) = adapted.iter().position(|p| p == part) else {
                    continue;
                };
                let (a, b) = if blocks {
                    take_block(path, &b_name, &a, &b, column, file.rank)?
                } else {
                    (a.clone(), b.force_contiguous()?)
                };
                tensors.insert(Lora::var_name(layer, *part, Side::A), a);
                tensors.insert(Lora::var_name(layer, *part, Side::B), b);
            }
        }
    }
    Ok(tensors)
}

fn check_shape(
    path: &Path,
    model: &Config,
    module: &Module,
    name: &str,
    b: &Tensor,
    rank: usize,
) -> Result<()> {
    let rows: usize = module.parts.iter().map(|part| model.shape(*part).0).sum();
    if b.dims() == [rows, rank] {
        return Ok(());
    }
    Err(unfit(path, name, &format!("has shape {:?}, not {:?}", b.dims(), [rows, rank])))
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
