//! Sequences that begin alike: what they share is computed once, and gives what every sequence gives by itself.

use candle_core::{DType, Device};
use host_model::{Config, Decoder, Kernels, Packed, TapRows, Target};

use crate::fused::loss;
use crate::random::{self, Dice, adapter, families, flat, relative};

/// A beginning of all, a longer one of two, a sequence twice, and one that has nothing of it. Longer than a block of
/// attention, a window and a context that was stretched.
fn alike(config: &Config) -> Packed {
    let mut dice = Dice::new(4);
    let mut tokens = |count: usize| dice.tokens(count, config.vocab_size);
    let (all, two) = (tokens(70), tokens(30));
    let twice = [&all[..], &tokens(9)].concat();
    let sequences = [
        [&all[..], &two, &tokens(20)].concat(),
        tokens(43),
        twice.clone(),
        [&all[..], &two, &tokens(3)].concat(),
        twice,
        all,
    ];
    Packed::from_sequences(&sequences)
}

fn taps(batch: &Packed) -> Vec<TapRows> {
    (0..4).map(|layer| TapRows { layer, rows: batch.sequences().collect() }).collect()
}

fn alone(batch: &Packed) -> Vec<Packed> {
    batch.sequences().map(|rows| Packed::from_sequences(&[&batch.tokens[rows]])).collect()
}

#[test]
fn rows_have_the_bits_that_they_have_alone() {
    let formats = [DType::F32, DType::BF16];
    let cases = families().into_iter().flat_map(|case| formats.map(|dtype| (case.clone(), dtype)));
    for ((name, config), dtype) in cases {
        let weights = random::converted(&random::weights(&config, 1), dtype, &Device::Cpu);
        let decoder = Decoder::new(config.clone(), weights, Kernels::Fused).unwrap();
        let lora = adapter(&config, &Target::ALL);
        let batch = alike(&config);
        let together = decoder.infer(&batch, Some(&lora), &taps(&batch)).unwrap();
        let trained = decoder.forward(&batch, Some(&lora), &taps(&batch)).unwrap();
        assert_eq!(flat(&together.hidden), flat(&trained.hidden), "{name}");
        assert_eq!(together.taps, trained.taps, "{name}");
        let (last, mut cache) = decoder.prefill(&batch, Some(&lora)).unwrap();
        assert_eq!(cache.lengths(), [120, 43, 79, 103, 79, 70]);
        let next = Dice::new(5).tokens(batch.num_sequences(), config.vocab_size);
        let next_hidden = decoder.decode_step(&next, &mut cache, Some(&lora)).unwrap();
        for (index, (rows, one)) in batch.sequences().zip(alone(&batch)).enumerate() {
            let found = decoder.infer(&one, Some(&lora), &taps(&one)).unwrap();
            let hidden = together.hidden.narrow(0, rows.start, rows.len()).unwrap();
            assert_eq!(flat(&hidden), flat(&found.hidden), "{name} {index}");
            let width = config.hidden_size;
            for (all, one) in together.taps.iter().zip(&found.taps) {
                assert_eq!(all[index * width..(index + 1) * width], one[..], "{name} {index}");
            }
            let (alone, mut cache) = decoder.prefill(&one, Some(&lora)).unwrap();
            assert_eq!(flat(&last.get(index).unwrap()), flat(&alone), "{name} {index}");
            let step = decoder.decode_step(&next[index..][..1], &mut cache, Some(&lora)).unwrap();
            assert_eq!(flat(&next_hidden.get(index).unwrap()), flat(&step), "{name} {index}");
        }
    }
}

/// The plain kernels compute every row.
#[test]
fn gradients_are_those_of_kernels_that_share_nothing() {
    for (name, config) in families() {
        let batch = alike(&config);
        let lora = adapter(&config, &Target::ALL);
        let mut fused = random::decoder(&config, Kernels::Fused);
        let plain = random::decoder(&config, Kernels::Plain);
        let (expected, _, hidden) = loss(&plain, &batch, &lora);
        let expected = expected.backward().unwrap();
        for recompute in [false, true] {
            fused.recompute = recompute;
            let (found, _, fused_hidden) = loss(&fused, &batch, &lora);
            assert!(relative(&fused_hidden, &hidden) < 1e-5, "{name}");
            let found = found.backward().unwrap();
            for (tensor, var) in lora.named() {
                let gap = relative(found.get(var).unwrap(), expected.get(var).unwrap());
                assert!(gap < 2e-5, "{name} {tensor}: {gap}");
            }
        }
    }
}

/// Where a position is rotated by the length of its sequence, short sequences have nothing in common with long ones.
#[test]
fn rows_that_are_rotated_otherwise_are_not_shared() {
    let config = random::long_rope();
    let decoder = random::decoder(&config, Kernels::Fused);
    let tokens = Dice::new(6).tokens(60, config.vocab_size);
    let batch = Packed::from_sequences(&[&tokens[..], &tokens[..30]]);
    let together = decoder.infer(&batch, None, &[]).unwrap().hidden;
    for (rows, one) in batch.sequences().zip(alone(&batch)) {
        let hidden = together.narrow(0, rows.start, rows.len()).unwrap();
        assert_eq!(flat(&hidden), flat(&decoder.infer(&one, None, &[]).unwrap().hidden));
    }
    let short = together.narrow(0, 60, 30).unwrap();
    assert!(relative(&short, &together.narrow(0, 0, 30).unwrap()) > 1e-3);
}
