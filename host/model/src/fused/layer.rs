//! One layer's weights and adapter as slices.

use candle_core::Tensor;
use host_kernels::attention::Scores;

use super::adapter::{Extent, LayerAdapter};
use super::experts::ExpertMlp;
use super::projection::Projection;
use crate::config::Config;
use crate::config::Target;
use crate::error::Result;
use crate::slices::{MatrixValues, Values};
use crate::weights::{GatedWeights, LayerWeights, Linear, MlpWeights};

/// Read access to one layer's weights.
pub(super) struct LayerValues<'a> {
    attn_norm: Option<Values<'a>>,
    attn_out_norm: Option<Values<'a>>,
    mlp_norm: Option<Values<'a>>,
    mlp_out_norm: Option<Values<'a>>,
    q_norm: Option<Values<'a>>,
    k_norm: Option<Values<'a>>,
    attention: [LinearValues<'a>; 4],
    mlp: MlpValues<'a>,
}

type LinearValues<'a> = (MatrixValues<'a>, Option<Values<'a>>);

enum MlpValues<'a> {
    Dense([LinearValues<'a>; 3]),
    Experts { router: Values<'a>, experts: Vec<[MatrixValues<'a>; 3]> },
}

impl<'a> LayerValues<'a> {
    pub fn of(weights: &'a LayerWeights) -> Result<Self> {
        let linear = |linear: &'a Linear| -> Result<_> {
            let bias = linear.bias.as_ref().map(Values::of).transpose()?;
            Ok((MatrixValues::of(&linear.weight)?, bias))
        };
        let mlp = match &weights.mlp {
            MlpWeights::Dense(GatedWeights { gate, up, down }) => {
                MlpValues::Dense([linear(gate)?, linear(up)?, linear(down)?])
            }
            MlpWeights::Experts(mlp) => {
                let matrix = |linear: &'a Linear| MatrixValues::of(&linear.weight);
                let expert = |mlp: &'a GatedWeights| {
                    Ok([matrix(&mlp.gate)?, matrix(&mlp.up)?, matrix(&mlp.down)?])
                };
                MlpValues::Experts {
                    router: Values::of(&mlp.router)?,
                    experts: mlp.experts.iter().map(expert).collect::<Result<_>>()?,
                }
            }
        };
        let norm = |norm: &'a Option<Tensor>| norm.as_ref().map(Values::of).transpose();
        Ok(Self {
            attn_norm: norm(&weights.attn_norm)?,
            attn_out_norm: norm(&weights.attn_out_norm)?,
            mlp_norm: norm(&weights.mlp_norm)?,
            mlp_out_norm: norm(&weights.mlp_out_norm)?,
            q_norm: norm(&weights.q_norm)?,
            k_norm: norm(&weights.k_norm)?,
            attention: [
                linear(&weights.q)?,
                linear(&weights.k)?,
                linear(&weights.v)?,
                linear(&weights.o)?,
            ],
            mlp,
        })
    }

    pub fn layer<'b>(
        &'b self,
        config: &'b Config,
        index: usize,
        adapter: LayerAdapter<'b>,
    ) -> Layer<'b> {
        let projection = |(weight, bias): &'b LinearValues<'a>, target: Target| {
            let (out, input) = config.shape(target);
            Projection {
                weight: weight.weight(),
                bias: bias.as_deref(),
                input,
                out,
                low: adapter[target as usize],
            }
        };
        let [q, k, v, o] = &self.attention;
        let finishes = Extent::of(&adapter).finishes(config) > 0;
        let mlp = match (&self.mlp, config.experts(index)) {
            (MlpValues::Experts { router, experts }, Some(shape)) => {
                LayerMlp::Experts(ExpertMlp::new(config, shape, finishes, router, experts))
            }
            (MlpValues::Dense([gate, up, down]), _) => LayerMlp::Dense(DenseMlp {
                gate: projection(gate, Target::Gate),
                up: projection(up, Target::Up),
                down: projection(down, Target::Down),
            }),
            (MlpValues::Experts { .. }, None) => unreachable!("weights were checked"),
        };
        Layer {
            config,
            index,
            finishes,
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
            q: projection(q, Target::Q),
            k: projection(k, Target::K),
            v: projection(v, Target::V),
            o: projection(o, Target::O),
            mlp,
        }
    }
}

/// What a block computes with.
pub(super) struct Layer<'a> {
    pub config: &'a Config,
    pub index: usize,
    /// Attention and MLP leave their sums by themselves, and [`Layer::finish`] adds them to the stream.
    pub finishes: bool,
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
    pub mlp: LayerMlp<'a>,
}

/// The MLP of a block. It lives on the stack for one pass of one block.
#[allow(clippy::large_enum_variant)]
pub(super) enum LayerMlp<'a> {
    Dense(DenseMlp<'a>),
    Experts(ExpertMlp<'a>),
}

/// One gated MLP for all rows.
pub(super) struct DenseMlp<'a> {
    pub gate: Projection<'a>,
    pub up: Projection<'a>,
    pub down: Projection<'a>,
}
