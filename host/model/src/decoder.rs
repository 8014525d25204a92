//! The decoder: one frozen copy of the weights, run with or without an adapter.

use std::sync::Arc;

use candle_core::{DType, Tensor};
use host_kernels::simd;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::fused::FusedModel;
use crate::lora::Lora;
use crate::matrix::Matrix;
use crate::pass::{self, Implementation};
use crate::plain::PlainModel;
use crate::weights::Weights;

pub use crate::pass::{
    Forward, HeadLoss, HeadRows, Kernels, KvCache, MicroBatchShape, Noise, NoiseLevels, Overlay,
    Packed, StepMemory, TapRows, TokenSubset,
};

/// A decoder of the Llama family with frozen weights. The reference of a
/// fine-tune is the same decoder run with `adapter = None`.
pub struct Decoder {
    /// Shape of the model.
    pub config: Arc<Config>,
    /// The frozen weights.
    pub weights: Weights,
    /// Which code runs them.
    pub kernels: Kernels,
    /// Keep only each block's input for the backward pass and compute the rest
    /// again: a tenth of the memory per token for a slower step.
    pub recompute: bool,
    implementation: Box<dyn Implementation>,
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
        let implementation: Box<dyn Implementation> = match kernels {
            Kernels::Plain => Box::new(PlainModel::new(config.clone(), weights.clone())?),
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
                Box::new(FusedModel::new(config.clone(), &weights)?)
            }
        };
        Ok(Self { config, weights, kernels, recompute: false, implementation })
    }

    /// Runs a packed batch. `taps` are read on the way, off the graph.
    pub fn forward(
        &self,
        batch: &Packed,
        adapter: Option<&Lora>,
        taps: &[TapRows],
    ) -> Result<Forward> {
        self.forward_noisy(batch, adapter, None, taps)
    }

    /// The same with the noise of a training pass. Without an adapter there is no gradient, and
    /// so no noise.
    pub fn forward_noisy(
        &self,
        batch: &Packed,
        adapter: Option<&Lora>,
        noise: Option<&Noise>,
        taps: &[TapRows],
    ) -> Result<Forward> {
        self.check_adapter(adapter)?;
        self.check(batch, taps)?;
        noise.map_or(Ok(()), |noise| noise.validate(batch))?;
        let noise = noise.filter(|noise| adapter.is_some() && !noise.levels.are_zero());
        self.implementation.forward(batch, adapter, noise, taps, self.recompute)
    }

    /// Frees the memory that is reused from training step to training step.
    pub fn release(&self) {
        self.implementation.release();
    }

    /// Memory that a micro-batch of this shape needs; none for the plain kernels, whose memory
    /// the library decides.
    pub fn step_memory(&self, adapter: &Lora, shape: &MicroBatchShape) -> Option<StepMemory> {
        self.implementation.step_memory(adapter, shape, self.recompute)
    }

    /// Kernels, number format, device and instruction set, in words: what decides the bits of a
    /// pass besides weights and tokens. Two decoders of the same weights and the same program
    /// whose words differ may round differently.
    pub fn arithmetic(&self) -> String {
        let mut formats: Vec<String> = self
            .weights
            .matrices()
            .filter_map(Matrix::format)
            .map(|format| format!(" {format:?}"))
            .collect();
        formats.sort();
        formats.dedup();
        let dtype = self.weights.dtype();
        let way = match (self.kernels, dtype) {
            (_, DType::BF16) => Some(host_kernels::multiplied()),
            (Kernels::Fused, DType::F32) => host_kernels::multiplied_floats(),
            _ => None,
        };
        format!(
            "{:?} {dtype:?}{} {:?} {:?}{}",
            self.kernels,
            formats.concat(),
            self.device().location(),
            simd::level(),
            way.map(|way| format!(" {way:?}")).unwrap_or_default()
        )
    }

    /// Whether a row has the same bits whatever sequences it shares a batch with. The
    /// fused kernels sum every row on its own and in one order; libraries choose by the
    /// shape of the batch. A step of decoding has two orders: one for up to 16 sequences,
    /// which stream the weights, and one for more.
    pub fn rows_stand_alone(&self) -> bool {
        self.kernels == Kernels::Fused
    }

    /// Runs a packed batch without gradient: nothing is kept for a backward pass.
    pub fn infer<'a>(
        &self,
        batch: &Packed,
        overlay: impl Into<Overlay<'a>>,
        taps: &[TapRows],
    ) -> Result<Forward> {
        let overlay = overlay.into();
        self.check_overlay(overlay)?;
        self.check(batch, taps)?;
        self.implementation.infer(batch, overlay, taps)
    }

    /// Runs a packed batch without gradient up to the deepest tapped layer.
    pub fn forward_taps<'a>(
        &self,
        batch: &Packed,
        overlay: impl Into<Overlay<'a>>,
        taps: &[TapRows],
    ) -> Result<Vec<Vec<f32>>> {
        let overlay = overlay.into();
        self.check_overlay(overlay)?;
        self.check(batch, taps)?;
        self.implementation.forward_taps(batch, overlay, taps)
    }

    /// [n, vocabulary] logits of hidden rows [n, hidden], off the graph: f32,
    /// or f64 where the weights are.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.check_hidden("hidden", hidden)?;
        self.implementation.logits(hidden)
    }

    /// ln p(label) per hidden row in nats, in chunks of rows, without gradient.
    pub fn label_log_probs(&self, hidden: &Tensor, labels: &[u32]) -> Result<Vec<f32>> {
        let rows = self.check_hidden("hidden", hidden)?;
        self.check_labels(labels, rows)?;
        self.implementation.label_log_probs(hidden, labels)
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
        self.implementation.head_loss(&rows)
    }

    /// Runs prompts without gradient; gives the last hidden row of each
    /// [sequences, hidden] and the cache that `decode_step` continues from.
    pub fn prefill<'a>(
        &self,
        batch: &Packed,
        overlay: impl Into<Overlay<'a>>,
    ) -> Result<(Tensor, KvCache)> {
        let overlay = overlay.into();
        self.check_overlay(overlay)?;
        self.check(batch, &[])?;
        self.implementation.prefill(batch, overlay)
    }

    /// Runs one new token per cached sequence without gradient; gives its
    /// hidden rows [sequences, hidden].
    pub fn decode_step<'a>(
        &self,
        tokens: &[u32],
        cache: &mut KvCache,
        overlay: impl Into<Overlay<'a>>,
    ) -> Result<Tensor> {
        if tokens.len() != cache.num_sequences() || tokens.is_empty() {
            return Err(Error::batch(
                format!("{} tokens for {} cached sequences", tokens.len(), cache.num_sequences()),
                "give one token per sequence",
            ));
        }
        pass::check_tokens(&self.config, tokens)?;
        if let Some(length) = cache.lengths().iter().max()
            && *length >= self.config.max_position
        {
            return Err(Error::batch(
                format!("a sequence already has {length} tokens, the most the model takes"),
                "drop it from the cache",
            ));
        }
        let overlay = overlay.into();
        self.check_overlay(overlay)?;
        self.implementation.decode_step(tokens, cache, overlay)
    }

    fn check(&self, batch: &Packed, taps: &[TapRows]) -> Result<()> {
        batch.validate(&self.config)?;
        pass::check_taps(taps, &self.config, batch.rows())
    }

    fn check_overlay(&self, overlay: Overlay) -> Result<()> {
        self.check_adapter(overlay.adapter)?;
        let steering = overlay.steering;
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
        pass::check_tokens(&self.config, labels)
    }
}
