//! From the tensors of an adapter's file to A, B and scaling of every projection.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;

use super::config_file::AdapterSettings;
use super::settings::MERGE;
use super::stacked::{self, Factors, Stack};
use super::{Tensors, module_name, tensor_name};
use crate::config::{Config, Module};
use crate::error::{Error, Result};
use crate::lora::{Lora, Place, Shape, Side};

/// The adapter. Its modules may differ in rank and alpha, and may be in some layers only.
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
        for module in model.modules(layer) {
            factors.extend(reader.module(&mut tensors, layer, module)?);
        }
    }
    place(model, settings, factors, device)
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
            for module in self.model.modules(layer) {
                for side in self.sides() {
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

    /// The tensors that the file may have of a module.
    fn sides(&self) -> impl Iterator<Item = Side> + use<> {
        let more = self.settings.magnitudes.then_some(Side::Magnitude);
        [Side::A, Side::B].into_iter().chain(more)
    }

    /// The factors of a module's projections; none if the adapter isn't for it.
    fn module(&self, tensors: &mut Tensors, layer: usize, module: &Module) -> Result<Vec<Factors>> {
        let [a_name, b_name] = [Side::A, Side::B].map(|side| tensor_name(module, layer, side));
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
        let length_name = tensor_name(module, layer, Side::Magnitude);
        let magnitude = tensors.remove(&length_name);
        if self.settings.magnitudes && magnitude.is_none() {
            let problem =
                format!("tensor {length_name} is missing, but adapter_config.json has use_dora");
            return Err(self.fail(problem, "save the adapter again"));
        }
        let Place { rank: stated, alpha } = self.settings.place(&name);
        let shapes = module.parts.iter().map(|part| self.model.shape(*part));
        let (rows, columns) = shapes.fold((0, 0), |(rows, _), (out, input)| (rows + out, input));
        let lengths = magnitude.iter().map(|m| (length_name.clone(), m.dims(), vec![rows]));
        let factors = [
            (a_name, a.dims(), vec![stated, columns]),
            (b_name.clone(), b.dims(), vec![rows, stated]),
        ];
        for (tensor, found, expected) in factors.into_iter().chain(lengths) {
            if found != expected {
                let problem = format!(
                    "tensor {tensor} has shape {found:?}, not {expected:?} as the model and adapter_config.json have it"
                );
                return Err(self.fail(problem, "give an adapter that was made for this model"));
            }
        }
        let stack = Stack {
            path: self.path,
            model: self.model,
            module,
            layer,
            name: &b_name,
            alpha,
            rank_stabilized: self.settings.rank_stabilized,
        };
        stacked::split(&stack, (a, b, magnitude), self.parts)
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
            (
                "is of DoRA, and adapter_config.json doesn't have use_dora".into(),
                "correct adapter_config.json, or save the adapter again",
            )
        } else if has("lora_embedding") {
            (
                "adapts the embedding, and only linear layers of the blocks are adapted here"
                    .into(),
                MERGE,
            )
        } else if name.ends_with("lora_B.bias") {
            ("is a bias of the adapter".into(), "train it again without lora_bias")
        } else if has("lora_A.") || has("lora_B.") {
            if self.model.experts.is_some() && !has(".self_attn.") {
                ("is of router or experts, which are frozen here".into(), MERGE)
            } else if name.starts_with("base_model.model.") {
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

/// The factors as an adapter of the model.
fn place(
    model: &Config,
    settings: &AdapterSettings,
    factors: Vec<Factors>,
    device: &Device,
) -> Result<Lora> {
    let mut shape = Shape {
        rank: settings.rank,
        alpha: settings.alpha,
        rank_stabilized: settings.rank_stabilized,
        magnitudes: settings.magnitudes,
        places: vec![[None; 7]; model.num_layers],
    };
    let mut tensors = Tensors::new();
    for one in factors {
        let rank = one.a.dims().first().copied().unwrap_or(0);
        shape.places[one.layer][one.target as usize] = Some(Place { rank, alpha: one.alpha });
        tensors.insert(Lora::var_name(one.layer, one.target, Side::A), one.a);
        tensors.insert(Lora::var_name(one.layer, one.target, Side::B), one.b);
        let name = Lora::var_name(one.layer, one.target, Side::Magnitude);
        tensors.extend(one.magnitude.map(|magnitude| (name, magnitude)));
    }
    Lora::from_tensors(model, shape, tensors, device)
}
