//! The decoder: one frozen copy of the weights, run with or without an adapter.

mod applied;
mod arithmetic;
mod cache;
mod memory;
mod packed;
mod rotary;
mod taps;

use std::sync::Arc;

use candle_core::{DType, Tensor};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::fused::FusedModel;
use crate::lora::Lora;
use crate::weights::Weights;
use crate::{head, plain};

pub use applied::Applied;
pub use cache::KvCache;
pub(crate) use cache::{FusedCache, PlainCache, SequenceKv, Store};
pub use memory::{StepMemory, StepWork};
pub use packed::Packed;
pub(crate) use rotary::Angles;
pub use taps::TapRows;

/// Which code computes the forward and backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// Hand-written kernels with their own backward pass: CPU, weights in f32 or bf16.
    Fused,
    /// Operations of candle's: any device and type; the test oracle.
    Plain,
}

/// What a forward pass leaves.
pub struct Forward {
    /// [rows, hidden] after the final norm, on the graph of the adapter.
    pub hidden: Tensor,
    /// Per `TapRows`: rows.len() * hidden values, off the graph.
    pub taps: Vec<Vec<f32>>,
}

/// The rows a loss is taken over. Weights are already divided by N.
pub struct HeadRows<'a> {
    /// [n, hidden], on the graph.
    pub hidden: &'a Tensor,
    /// [n, hidden] of the reference, for the KL term.
    pub reference: Option<&'a Tensor>,
    pub labels: &'a [u32],
    pub task_weights: &'a [f32],
    pub kl_weights: &'a [f32],
}

/// Sum over rows of task weight * CE + KL weight * KL(reference || current).
pub struct HeadLoss {
    /// Scalar, on the graph.
    pub loss: Tensor,
    /// Cross entropy per row in nats, unweighted.
    pub task: Vec<f32>,
    /// KL per row in nats, unweighted; 0 without a reference.
    pub kl: Vec<f32>,
}

/// A decoder of the Llama family with frozen weights. The reference of a
/// fine-tune is the same decoder run with `adapter = None`.
pub struct Decoder {
    pub config: Arc<Config>,
    pub weights: Weights,
    pub kernels: Kernels,
    /// Keep only each block's input for the backward pass and compute the rest
    /// again: a tenth of the memory per token for a slower step.
    pub recompute: bool,
    fused: Option<FusedModel>,
}

impl Decoder {
    /// Where the weights are.
    pub fn device(&self) -> &candle_core::Device {
        self.weights.device()
    }

    /// Checks every weight's shape, and that the kernels can run the weights:
    /// fused kernels take f32 or bf16 on the CPU.
    pub fn new(config: Config, weights: Weights, kernels: Kernels) -> Result<Self> {
        weights.validate(&config)?;
        let config = Arc::new(config);
        let fused = match kernels {
            Kernels::Plain => None,
            Kernels::Fused => {
                let known = matches!(weights.dtype(), DType::F32 | DType::BF16);
                if !weights.device().is_cpu() || !known {
                    return Err(Error::Kernels {
                        kernels: "fused",
                        problem: format!(
                            "weights are {:?} on {:?}",
                            weights.dtype(),
                            weights.device().location()
                        ),
                        action: "load them as f32 or bf16 on the CPU, or choose the plain kernels"
                            .into(),
                    });
                }
                Some(FusedModel::new(config.clone(), &weights)?)
            }
        };
        Ok(Self { config, weights, kernels, recompute: false, fused })
    }

    /// Runs a packed batch. `taps` are read on the way, off the graph.
    pub fn forward(
        &self,
        batch: &Packed,
        adapter: Option<&Lora>,
        taps: &[TapRows],
    ) -> Result<Forward> {
        self.check_adapter(adapter)?;
        self.check(batch, taps)?;
        match &self.fused {
            Some(model) => model.forward(batch, adapter, taps, self.recompute),
            None => plain::forward(self, batch, adapter, taps),
        }
    }

    /// Gives back the memory that training steps leave for the next one.
    pub fn release(&self) {
        if let Some(model) = &self.fused {
            model.release();
        }
    }

    /// The same without gradient: nothing is kept for a backward pass.
    pub fn infer<'a>(
        &self,
        batch: &Packed,
        applied: impl Into<Applied<'a>>,
        taps: &[TapRows],
    ) -> Result<Forward> {
        let applied = applied.into();
        self.check_applied(applied)?;
        self.check(batch, taps)?;
        match &self.fused {
            Some(model) => model.infer(batch, applied, taps),
            None => plain::infer(self, batch, applied, taps),
        }
    }

    /// Runs a packed batch without gradient up to the deepest tapped layer.
    pub fn forward_taps<'a>(
        &self,
        batch: &Packed,
        applied: impl Into<Applied<'a>>,
        taps: &[TapRows],
    ) -> Result<Vec<Vec<f32>>> {
        let applied = applied.into();
        self.check_applied(applied)?;
        self.check(batch, taps)?;
        match &self.fused {
            Some(model) => model.forward_taps(batch, applied, taps),
            None => plain::forward_taps(self, batch, applied, taps),
        }
    }

    /// [n, vocabulary] logits of hidden rows [n, hidden], off the graph: f32,
    /// or f64 where the weights are.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.check_hidden("hidden", hidden)?;
        match &self.fused {
            Some(model) => head::fused::logits(model.head(), hidden),
            None => head::plain::logits(self.weights.head_matrix(), hidden),
        }
    }

    /// ln p(label) per hidden row in nats, in chunks of rows, without gradient.
    pub fn label_log_probs(&self, hidden: &Tensor, labels: &[u32]) -> Result<Vec<f32>> {
        let rows = self.check_hidden("hidden", hidden)?;
        self.check_labels(labels, rows)?;
        match &self.fused {
            Some(model) => head::fused::label_log_probs(model.head(), hidden, labels),
            None => head::plain::label_log_probs(self.weights.head_matrix(), hidden, labels),
        }
    }

    /// The weighted loss over answer rows. [n, vocabulary] is never held for
    /// all rows; the gradient is made together with the value, row by row:
    /// (wa + wb) softmax(l) - wb softmax(l_ref) - wa onehot(label).
    pub fn head_loss(&self, rows: HeadRows) -> Result<HeadLoss> {
        let n = self.check_hidden("hidden", rows.hidden)?;
        if let Some(reference) = rows.reference
            && self.check_hidden("reference", reference)? != n
        {
            return Err(Error::batch(
                format!("{n} hidden rows, {} reference rows", reference.dims()[0]),
                "select the same rows of both",
            ));
        }
        self.check_labels(rows.labels, n)?;
        if rows.task_weights.len() != n || rows.kl_weights.len() != n {
            return Err(Error::batch(
                format!(
                    "{n} rows, {} task weights and {} KL weights",
                    rows.task_weights.len(),
                    rows.kl_weights.len()
                ),
                "give one weight of each kind per row",
            ));
        }
        let mut weights = rows.task_weights.iter().chain(rows.kl_weights);
        if let Some(weight) = weights.find(|weight| !weight.is_finite()) {
            return Err(Error::batch(format!("a loss weight is {weight}"), "give finite weights"));
        }
        match &self.fused {
            Some(model) => head::fused::loss(model.head(), &rows),
            None => head::plain::loss(self.weights.head_matrix(), &rows),
        }
    }

    /// Runs prompts without gradient; gives the last hidden row of each
    /// [sequences, hidden] and the cache that `decode_step` continues from.
    pub fn prefill<'a>(
        &self,
        batch: &Packed,
        applied: impl Into<Applied<'a>>,
    ) -> Result<(Tensor, KvCache)> {
        let applied = applied.into();
        self.check_applied(applied)?;
        self.check(batch, &[])?;
        match &self.fused {
            Some(model) => model.prefill(batch, applied),
            None => plain::prefill(self, batch, applied),
        }
    }

    /// Runs one new token per cached sequence without gradient; gives its
    /// hidden rows [sequences, hidden].
    pub fn decode_step<'a>(
        &self,
        tokens: &[u32],
        cache: &mut KvCache,
        applied: impl Into<Applied<'a>>,
    ) -> Result<Tensor> {
        if tokens.len() != cache.num_sequences() || tokens.is_empty() {
            return Err(Error::batch(
                format!("{} tokens for {} cached sequences", tokens.len(), cache.num_sequences()),
                "give one token per sequence",
            ));
        }
        packed::check_tokens(&self.config, tokens)?;
        if let Some(length) = cache.lengths().iter().max()
            && *length >= self.config.max_position
        {
            return Err(Error::batch(
                format!("a sequence already has {length} tokens, the most the model takes"),
                "drop it from the cache",
            ));
        }
        let applied = applied.into();
        self.check_applied(applied)?;
        match &self.fused {
            Some(model) => model.decode_step(tokens, cache, applied),
            None => plain::decode_step(self, tokens, cache, applied),
        }
    }

    fn check(&self, batch: &Packed, taps: &[TapRows]) -> Result<()> {
        batch.validate(&self.config)?;
        taps::validate(taps, &self.config, batch.rows())
    }

    fn check_applied(&self, applied: Applied) -> Result<()> {
        self.check_adapter(applied.adapter)?;
        let steering = applied.steering;
        steering.map_or(Ok(()), |steering| steering.check(&self.config))
    }

    fn check_adapter(&self, adapter: Option<&Lora>) -> Result<()> {
        let Some(adapter) = adapter else {
            return Ok(());
        };
        let device = self.weights.device();
        let fits = adapter.num_layers() == self.config.num_layers
            && adapter.fits(&self.config)
            && adapter.named().next().is_none_or(|(_, var)| var.device().same_device(device));
        if fits {
            return Ok(());
        }
        Err(Error::adapter(
            "its shapes or device are not those of the model",
            "make or load it for this model",
        ))
    }

    /// [n, hidden] rows of the model's device; gives n.
    fn check_hidden(&self, name: &str, hidden: &Tensor) -> Result<usize> {
        match hidden.dims() {
            [n, d] if *d == self.config.hidden_size && *n > 0 => Ok(*n),
            dims => Err(Error::batch(
                format!("{name} has shape {dims:?}, not [rows, {}]", self.config.hidden_size),
                "select at least one row of a forward pass",
            )),
        }
    }

    fn check_labels(&self, labels: &[u32], rows: usize) -> Result<()> {
        if labels.len() != rows {
            return Err(Error::batch(
                format!("{} labels for {rows} rows", labels.len()),
                "give one label per row",
            ));
        }
        packed::check_tokens(&self.config, labels)
    }
}
