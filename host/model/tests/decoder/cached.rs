//! Decoding over a cache gives what a full forward pass gives.

use host_model::{Kernels, Packed, Target};

use crate::random::{self, Dice, adapter, families, largest_gap};

/// Generates ten tokens for prompts of different lengths, dropping sequences on
/// the way, and compares every step with a pass over the whole sequences. With dynamic
/// scaling the two differ: keys in the cache keep the rotation of the length at which they
/// were computed, as in transformers.
#[test]
fn every_step_equals_a_full_pass() {
    for (name, config) in families().into_iter().filter(|(name, _)| *name != "dynamic") {
        for kernels in [Kernels::Fused, Kernels::Plain] {
            let decoder = random::decoder(&config, kernels);
            let lora = adapter(&config, &Target::ALL);
            let mut dice = Dice::new(21);
            let mut sequences: Vec<Vec<u32>> = [5, 1, 14, 9]
                .iter()
                .map(|length| dice.tokens(*length, config.vocab_size))
                .collect();
            let batch = Packed::from_sequences(&sequences);
            let (mut hidden, mut cache) = decoder.prefill(&batch, Some(&lora)).unwrap();
            for step in 0..10 {
                let batch = Packed::from_sequences(&sequences);
                let full = decoder.forward(&batch, Some(&lora), &[]).unwrap().hidden;
                for (row, end) in batch.starts[1..].iter().enumerate() {
                    let expected = full.get(end - 1).unwrap();
                    let gap = largest_gap(&hidden.get(row).unwrap(), &expected);
                    assert!(gap < 5e-5, "{name} {kernels:?} step {step} row {row}: {gap}");
                }
                if let Some(dropped) = [(3, 1), (6, 0)].into_iter().find(|(at, _)| *at == step) {
                    let keep: Vec<bool> = (0..sequences.len()).map(|i| i != dropped.1).collect();
                    let mut flags = keep.iter();
                    sequences.retain(|_| *flags.next().unwrap());
                    cache.retain(&keep).unwrap();
                }
                let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
                assert_eq!(cache.lengths(), lengths);
                let next = dice.tokens(sequences.len(), config.vocab_size);
                hidden = decoder.decode_step(&next, &mut cache, Some(&lora)).unwrap();
                for (sequence, token) in sequences.iter_mut().zip(next) {
                    sequence.push(token);
                }
            }
        }
    }
}

/// With dynamic scaling a step beyond the original context is the same in both kernels, and
/// isn't that of a model without scaling.
#[test]
fn steps_of_dynamic_scaling_agree() {
    let config = random::dynamic();
    let steps = |config: &host_model::Config, kernels| {
        let decoder = random::decoder(config, kernels);
        let lora = adapter(config, &Target::ALL);
        let batch = Packed::from_sequences(&[vec![1u32, 2, 3], vec![4, 5, 6, 7, 8, 9, 10, 11]]);
        let (_, mut cache) = decoder.prefill(&batch, Some(&lora)).unwrap();
        let steps =
            (0..6).map(|at| decoder.decode_step(&[at, at + 20], &mut cache, Some(&lora)).unwrap());
        steps.last().unwrap()
    };
    let fused = steps(&config, Kernels::Fused);
    assert!(largest_gap(&fused, &steps(&config, Kernels::Plain)) < 5e-5);
    assert!(largest_gap(&fused, &steps(&random::llama(), Kernels::Fused)) > 1e-3);
}

#[test]
fn a_step_needs_one_known_token_per_sequence() {
    let config = random::llama();
    let decoder = random::decoder(&config, Kernels::Fused);
    let batch = Packed::from_sequences(&[[1u32, 2], [3, 4]]);
    let (_, mut cache) = decoder.prefill(&batch, None).unwrap();
    assert!(decoder.decode_step(&[1], &mut cache, None).is_err());
    assert!(decoder.decode_step(&[1, 97], &mut cache, None).is_err());
    assert!(cache.retain(&[true]).is_err());
    assert_eq!(cache.lengths(), [2, 2]);
    assert!(decoder.decode_step(&[1, 96], &mut cache, None).is_ok());
}

#[test]
fn a_cache_belongs_to_its_kernels() {
    let config = random::llama();
    let batch = Packed::from_sequences(&[[1u32, 2]]);
    let fused = random::decoder(&config, Kernels::Fused);
    let plain = random::decoder(&config, Kernels::Plain);
    let (_, mut cache) = fused.prefill(&batch, None).unwrap();
    assert!(plain.decode_step(&[1], &mut cache, None).is_err());
    assert!(fused.decode_step(&[1], &mut cache, None).is_ok());
}
