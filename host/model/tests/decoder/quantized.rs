//! A decoder whose matrices are in blocks gives the bits of one that was widened beforehand.

use candle_core::{DType, Device, Tensor};
use host_model::config::QkNorm;
use host_model::families::Qwen3Moe;
use host_model::{
    BlockFormat, Config, Decoder, Experts, Kernels, Linear, Matrix, MlpWeights, Packed, Target,
    Weights,
};

use crate::fused::{gradients, loss};
use crate::random;

/// Lines of whole blocks of every format.
fn config() -> Config {
    Config {
        hidden_size: 256,
        intermediate_size: 512,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 64,
        num_layers: 3,
        ..random::qwen2()
    }
}

/// All matrices in blocks, and the same weights with these blocks widened.
fn both(config: &Config, dtype: DType, format: BlockFormat) -> [Weights; 2] {
    let weights = random::converted(&random::weights(config, 1), dtype, &Device::Cpu);
    let change = |change: &dyn Fn(&Matrix) -> Matrix| {
        let linear = |linear: &mut Linear| linear.weight = change(&linear.weight);
        let mut weights = weights.clone();
        weights.embed = change(&weights.embed);
        weights.head = weights.head.as_ref().map(change);
        for layer in &mut weights.layers {
            for part in [&mut layer.q, &mut layer.k, &mut layer.v, &mut layer.o] {
                linear(part);
            }
            let mlps = match &mut layer.mlp {
                MlpWeights::Dense(mlp) => std::slice::from_mut(mlp),
                MlpWeights::Experts(mlp) => &mut mlp.experts,
            };
            for mlp in mlps {
                [&mut mlp.gate, &mut mlp.up, &mut mlp.down].into_iter().for_each(linear);
            }
        }
        weights
    };
    let blocks = |matrix: &Matrix| matrix.quantize(format).unwrap();
    [change(&blocks), change(&|matrix| blocks(matrix).tensor().unwrap().into())]
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let values = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
    values.to_vec1::<f32>().unwrap().iter().map(|value| value.to_bits()).collect()
}

fn everything(decoder: &Decoder) -> Vec<Vec<u32>> {
    let config = &decoder.config;
    let lora = random::adapter(config, &Target::ALL);
    let batch = random::ragged(config);
    let (value, taps, hidden) = loss(decoder, &batch, &lora);
    let mut found = vec![bits(&value), bits(&hidden)];
    found.extend(taps.iter().map(|tap| tap.iter().map(|value| value.to_bits()).collect()));
    let gradients = gradients(decoder, &batch, &lora);
    found.extend(lora.named().map(|(_, var)| bits(gradients.get(var).unwrap())));
    // Many rows, few rows, and cached ones.
    let plain = decoder.infer(&batch, None, &[]).unwrap().hidden;
    found.push(bits(&decoder.logits(&plain).unwrap()));
    let prompts = Packed::from_sequences(&[[1u32, 2, 3].as_slice(), &[4, 5]]);
    let (last, mut cache) = decoder.prefill(&prompts, Some(&lora)).unwrap();
    found.push(bits(&decoder.logits(&last).unwrap()));
    let next = decoder.decode_step(&[7, 8], &mut cache, Some(&lora)).unwrap();
    found.push(bits(&decoder.logits(&next).unwrap()));
    let labels = &batch.tokens;
    let labelled = decoder.label_log_probs(&plain, labels).unwrap();
    found.push(labelled.iter().map(|value| value.to_bits()).collect());
    found
}

/// The same with experts in some layers.
fn experts() -> Config {
    let experts = Experts {
        count: 6,
        per_token: 2,
        intermediate_size: 256,
        normalize: true,
        layers: Some(vec![true, false, true]),
    };
    Config {
        experts: Some(experts),
        family: &Qwen3Moe,
        qk_norm: QkNorm::Head,
        qkv_bias: false,
        ..config()
    }
}

#[test]
fn blocks_and_widened_weights_give_the_same_bits() {
    let all = [BlockFormat::Q4K, BlockFormat::Q6K, BlockFormat::Q8_0, BlockFormat::Q4_1];
    check(&config(), &all);
}

#[test]
fn blocks_of_experts_and_widened_ones_give_the_same_bits() {
    check(&experts(), &[BlockFormat::Q4K, BlockFormat::Q8_0]);
}

fn check(config: &Config, formats: &[BlockFormat]) {
    for format in formats.iter().copied() {
        for dtype in [DType::F32, DType::BF16] {
            let [held, widened] = both(config, dtype, format);
            assert!(5 * held.bytes() < 3 * widened.bytes(), "{format:?}");
            let of =
                |weights: Weights| Decoder::new(config.clone(), weights, Kernels::Fused).unwrap();
            let (held, widened) = (of(held), of(widened));
            assert_ne!(held.arithmetic(), widened.arithmetic());
            assert!(everything(&held) == everything(&widened), "{format:?} as {dtype:?}");
        }
        let [held, widened] = both(config, DType::F32, format);
        let of = |weights| Decoder::new(config.clone(), weights, Kernels::Plain).unwrap();
        assert!(everything(&of(held)) == everything(&of(widened)), "{format:?}, plain");
    }
}
