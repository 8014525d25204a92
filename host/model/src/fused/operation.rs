//! All blocks as one differentiable operation on the flat adapter.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, Layout, Shape as Dims, Tensor};

use super::adapter::{Extent, Flat};
use super::frozen::{Adapted, Frozen, Keep};
use super::layer::LayerValues;
use super::lengths::Source;
use super::scratch::Scratch;
use super::shape::Shape;
use super::tape::Tape;
use crate::slices::Values;

use crate::error::Result;
use crate::pass::{Gains, Noise, Packed, TapRows};
use host_kernels::norm;
use host_kernels::pool::on_pool;

/// The blocks are run before the operation enters the graph, so that taps can be
/// read from it; the operation hands out the hidden rows and holds the tapes.
pub(super) struct Operation {
    frozen: Arc<Frozen>,
    batch: Packed,
    noise: Option<Noise>,
    flat: Flat,
    gains: Gains,
    hidden: Mutex<Vec<f32>>,
    /// The residual stream after the last block, of the computed rows.
    stream: Vec<f32>,
    tapes: Vec<Tape>,
    recompute: bool,
}

impl Operation {
    pub fn run(
        frozen: &Arc<Frozen>,
        (batch, noise): (&Packed, Option<&Noise>),
        flat: Flat,
        vector: &Tensor,
        taps: &[TapRows],
        recompute: bool,
    ) -> Result<(Self, Vec<Vec<f32>>)> {
        let shape = Shape::noisy(&frozen.config, batch, noise);
        let keep = if recompute { Keep::Inputs } else { Keep::Everything };
        let (trace, gains) = {
            let values = Values::of(vector)?;
            let layers = frozen.config.num_layers;
            let adapter = Adapted::new(frozen, Source::Flat(&flat, &values), layers)?;
            let trace = frozen.run(&shape, &adapter, None, taps, layers, keep)?;
            (trace, adapter.gains)
        };
        let width = frozen.config.hidden_size;
        let hidden = shape.shared.spread(frozen.normed(&trace.stream)?, width).into_owned();
        let operation = Self {
            frozen: frozen.clone(),
            batch: batch.clone(),
            noise: noise.cloned(),
            flat,
            gains,
            hidden: Mutex::new(hidden),
            stream: trace.stream,
            tapes: trace.tapes,
            recompute,
        };
        Ok((operation, trace.taps))
    }

    /// The gradient of the flat adapter from that of the hidden rows.
    fn gradient(&self, vector: &Tensor, g: &Tensor) -> Result<Vec<f32>> {
        let config = &self.frozen.config;
        let shape = Shape::noisy(config, &self.batch, self.noise.as_ref());
        let values = Values::of(vector)?;
        let start = self.start(&shape, g)?;
        let mut gradient = vec![0f32; self.flat.size()];
        let mut scratch = Scratch::new(config, start);
        let source = Source::Flat(&self.flat, &values);
        let lowest = self.flat.lowest();
        for index in (lowest..config.num_layers).rev() {
            let weights = LayerValues::of(&self.frozen.layers[index])?;
            let factors = source.with(&self.gains, index);
            let extent = Extent::of(&factors);
            scratch.fit(config, index, extent);
            let layer = weights.layer(config, index, factors);
            let stored = &self.tapes[index];
            let again = self.recompute.then(|| {
                let mut tape = self.frozen.tapes.take(config, index, shape.rows, extent);
                let ([left, ..], outputs) = (&mut scratch.left, &mut scratch.outputs);
                layer.forward(&shape, stored.x.clone(), &mut tape, left, outputs);
                tape
            });
            let tape = again.as_ref().unwrap_or(stored);
            let wants_input = index > lowest;
            let gradient = &mut gradient[self.flat.range(index)];
            let gradients = self.flat.split_mut(gradient, index);
            layer.backward(&shape, tape, &mut scratch, gradients, wants_input);
            self.frozen.tapes.keep(again);
        }
        Ok(gradient)
    }

    /// The gradient of the stream after the last block.
    fn start(&self, shape: &Shape, g: &Tensor) -> Result<Vec<f32>> {
        let config = &self.frozen.config;
        let weight = Values::of(&self.frozen.final_norm)?;
        let g = g.contiguous()?;
        let g = Values::of(&g)?;
        let g = shape.shared.gather(&g, config.hidden_size);
        let mut start = vec![0f32; self.stream.len()];
        norm::backward_add(&self.stream, &weight, config.rms_norm_eps as f32, &g, &mut start);
        Ok(start)
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // Where blocks are computed again, the tapes have no room but for their inputs.
        if !self.recompute {
            self.frozen.tapes.keep(self.tapes.drain(..));
        }
    }
}

impl CustomOp1 for Operation {
    fn name(&self) -> &'static str {
        "decoder-blocks"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Dims)> {
        let mut hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        let dims = Dims::from((self.batch.rows(), self.frozen.config.hidden_size));
        Ok((CpuStorage::F32(std::mem::take(&mut hidden)), dims))
    }

    fn bwd(&self, vector: &Tensor, _: &Tensor, g: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let gradient = on_pool(|| self.gradient(vector, g));
        let gradient = gradient.map_err(candle_core::Error::wrap)?;
        let size = gradient.len();
        Ok(Some(Tensor::from_vec(gradient, size, vector.device())?))
    }
}
