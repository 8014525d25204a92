//! A model's tensors under their Hugging Face names, merged with the adapter when their bytes are asked for.

use std::borrow::Cow;
use std::sync::Mutex;

use candle_core::{DType, Tensor};
use safetensors::{Dtype, View};

use crate::config::Config;
use crate::error::Result;
use crate::lora::{Lora, Pair, Target};
use crate::matrix::Matrix;
use crate::weights::{LayerWeights, Linear, MlpWeights, Weights};

/// One tensor of the file: its parts below each other, each with its part of the adapter.
pub struct MergedTensor<'a> {
    parts: Vec<Part<'a>>,
    shape: Vec<usize>,
    dtype: DType,
    /// [`View`] has no way to fail; the first failure is left here.
    failure: &'a Mutex<Option<candle_core::Error>>,
}

struct Part<'a> {
    values: Values<'a>,
    adapter: Option<&'a Pair>,
}

/// Of a part of a tensor, before the adapter.
enum Values<'a> {
    Vector(&'a Tensor),
    Matrix(&'a Matrix),
}

impl Values<'_> {
    fn dims(&self) -> Result<Vec<usize>> {
        Ok(match self {
            Self::Vector(tensor) => tensor.dims().to_vec(),
            Self::Matrix(matrix) => matrix.dims2().map(|(out, input)| vec![out, input])?,
        })
    }
}

impl Part<'_> {
    fn merged(&self) -> candle_core::Result<Tensor> {
        let tensor = match self.values {
            Values::Vector(tensor) => tensor.to_dtype(DType::F32)?,
            Values::Matrix(matrix) => matrix.tensor()?.to_dtype(DType::F32)?,
        };
        match self.adapter {
            None => Ok(tensor),
            Some(pair) => pair.merged(&tensor),
        }
    }
}

impl MergedTensor<'_> {
    /// Its values, merged, in the type that was asked for.
    pub fn tensor(&self) -> candle_core::Result<Tensor> {
        let parts = self.parts.iter().map(Part::merged).collect::<candle_core::Result<Vec<_>>>()?;
        Tensor::cat(&parts, 0)?.detach().to_dtype(self.dtype)
    }

    pub fn dims(&self) -> &[usize] {
        &self.shape
    }

    fn bytes(&self) -> candle_core::Result<Vec<u8>> {
        Ok(View::data(&self.tensor()?).into_owned())
    }
}

impl View for MergedTensor<'_> {
    fn dtype(&self) -> Dtype {
        match self.dtype {
            DType::BF16 => Dtype::BF16,
            DType::F16 => Dtype::F16,
            _ => Dtype::F32,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.bytes().unwrap_or_else(|error| {
            let mut failure =
                self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            failure.get_or_insert(error);
            vec![0; self.data_len()]
        }))
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size_in_bytes()
    }
}

/// All tensors of the model. Projections that its files hold as one are put together again.
pub fn merged_tensors<'a>(
    config: &Config,
    weights: &'a Weights,
    adapter: Option<&'a Lora>,
    dtype: DType,
    failure: &'a Mutex<Option<candle_core::Error>>,
) -> Result<Vec<(String, MergedTensor<'a>)>> {
    let mut list = List { tensors: Vec::new(), dtype, failure };
    list.matrix("model.embed_tokens.weight".to_owned(), &weights.embed)?;
    list.plain("model.norm.weight".to_owned(), &weights.final_norm)?;
    if let Some(head) = &weights.head {
        list.matrix("lm_head.weight".to_owned(), head)?;
    }
    for (index, layer) in weights.layers.iter().enumerate() {
        list.layer(config, index, layer, adapter)?;
    }
    Ok(list.tensors)
}

struct List<'a> {
    tensors: Vec<(String, MergedTensor<'a>)>,
    dtype: DType,
    failure: &'a Mutex<Option<candle_core::Error>>,
}

impl<'a> List<'a> {
    fn add(&mut self, name: String, parts: Vec<Part<'a>>) -> Result<()> {
        let shapes = parts.iter().map(|part| part.values.dims()).collect::<Result<Vec<_>>>()?;
        let mut shape = shapes[0].clone();
        shape[0] = shapes.iter().map(|shape| shape[0]).sum();
        self.tensors
            .push((name, MergedTensor { parts, shape, dtype: self.dtype, failure: self.failure }));
        Ok(())
    }

    fn plain(&mut self, name: String, vector: &'a Tensor) -> Result<()> {
        self.add(name, vec![Part { values: Values::Vector(vector), adapter: None }])
    }

    fn matrix(&mut self, name: String, matrix: &'a Matrix) -> Result<()> {
        self.add(name, vec![Part { values: Values::Matrix(matrix), adapter: None }])
    }

    fn linear(
        &mut self,
        name: &str,
        parts: &[(&'a Linear, Target)],
        index: usize,
        adapter: Option<&'a Lora>,
    ) -> Result<()> {
        let weight = |(linear, target): &(&'a Linear, Target)| Part {
            values: Values::Matrix(&linear.weight),
            adapter: adapter.and_then(|lora| lora.pair(index, *target)),
        };
        self.add(format!("{name}.weight"), parts.iter().map(weight).collect())?;
        let bias = |(linear, _): &(&'a Linear, Target)| {
            Some(Part { values: Values::Vector(linear.bias.as_ref()?), adapter: None })
        };
        if let Some(biases) = parts.iter().map(bias).collect::<Option<Vec<_>>>() {
            self.add(format!("{name}.bias"), biases)?;
        }
        Ok(())
    }

    fn layer(
        &mut self,
        config: &Config,
        index: usize,
        layer: &'a LayerWeights,
        adapter: Option<&'a Lora>,
    ) -> Result<()> {
        let at = |name: &str| format!("model.layers.{index}.{name}");
        for module in config.modules(index) {
            let part = |part: &Target| Some((layer.linear(*part)?, *part));
            let parts: Vec<_> = module.parts.iter().filter_map(part).collect();
            self.linear(&at(module.path), &parts, index, adapter)?;
        }
        if let (MlpWeights::Experts(mlp), Some(names)) = (&layer.mlp, config.family.expert_names())
        {
            self.plain(at(&format!("{}.weight", names.router)), &mlp.router)?;
            for (number, expert) in mlp.experts.iter().enumerate() {
                for (part, linear) in [&expert.gate, &expert.up, &expert.down].iter().enumerate() {
                    let name = at(&format!("{}.weight", names.module(number, part)));
                    self.matrix(name, &linear.weight)?;
                }
            }
        }
        let heads = [Some("self_attn.q_norm"), Some("self_attn.k_norm")];
        let names = config.norms.names().into_iter().chain(heads);
        for (name, norm) in names.zip(layer.norms()) {
            if let (Some(name), Some(norm)) = (name, norm) {
                self.plain(at(&format!("{name}.weight")), norm)?;
            }
        }
        Ok(())
    }
}
