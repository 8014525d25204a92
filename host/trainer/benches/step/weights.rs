//! Random weights of any shape, for measurements of speed and memory.

use candle_core::{DType, Device, Tensor};
use host_model::{
    BlockFormat, Config, ExpertWeights, GatedWeights, LayerWeights, Linear, Matrix, MlpWeights,
    Target, Weights,
};

/// Different lines of a matrix in blocks: rounding billions of values takes minutes.
const LINES: usize = 256;

/// Dense, or in blocks.
pub fn random(
    config: &Config,
    device: &Device,
    dtype: DType,
    held: Option<BlockFormat>,
) -> candle_core::Result<Weights> {
    let dense = |shape: (usize, usize)| {
        let scale = (shape.1 as f32).powf(-0.5);
        Tensor::randn(0f32, scale, shape, device)?.to_dtype(dtype)
    };
    let random = |(out, input): (usize, usize)| -> candle_core::Result<Matrix> {
        let Some(format) = held else {
            return Ok(dense((out, input))?.into());
        };
        match Matrix::from(dense((out.min(LINES), input))?).quantize(format)? {
            Matrix::Quantized(some) => {
                Ok(Matrix::Quantized(some.pick((0..out).map(|line| line % LINES))?))
            }
            whole @ Matrix::Dense(_) => Ok(whole),
        }
    };
    let ones = || Tensor::ones(config.hidden_size, dtype, device);
    let linear = |target: Target| -> candle_core::Result<Linear> {
        Ok(Linear { weight: random(config.shape(target))?, bias: None })
    };
    let layers = (0..config.num_layers)
        .map(|index| {
            let mlp = match config.experts(index) {
                None => MlpWeights::Dense(GatedWeights {
                    gate: linear(Target::Gate)?,
                    up: linear(Target::Up)?,
                    down: linear(Target::Down)?,
                }),
                Some(experts) => {
                    let (inner, hidden) = (experts.intermediate_size, config.hidden_size);
                    let matrix = |shape| -> candle_core::Result<Linear> {
                        Ok(Linear { weight: random(shape)?, bias: None })
                    };
                    let expert = |_| -> candle_core::Result<GatedWeights> {
                        Ok(GatedWeights {
                            gate: matrix((inner, hidden))?,
                            up: matrix((inner, hidden))?,
                            down: matrix((hidden, inner))?,
                        })
                    };
                    MlpWeights::Experts(ExpertWeights {
                        router: dense((experts.count, hidden))?,
                        experts: (0..experts.count).map(expert).collect::<Result<_, _>>()?,
                    })
                }
            };
            Ok(LayerWeights {
                attn_norm: Some(ones()?),
                attn_out_norm: None,
                q: linear(Target::Q)?,
                k: linear(Target::K)?,
                v: linear(Target::V)?,
                o: linear(Target::O)?,
                q_norm: None,
                k_norm: None,
                mlp_norm: Some(ones()?),
                mlp_out_norm: None,
                mlp,
            })
        })
        .collect::<candle_core::Result<Vec<_>>>()?;
    let vocabulary = (config.vocab_size, config.hidden_size);
    Ok(Weights {
        embed: random(vocabulary)?,
        layers,
        final_norm: ones()?,
        head: if config.tie_embeddings { None } else { Some(random(vocabulary)?) },
    })
}
