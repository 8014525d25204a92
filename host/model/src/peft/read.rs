//! From the tensors of an adapter's file to A, B and scaling of every projection.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::config_file::AdapterSettings;
use super::settings::MERGE;
use super::stacked::{self, Factors, Stack};
use super::{Tensors, module_name, tensor_name};
use crate::config::{Config, Module, Target};
use crate::error::{Error, Result};
use crate::lora::{Lora, LoraConfig, Side};

/// The adapter. Its modules may differ in rank and scaling and may be in some layers only; it is kept as one of a single
/// rank and scaling in all layers: with zeros where there is nothing, and with a scaling of its own in B, which is the
/// same product.
///
/// # Errors
/// [`Error::File`] for a tensor that is missing or misshapen, or that isn't of an adapted linear layer.
pub fn adapter(
    path: &Path,
    model: &Config,
    settings: &AdapterSettings,
    mut tensors: Tensors,
    parts: Option<&str>,
    device: &Device,
) -> Result<Lora> {
    let reader = Reader { path, model, settings, parts };
    reader.refuse_others(&tensors)?;
    let mut factors = Vec::new();
    for layer in 0..model.num_layers {
        for module in model.family.modules() {
            factors.extend(reader.module(&mut tensors, layer, module)?);
        }
    }
    unify(model, settings, factors, device)
}

struct Reader<'a> {
    path: &'a Path,
    model: &'a Config,
    settings: &'a AdapterSettings,
    parts: Option<&'a str>,
}

impl Reader<'_> {
    fn fail(&self, problem: String, action: &str) -> Error {
        Error::file(self.path, problem, action)
    }

    /// Every tensor must be A or B of a linear layer that the configuration names.
    fn refuse_others(&self, tensors: &Tensors) -> Result<()> {
        let mut known = BTreeMap::new();
        for layer in 0..self.model.num_layers {
            for module in self.model.family.modules() {
                for side in ["lora_A", "lora_B"] {
                    known.insert(
                        tensor_name(module, layer, side),
                        (module_name(module, layer), layer),
                    );
                }
            }
        }
        let others: Vec<&String> =
            tensors.keys().filter(|name| !known.contains_key(*name)).collect();
        if others.len() == tensors.len()
            && !others
                .iter()
                .any(|name| layer(name).is_some_and(|layer| layer >= self.model.num_layers))
        {
            let first =
                others.first().map_or_else(String::new, |name| format!(" (it holds {name})"));
            let problem = format!(
                "holds no LoRA tensors of the linear layers of a {}{first}",
                self.model.family.name()
            );
            return Err(self
                .fail(problem, "give the folder of a LoRA adapter that was made for this model"));
        }
        if let Some(name) = others.first() {
            let rows = tensors[*name].dims().first().copied().unwrap_or(0);
            return Err(self.unknown(name, others.len(), rows));
        }
        let mut there = tensors.keys().filter_map(|name| known.get(name));
        match there.find(|(module, layer)| !self.settings.targets.hold(module, *layer)) {
            None => Ok(()),
            Some((module, _)) => {
                let problem = format!(
                    "holds tensors for {module}, which adapter_config.json doesn't name (target_modules, exclude_modules, layers_to_transform)"
                );
                Err(self.fail(problem, "save the adapter again, or correct adapter_config.json"))
            }
        }
    }

    /// The factors of a module's projections; none if the adapter isn't for it.
    fn module(&self, tensors: &mut Tensors, layer: usize, module: &Module) -> Result<Vec<Factors>> {
        let [a_name, b_name] = ["lora_A", "lora_B"].map(|side| tensor_name(module, layer, side));
        let name = module_name(module, layer);
        let wanted = self.settings.targets.hold(&name, layer);
        let (a, b) = match (tensors.remove(&a_name), tensors.remove(&b_name)) {
            (None, None) if !wanted || !self.settings.targets.are_known() => return Ok(Vec::new()),
            (Some(a), Some(b)) => (a, b),
            (a, _) => {
                let missing = if a.is_some() { b_name } else { a_name };
                let problem = format!(
                    "tensor {missing} is missing, but adapter_config.json names the module"
                );
                return Err(self.fail(problem, "save the adapter again; if it was made for some layers only, layers_to_transform must say which"));
            }
        };
        let rank = a.dims().first().copied().unwrap_or(0);
        let (stated, scaling) = self.settings.rank_and_scaling(&name, rank);
        let shapes = module.parts.iter().map(|part| self.model.shape(*part));
        let (rows, columns) = shapes.fold((0, 0), |(rows, _), (out, input)| (rows + out, input));
        for (tensor, found, expected) in
            [(a_name, a.dims(), [stated, columns]), (b_name.clone(), b.dims(), [rows, stated])]
        {
            if found != expected {
                let problem = format!(
                    "tensor {tensor} has shape {found:?}, not {expected:?} as the model and adapter_config.json have it"
                );
                return Err(self.fail(problem, "give an adapter that was made for this model"));
            }
        }
        let stack =
            Stack { path: self.path, model: self.model, module, layer, name: &b_name, scaling };
        stacked::split(&stack, a, b, self.settings.rank, self.parts)
    }

    /// What a tensor is that has no place among the adapted linear layers.
    fn unknown(&self, name: &str, count: usize, rows: usize) -> Error {
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let has = |part: &str| name.contains(part);
        let (what, action) = if let Some(layer) =
            layer(name).filter(|layer| *layer >= self.model.num_layers)
        {
            let layers = self.model.num_layers;
            (
                format!(
                    "is for layer {layer}, but the model has {layers} layers (0 to {})",
                    layers - 1
                ),
                "give an adapter that was made for this model",
            )
        } else if has("lora_magnitude_vector") {
            ("is of DoRA".into(), MERGE)
        } else if has("lora_embedding") {
            (
                "adapts the embedding, and only linear layers of the blocks are adapted here"
                    .into(),
                MERGE,
            )
        } else if name.ends_with("lora_B.bias") {
            ("is a bias of the adapter".into(), "train it again without lora_bias")
        } else if has("lora_A.") || has("lora_B.") {
            if name.starts_with("base_model.model.") {
                ("adapts a module that isn't adapted here".into(), MERGE)
            } else {
                (
                    "isn't named as peft names it".into(),
                    "save the adapter with peft's save_pretrained",
                )
            }
        } else if (has("embed_tokens") || has("lm_head")) && rows != self.model.vocab_size {
            let problem = format!(
                "tensor {name}{more} is an embedding or head of {rows} tokens that was saved beside the adapter; the model has {}",
                self.model.vocab_size
            );
            let action = format!(
                "give BASE as many rows first, BASE.resize_token_embeddings({rows}), and {MERGE}"
            );
            return self.fail(problem, &action);
        } else if has("embed_tokens") || has("lm_head") {
            (
                "is an embedding or head that was saved beside the adapter: it takes the place of the model's, and can't be switched off with the adapter".into(),
                MERGE,
            )
        } else if name.ends_with(".bias") {
            ("is a bias of the model that was trained beside the adapter".into(), MERGE)
        } else {
            ("isn't part of a LoRA adapter".into(), MERGE)
        };
        self.fail(format!("tensor {name}{more} {what}"), action)
    }
}

fn layer(name: &str) -> Option<usize> {
    name.split_once(".layers.")?.1.split('.').next()?.parse().ok()
}

/// One rank and one scaling for all.
fn unify(
    model: &Config,
    settings: &AdapterSettings,
    factors: Vec<Factors>,
    device: &Device,
) -> Result<Lora> {
    let ranks = factors.iter().map(|one| one.a.dims().first().copied().unwrap_or(0));
    let rank = ranks.max().unwrap_or(0);
    let scaling = factors.iter().map(|one| one.scaling).fold(f64::MIN, f64::max);
    let mut targets: Vec<Target> = factors.iter().map(|one| one.target).collect();
    targets.sort();
    targets.dedup();
    let mut tensors = Tensors::new();
    for one in factors {
        let own = one.a.dims().first().copied().unwrap_or(0);
        let a = one.a.pad_with_zeros(0, 0, rank - own)?;
        let mut b = one.b.pad_with_zeros(1, 0, rank - own)?;
        if differ(one.scaling, scaling) {
            b = (b * (one.scaling / scaling))?;
        }
        tensors.insert(Lora::var_name(one.layer, one.target, Side::A), a);
        tensors.insert(Lora::var_name(one.layer, one.target, Side::B), b);
    }
    // The file's own alpha where it is the same: a quotient and its product may differ in the last bit.
    let same = rank == settings.rank && !differ(scaling, settings.alpha / settings.rank as f64);
    let alpha = if same { settings.alpha } else { scaling * rank as f64 };
    fill(model, &targets, rank, &mut tensors, device)?;
    Lora::from_tensors(model, LoraConfig { rank, alpha, targets }, tensors, device)
}

/// Zeros for the projections that aren't adapted in some layers.
fn fill(
    model: &Config,
    targets: &[Target],
    rank: usize,
    tensors: &mut Tensors,
    device: &Device,
) -> Result<()> {
    for layer in 0..model.num_layers {
        for target in targets {
            let (out, input) = model.shape(*target);
            for (side, shape) in [(Side::A, (rank, input)), (Side::B, (out, rank))] {
                let name = Lora::var_name(layer, *target, side);
                if let Entry::Vacant(entry) = tensors.entry(name) {
                    entry.insert(Tensor::zeros(shape, DType::F32, device)?);
                }
            }
        }
    }
    Ok(())
}

/// By more than the last digits of a quotient.
fn differ(one: f64, other: f64) -> bool {
    (one - other).abs() > 1e-12 * other.abs()
}
