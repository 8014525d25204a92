//! A steered decoder against one whose weights say the same: a vector added after a block
//! is one more bias of its down projection.

use std::collections::BTreeMap;

use host_model::{Decoder, Kernels, Lora, MlpWeights, Overlay, Packed, Steering, TapRows, Target};

use crate::random::{self, Dice, adapter, largest_gap, ragged};

const KERNELS: [Kernels; 2] = [Kernels::Fused, Kernels::Plain];

fn steering(width: usize, layers: &[usize]) -> Steering {
    let mut dice = Dice::new(31);
    let vectors = layers.iter().map(|layer| (*layer, dice.values(width, 1.0)));
    Steering::new(vectors.collect::<BTreeMap<_, _>>()).unwrap()
}

/// The same model with the vectors in its biases.
fn biased(steering: &Steering, kernels: Kernels) -> Decoder {
    let config = random::mixed();
    let mut weights = random::weights(&config, 1);
    for (layer, vector) in steering.vectors() {
        let MlpWeights::Dense(mlp) = &mut weights.layers[layer - 1].mlp else {
            panic!("experts have no bias");
        };
        let bias = &mut mlp.down.bias;
        let vector = candle_core::Tensor::new(vector.as_slice(), &candle_core::Device::Cpu);
        *bias = Some((bias.as_ref().unwrap() + vector.unwrap()).unwrap());
    }
    Decoder::new(config, weights, kernels).unwrap()
}

fn with<'a>(adapter: &'a Lora, steering: &'a Steering) -> Overlay<'a> {
    Overlay { adapter: Some(adapter), steering: Some(steering) }
}

#[test]
fn the_hidden_states_and_taps_are_those_of_the_biased_model() {
    let config = random::mixed();
    let steering = steering(config.hidden_size, &[1, 3]);
    let lora = adapter(&config, &Target::ALL);
    let batch = ragged(&config);
    let taps: Vec<TapRows> =
        (0..=3).map(|layer| TapRows { layer, rows: vec![0..3, 11..12, 10..60] }).collect();
    for kernels in KERNELS {
        let decoder = random::decoder(&config, kernels);
        let biased = biased(&steering, kernels);
        let applied = with(&lora, &steering);
        let got = decoder.infer(&batch, applied, &taps).unwrap();
        let want = biased.infer(&batch, Some(&lora), &taps).unwrap();
        let gap = largest_gap(&got.hidden, &want.hidden);
        assert!(gap < 5e-5, "{kernels:?}: {gap}");
        let early = decoder.forward_taps(&batch, applied, &taps[..2]).unwrap();
        for (got, want) in [(&got.taps[..], &want.taps[..]), (&early, &want.taps[..2])] {
            let pairs = got.iter().flatten().zip(want.iter().flatten());
            let gaps = pairs.map(|(a, b)| (a - b).abs());
            assert!(gaps.fold(0.0, f32::max) < 5e-5, "{kernels:?}");
        }
        let plain = decoder.infer(&batch, Some(&lora), &[]).unwrap();
        assert!(largest_gap(&plain.hidden, &want.hidden) > 0.1, "{kernels:?}");
    }
}

#[test]
fn layer_0_is_the_embeddings() {
    let mut config = random::mixed();
    config.tie_embeddings = false;
    let steering = steering(config.hidden_size, &[0]);
    let batch = ragged(&config);
    for kernels in KERNELS {
        let mut weights = random::weights(&config, 1);
        let decoder = Decoder::new(config.clone(), weights.clone(), kernels).unwrap();
        let vector = steering.vectors()[&0].as_slice();
        let vector = candle_core::Tensor::new(vector, &candle_core::Device::Cpu).unwrap();
        let embed = weights.embed.tensor().unwrap();
        weights.embed = embed.broadcast_add(&vector).unwrap().into();
        let moved = Decoder::new(config.clone(), weights, kernels).unwrap();
        let applied = Overlay { adapter: None, steering: Some(&steering) };
        let got = decoder.infer(&batch, applied, &[]).unwrap().hidden;
        let want = moved.infer(&batch, None, &[]).unwrap().hidden;
        assert!(largest_gap(&got, &want) < 5e-5, "{kernels:?}");
    }
}

#[test]
fn every_cached_step_is_steered() {
    let config = random::mixed();
    let steering = steering(config.hidden_size, &[1, 2, 3]);
    let lora = adapter(&config, &Target::ALL);
    let applied = with(&lora, &steering);
    for kernels in KERNELS {
        let decoder = random::decoder(&config, kernels);
        let biased = biased(&steering, kernels);
        let mut dice = Dice::new(22);
        let prompts = [5, 1, 9].map(|length| dice.tokens(length, config.vocab_size));
        let batch = Packed::from_sequences(&prompts);
        let (got, mut cache) = decoder.prefill(&batch, applied).unwrap();
        let (want, mut other) = biased.prefill(&batch, Some(&lora)).unwrap();
        assert!(largest_gap(&got, &want) < 5e-5, "{kernels:?}");
        for _ in 0..4 {
            let next = dice.tokens(3, config.vocab_size);
            let got = decoder.decode_step(&next, &mut cache, applied).unwrap();
            let want = biased.decode_step(&next, &mut other, Some(&lora)).unwrap();
            assert!(largest_gap(&got, &want) < 5e-5, "{kernels:?}");
        }
    }
}

#[test]
fn vectors_of_another_model_are_refused() {
    let config = random::llama();
    let batch = ragged(&config);
    let decoder = random::decoder(&config, Kernels::Fused);
    for (width, layer, problem) in
        [(config.hidden_size + 1, 1, "width"), (config.hidden_size, 4, "choose 0 to 3")]
    {
        let steering = steering(width, &[layer]);
        let applied = Overlay { adapter: None, steering: Some(&steering) };
        let error = decoder.infer(&batch, applied, &[]).err().unwrap();
        assert!(error.to_string().contains(problem), "{error}");
        assert!(decoder.prefill(&batch, applied).is_err());
    }
}
