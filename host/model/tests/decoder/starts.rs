//! Magnitudes (DoRA) and starts from singular values (PiSSA).

use candle_core::{DType, Device, Tensor, Var};
use host_model::decoder::Overlay;
use host_model::lora::Init;
use host_model::{Config, Decoder, Kernels, Lora, LoraConfig, Noise, NoiseLevels, Packed, Target};

use crate::fused::{loss, noisy_loss};
use crate::random::{self, Dice, families, flat, ragged, relative};

fn settings(config: &Config) -> LoraConfig {
    LoraConfig { magnitudes: true, ..LoraConfig::new(5, 10.0, config.targets()) }
}

fn fresh(decoder: &Decoder, settings: LoraConfig) -> Lora {
    Lora::for_weights(&decoder.config, &decoder.weights, settings, 7).unwrap()
}

/// With B that isn't zero and lengths that aren't those of the weights.
fn trained(decoder: &Decoder, settings: LoraConfig) -> Lora {
    let lora = fresh(decoder, settings);
    let mut dice = Dice::new(8);
    for (name, var) in lora.named() {
        if name.contains("lora_B") {
            var.set(&dice.tensor(var.dims(), 0.2)).unwrap();
        } else if name.contains("magnitude") {
            let factor = (dice.tensor(var.dims(), 0.3) + 1.0).unwrap();
            var.set(&(var.as_tensor() * factor).unwrap()).unwrap();
        }
    }
    lora
}

fn both(config: &Config) -> (Decoder, Decoder) {
    (random::decoder(config, Kernels::Fused), random::decoder(config, Kernels::Plain))
}

fn hidden(decoder: &Decoder, batch: &Packed, lora: Option<&Lora>) -> Tensor {
    decoder.infer(batch, lora, &[]).unwrap().hidden
}

#[test]
fn lengths_are_those_of_the_weights_at_first_and_change_nothing() {
    for (name, config) in families() {
        let batch = ragged(&config);
        let (fused, plain) = both(&config);
        let lora = fresh(&fused, settings(&config));
        assert_eq!(hidden(&fused, &batch, Some(&lora)).dims(), [batch.rows(), config.hidden_size]);
        // Every factor is 1, but a product that is finished adds to the stream in another order.
        let gap = relative(&hidden(&fused, &batch, Some(&lora)), &hidden(&fused, &batch, None));
        assert!(gap < 1e-6, "{name}: {gap}");
        let gap = relative(&hidden(&plain, &batch, Some(&lora)), &hidden(&plain, &batch, None));
        assert!(gap < 1e-5, "{name}: {gap}");
    }
}

#[test]
fn kernels_agree_on_magnitudes_in_every_family_with_noise_and_when_blocks_run_again() {
    for (name, config) in families() {
        let batch = ragged(&config);
        let (mut fused, mut plain) = both(&config);
        let lora = trained(&fused, settings(&config));
        let keys = (0..batch.num_sequences()).map(|i| Noise::key(&[7, i as u64])).collect();
        let noise = Noise { levels: NoiseLevels { dropout: 0.3, embedding: 0.0 }, keys };
        let bare = loss(&fused, &batch, &random::adapter(&config, config.targets())).2;
        for (recompute, noise) in [(false, None), (true, None), (true, Some(&noise))] {
            (fused.recompute, plain.recompute) = (recompute, recompute);
            let (a, taps, hidden) = noisy_loss(&fused, &batch, &lora, noise);
            let (b, plain_taps, plain_hidden) = noisy_loss(&plain, &batch, &lora, noise);
            let gap = relative(&hidden, &plain_hidden);
            assert!(gap < 1e-5, "{name}: {gap}");
            assert!(relative(&hidden, &bare) > 1e-2, "{name}: magnitudes do nothing");
            assert_eq!(taps.len(), plain_taps.len());
            let (a, b) = (a.backward().unwrap(), b.backward().unwrap());
            for (tensor, var) in lora.named() {
                let gap = relative(a.get(var).unwrap(), b.get(var).unwrap());
                assert!(gap < 2e-5, "{name} {tensor}: {gap}");
            }
        }
    }
}

/// The plain kernels in bf16, where values come from one product with their adapter.
#[test]
fn magnitudes_and_noise_in_bf16_follow_single_precision() {
    let config = random::qwen2();
    let rounded = random::converted(&random::weights(&config, 1), DType::BF16, &Device::Cpu);
    let wide = random::converted(&rounded, DType::F32, &Device::Cpu);
    let mut plain = Decoder::new(config.clone(), rounded, Kernels::Plain).unwrap();
    let oracle = Decoder::new(config.clone(), wide, Kernels::Fused).unwrap();
    let batch = ragged(&config);
    let keys = (0..batch.num_sequences()).map(|i| Noise::key(&[7, i as u64])).collect();
    let noise = Noise { levels: NoiseLevels { dropout: 0.3, embedding: 0.0 }, keys };
    let shapes = [settings(&config), LoraConfig::new(5, 10.0, config.targets())];
    for shape in shapes {
        let lora = trained(&oracle, shape);
        for (recompute, noise) in [(false, None), (false, Some(&noise)), (true, Some(&noise))] {
            plain.recompute = recompute;
            let (a, _, hidden) = noisy_loss(&plain, &batch, &lora, noise);
            let (b, _, expected) = noisy_loss(&oracle, &batch, &lora, noise);
            let gap = relative(&hidden, &expected);
            assert!(gap < 0.03, "{gap}");
            let (a, b) = (a.backward().unwrap(), b.backward().unwrap());
            for (tensor, var) in lora.named() {
                let gap = relative(a.get(var).unwrap(), b.get(var).unwrap());
                assert!(gap < 0.06, "{tensor}: {gap}");
            }
        }
    }
}

/// The lengths that A and B give are constants of the gradient, m alone has the whole slope.
#[test]
fn the_gradient_of_magnitudes_is_the_slope_of_the_loss() {
    // A row that goes to other experts has another loss at once.
    for (name, config) in families().into_iter().filter(|(_, it)| it.experts.is_none()) {
        let batch = ragged(&config);
        let (fused, plain) = both(&config);
        let lora = trained(&fused, settings(&config));
        let gradients = loss(&fused, &batch, &lora).0.backward().unwrap();
        let lengths: Vec<_> = lora.named().filter(|(name, _)| name.contains("magnitude")).collect();
        let mut dice = Dice::new(13);
        let moves: Vec<Tensor> =
            lengths.iter().map(|(_, var)| dice.tensor(var.dims(), 1.0)).collect();
        let at = |step: f64| {
            for ((_, var), change) in lengths.iter().zip(&moves) {
                let moved = (var.as_tensor() + (change * step).unwrap()).unwrap();
                var.set(&moved).unwrap();
            }
            let value = loss(&plain, &batch, &lora).0.to_dtype(DType::F64).unwrap();
            value.to_scalar::<f64>().unwrap()
        };
        let step = 1.0 / 256.0;
        let above = at(step);
        let below = at(-2.0 * step);
        let slope = (above - below) / (2.0 * step);
        let along: f64 = lengths
            .iter()
            .zip(&moves)
            .map(|((_, var), change)| {
                let gradient = flat(gradients.get(var).unwrap());
                gradient.iter().zip(flat(change)).map(|(g, d)| g * d).sum::<f64>()
            })
            .sum();
        assert!((slope - along).abs() < 0.03 * along.abs().max(0.05), "{name}: {slope} {along}");
    }
}

#[test]
fn words_are_decoded_with_magnitudes_as_a_pass_computes_them() {
    // Under dynamic scaling keys of a cache are rotated as they were when they were computed.
    for (name, config) in families().into_iter().filter(|(name, _)| *name != "dynamic") {
        let (fused, plain) = both(&config);
        let lora = trained(&fused, settings(&config));
        let tokens = Dice::new(5).tokens(12, config.vocab_size);
        let whole = Packed::from_sequences(&[&tokens]);
        let expected = hidden(&plain, &whole, Some(&lora)).narrow(0, 11, 1).unwrap();
        for decoder in [&fused, &plain] {
            // More rows than the kernels stream weights for, and few.
            for count in [2, 20] {
                let starts = vec![&tokens[..8]; count];
                let overlay = Overlay::from(Some(&lora));
                let (_, mut cache) =
                    decoder.prefill(&Packed::from_sequences(&starts), overlay).unwrap();
                let mut last = None;
                for token in &tokens[8..] {
                    let tokens = vec![*token; count];
                    last = Some(decoder.decode_step(&tokens, &mut cache, overlay).unwrap());
                }
                let last = last.unwrap().narrow(0, count - 1, 1).unwrap();
                let gap = relative(&last, &expected);
                assert!(gap < 1e-5, "{name} {count}: {gap}");
            }
        }
    }
}

#[test]
fn lengths_are_of_the_weights_as_they_are_held() {
    let config = random::qwen2();
    let wide = random::decoder(&config, Kernels::Fused);
    let weights = random::converted(&wide.weights, DType::BF16, &Device::Cpu);
    let batch = ragged(&config);
    let rounded = Decoder::new(config.clone(), weights, Kernels::Fused).unwrap();
    let lora = fresh(&rounded, settings(&config));
    let gap = relative(&hidden(&rounded, &batch, Some(&lora)), &hidden(&rounded, &batch, None));
    assert!(gap < 1e-2, "{gap}");
    let of_wide = fresh(&wide, settings(&config));
    let apart = |((name, a), (_, b)): ((&str, &Var), (&str, &Var))| {
        name.contains("magnitude") && flat(a.as_tensor()) != flat(b.as_tensor())
    };
    assert!(lora.named().zip(of_wide.named()).any(apart));
}

#[test]
fn a_start_at_singular_values_changes_nothing_and_holds_half_of_every_rank() {
    for (name, config) in families() {
        let batch = ragged(&config);
        let (fused, plain) = both(&config);
        let settings = LoraConfig {
            init: Init::Pissa,
            rank_stabilized: true,
            ..LoraConfig::new(5, 10.0, config.targets())
        };
        let lora = fresh(&fused, settings.clone());
        assert!(lora.half_is_held());
        let gap = relative(&hidden(&fused, &batch, Some(&lora)), &hidden(&plain, &batch, None));
        assert!(gap < 1e-4, "{name}: {gap}");
        let pair = lora.pair(0, Target::Q).unwrap();
        assert_eq!(pair.rank, 10);
        assert!(
            (pair.scaling - 10.0 / 5f64.sqrt()).abs() < 1e-12,
            "that of the rank that is trained"
        );
        // Without what is taken off again, it is a good part of the weight.
        let half = |tensor: &Tensor, dim| tensor.narrow(dim, 0, 5).unwrap();
        let product = half(&pair.b, 1).matmul(&half(&pair.a, 0)).unwrap();
        let product = (product * pair.scaling).unwrap();
        let weight = fused.weights.layers[0].q.weight.tensor().unwrap();
        let square = |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        let left = square(&(&weight - &product).unwrap());
        let (whole, part) = (square(&weight), square(&product));
        assert!(((left + part) / whole - 1.0).abs() < 1e-3, "{name}: it isn't a projection");
        // More than any five rows or columns of a random matrix have.
        let (rows, cols) = weight.dims2().unwrap();
        assert!(part / whole > 1.3 * 5.0 / rows.min(cols) as f32, "{name}: {part} of {whole}");
    }
}

#[test]
fn what_is_of_weights_is_refused_without_them_and_ranks_that_are_too_high_by_name() {
    let config = random::qwen2();
    let error = Lora::new(&config, settings(&config), 7, &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("model's weights"), "{error}");
    let decoder = random::decoder(&config, Kernels::Fused);
    let init = LoraConfig { init: Init::Pissa, ..LoraConfig::new(60, 1.0, &[Target::K]) };
    let error = Lora::for_weights(&config, &decoder.weights, init, 7).unwrap_err().to_string();
    assert!(error.contains("k_proj has") && error.contains("fewer than rank 60"), "{error}");
}
