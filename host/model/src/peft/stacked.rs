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

use super::config_file::Entry;
use super::{Tensors, tensor_name};
use crate::config::{Config, Module, Target};
use crate::error::{Error, Result};
use crate::lora::{Lora, Place, Shape, Side};

/// The modules of a model that hold several projections.
pub fn modules(model: &Config) -> impl Iterator<Item = &'static Module> {
    model.family.modules().iter().filter(|module| module.is_stacked())
}

fn adapted(module: &Module, is_target: impl Fn(Target) -> bool) -> Vec<Target> {
    module.parts.iter().copied().filter(|part| is_target(*part)).collect()
}

/// What an adapter's file holds: its tensors, their modules, and the header's list of parts.
pub struct Written {
    pub tensors: Tensors,
    pub entries: Vec<Entry>,
    /// The projections that are adapted; none if every module is one.
    pub parts: Option<String>,
}

/// The adapter by the modules of the model's files, with the parts of one stacked.
pub fn stack(lora: &Lora, model: &Config) -> Result<Written> {
    let shape = lora.shape();
    let mut tensors: Tensors =
        lora.named().map(|(name, var)| (name.to_owned(), var.as_detached_tensor())).collect();
    let mut entries = Vec::new();
    for layer in 0..model.num_layers {
        for module in model.family.modules() {
            let parts = adapted(module, |part| shape.place(layer, part).is_some());
            let Some(place) = parts.first().and_then(|part| shape.place(layer, *part)) else {
                continue;
            };
            // The scaling is that of a part.
            let whole = place.stacked(parts.len(), shape.rank_stabilized);
            entries.push(Entry { layer, module, place: whole });
            if !module.is_separate() {
                fuse(&mut tensors, model, layer, module, &parts, place.rank)?;
            }
        }
    }
    let parts = modules(model).next().is_some().then(|| header(shape));
    Ok(Written { tensors, entries, parts })
}

/// The adapted projections; with their layer if not all layers have the same.
fn header(shape: &Shape) -> String {
    let mut targets: Vec<Target> = shape.adapted().map(|(_, target, _)| target).collect();
    targets.sort();
    targets.dedup();
    let adapted = |row: &&[Option<Place>; 7]| row.iter().any(Option::is_some);
    let mut rows = shape.places.iter().filter(adapted);
    let alike = rows.all(|row| targets.iter().all(|target| row[*target as usize].is_some()));
    let names: Vec<String> = if alike {
        targets.iter().map(|target| target.name().to_owned()).collect()
    } else {
        shape.adapted().map(|(layer, target, _)| format!("{layer}.{}", target.name())).collect()
    };
    names.join(",")
}

/// Replaces the parts' tensors by those of the module.
fn fuse(
    tensors: &mut Tensors,
    model: &Config,
    layer: usize,
    module: &Module,
    parts: &[Target],
    rank: usize,
) -> Result<()> {
    let mut stacked_a = Vec::new();
    for part in parts {
        stacked_a.extend(tensors.remove(&Lora::var_name(layer, *part, Side::A)));
    }
    let mut rows = Vec::new();
    for part in module.parts {
        let b = tensors.remove(&Lora::var_name(layer, *part, Side::B));
        let (height, _) = model.shape(*part);
        let column = parts.iter().position(|adapted| adapted == part);
        rows.push(block_row(b, height, column.unwrap_or(0), rank, parts.len())?);
    }
    let lengths = module
        .parts
        .iter()
        .filter_map(|part| tensors.remove(&Lora::var_name(layer, *part, Side::Magnitude)));
    let lengths: Vec<Tensor> = lengths.collect();
    if !lengths.is_empty() {
        tensors.insert(tensor_name(module, layer, Side::Magnitude), Tensor::cat(&lengths, 0)?);
    }
    tensors.insert(tensor_name(module, layer, Side::A), Tensor::cat(&stacked_a, 0)?);
    tensors.insert(tensor_name(module, layer, Side::B), Tensor::cat(&rows, 0)?);
    Ok(())
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
    /// [out]
    pub magnitude: Option<Tensor>,
    pub alpha: f64,
}

/// A module whose A and B are taken apart.
pub struct Stack<'a> {
    pub path: &'a Path,
    pub model: &'a Config,
    pub module: &'a Module,
    pub layer: usize,
    /// Of B, for errors.
    pub name: &'a str,
    pub alpha: f64,
    pub rank_stabilized: bool,
}

/// The factors of a module's parts. `parts`: the adapted projections, comma-separated, when this crate wrote the file, and
/// then each has its own rows of A.
///
/// # Errors
/// [`Error::File`] when the module's blocks were trained on as a whole.
pub fn split(
    stack: &Stack,
    (a, b, magnitude): (Tensor, Tensor, Option<Tensor>),
    parts: Option<&str>,
) -> Result<Vec<Factors>> {
    let Stack { path, model, module, layer, name, alpha, rank_stabilized } = *stack;
    if let [target] = module.parts {
        return Ok(vec![Factors { layer, target: *target, a, b, magnitude, alpha }]);
    }
    let named = |part: Target| {
        let of_layer = format!("{layer}.{}", part.name());
        parts
            .is_some_and(|list| list.split(',').any(|name| name == part.name() || name == of_layer))
    };
    let own = adapted(module, named);
    let stacked = a.dims().first().copied().unwrap_or(0);
    let blocks = !own.is_empty() && stacked.is_multiple_of(own.len());
    let rank = stacked / own.len().max(1);
    let alpha = if blocks { alpha / Place::ratio(own.len(), rank_stabilized) } else { alpha };
    // Without blocks every part has its rows of the product, whatever the header says.
    let adapted = if blocks { own } else { module.parts.to_vec() };
    let mut first_row = 0;
    let mut factors = Vec::new();
    for part in module.parts {
        let (height, _) = model.shape(*part);
        let rows = b.narrow(0, first_row, height)?;
        let magnitude =
            magnitude.as_ref().map(|m| m.narrow(0, first_row, height)?.force_contiguous());
        let magnitude = magnitude.transpose()?;
        first_row += height;
        let Some(column) = adapted.iter().position(|p| p == part) else {
            continue;
        };
        let (a, b) = if blocks {
            take_block(path, name, &a, &rows, column, rank)?
        } else {
            (a.clone(), rows.force_contiguous()?)
        };
        factors.push(Factors { layer, target: *part, a, b, magnitude, alpha });
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
