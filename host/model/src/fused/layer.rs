//! One layer's weights and adapter as slices.

use candle_core::Tensor;
use host_kernels::attention::Scores;

use super::adapter::LayerAdapter;
use super::projection::Projection;
use crate::config::Config;
use crate::config::Target;
use crate::error::Result;
use crate::slices::{MatrixValues, Values};
use crate::weights::{LayerWeights, Linear};

/// Read access to one layer's weights.
pub(super) struct LayerValues<'a> {
    attn_norm: Option<Values<'a>>,
    attn_out_norm: Option<Values<'a>>,
    mlp_norm: Option<Values<'a>>,
    mlp_out_norm: Option<Values<'a>>,
    q_norm: Option<Values<'a>>,
    k_norm: Option<Values<'a>>,
    linears: [(MatrixValues<'a>, Option<Values<'a>>); 7],
}

impl<'a> LayerValues<'a> {
    pub fn of(weights: &'a LayerWeights) -> Result<Self> {
        let linear = |linear: &'a Linear| -> Result<_> {
            let bias = linear.bias.as_ref().map(Values::of).transpose()?;
            Ok((MatrixValues::of(&linear.weight)?, bias))
        };
        let norm = |norm: &'a Option<Tensor>| norm.as_ref().map(Values::of).transpose();
        Ok(Self {
            attn_norm: norm(&weights.attn_norm)?,
            attn_out_norm: norm(&weights.attn_out_norm)?,
            mlp_norm: norm(&weights.mlp_norm)?,
            mlp_out_norm: norm(&weights.mlp_out_norm)?,
            q_norm: norm(&weights.q_norm)?,
            k_norm: norm(&weights.k_norm)?,
            linears: [
                linear(&weights.q)?,
                linear(&weights.k)?,
                linear(&weights.v)?,
                linear(&weights.o)?,
                linear(&weights.gate)?,
                linear(&weights.up)?,
                linear(&weights.down)?,
            ],
        })
    }

    pub fn layer<'b>(
        &'b self,
        config: &'b Config,
        index: usize,
        adapter: LayerAdapter<'b>,
    ) -> Layer<'b> {
        let projection = |target: Target| {
            let (out, input) = config.shape(target);
            let (weight, bias) = &self.linears[target as usize];
            Projection {
                weight: weight.weight(),
                bias: bias.as_deref(),
                input,
                out,
                low: adapter[target as usize],
            }
        };
        Layer {
            config,
            index,
            window: config.window(index),
            scores: Scores {
                scale: config.attention_scale(),
                cap: config.attention_cap.map(|cap| cap as f32),
            },
            eps: config.rms_norm_eps as f32,
            attn_norm: self.attn_norm.as_deref(),
            attn_out_norm: self.attn_out_norm.as_deref(),
            mlp_norm: self.mlp_norm.as_deref(),
            mlp_out_norm: self.mlp_out_norm.as_deref(),
            q_norm: self.q_norm.as_deref(),
            k_norm: self.k_norm.as_deref(),
            q: projection(Target::Q),
            k: projection(Target::K),
            v: projection(Target::V),
            o: projection(Target::O),
            gate: projection(Target::Gate),
            up: projection(Target::Up),
            down: projection(Target::Down),
        }
    }
}

/// What a block computes with.
pub(super) struct Layer<'a> {
    pub config: &'a Config,
    pub index: usize,
    pub window: Option<usize>,
    pub scores: Scores,
    pub eps: f32,
    pub attn_norm: Option<&'a [f32]>,
    pub attn_out_norm: Option<&'a [f32]>,
    pub mlp_norm: Option<&'a [f32]>,
    pub mlp_out_norm: Option<&'a [f32]>,
    pub q_norm: Option<&'a [f32]>,
    pub k_norm: Option<&'a [f32]>,
    pub q: Projection<'a>,
    pub k: Projection<'a>,
    pub v: Projection<'a>,
    pub o: Projection<'a>,
    pub gate: Projection<'a>,
    pub up: Projection<'a>,
    pub down: Projection<'a>,
}
