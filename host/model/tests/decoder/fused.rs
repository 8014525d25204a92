//! The fused kernels give what the plain ones give.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use host_model::{
    Config, Decoder, HeadRows, Kernels, Lora, LoraConfig, Names, Noise, NoiseLevels, Packed,
    TapRows, Target,
};

use crate::random::{self, Dice, adapter, families, ragged, relative};

fn taps() -> Vec<TapRows> {
    (0..4).map(|layer| TapRows { layer, rows: vec![0..3, 11..12, 10..60] }).collect()
}

/// A loss with gradients of every hidden row, through the head as well.
pub fn loss(decoder: &Decoder, batch: &Packed, lora: &Lora) -> (Tensor, Vec<Vec<f32>>, Tensor) {
    noisy_loss(decoder, batch, lora, None)
}

/// The same with noise in the pass that is trained.
pub fn noisy_loss(
    decoder: &Decoder,
    batch: &Packed,
    lora: &Lora,
    noise: Option<&Noise>,
) -> (Tensor, Vec<Vec<f32>>, Tensor) {
    let rows = batch.rows();
    let forward = decoder.forward_noisy(batch, Some(lora), noise, &taps()).unwrap();
    let reference = decoder.forward(batch, None, &[]).unwrap().hidden;
    let mut dice = Dice::new(3);
    let labels = dice.tokens(rows, decoder.config.vocab_size);
    let (task, kl) = (dice.values(rows, 0.1), dice.values(rows, 0.1));
    let head = decoder
        .head_loss(HeadRows {
            hidden: &forward.hidden,
            reference: Some(&reference),
            labels: &labels,
            task_weights: &task,
            kl_weights: &kl,
            subset: None,
        })
        .unwrap();
    let slope = dice.tensor(&[rows, decoder.config.hidden_size], 0.1);
    let hidden = forward.hidden.to_dtype(slope.dtype()).unwrap();
    let extra = (&hidden * slope).unwrap().sum_all().unwrap();
    ((head.loss + extra).unwrap(), forward.taps, hidden)
}

pub fn gradients(decoder: &Decoder, batch: &Packed, lora: &Lora) -> GradStore {
    loss(decoder, batch, lora).0.backward().unwrap()
}

fn assert_same_gradients(name: &str, lora: &Lora, fused: &GradStore, plain: &GradStore) {
    for (tensor, var) in lora.named() {
        let (a, b) = (fused.get(var).unwrap(), plain.get(var).unwrap());
        let gap = relative(a, b);
        assert!(gap < 1e-5, "{name} {tensor}: {gap}");
    }
}

#[test]
fn forward_taps_and_every_gradient_agree_in_every_family() {
    for (name, config) in families() {
        let lora = adapter(&config, &Target::ALL);
        let batch = ragged(&config);
        let (fused, plain) = pair(&config);
        let (fused_loss, fused_taps, fused_hidden) = loss(&fused, &batch, &lora);
        let (plain_loss, plain_taps, plain_hidden) = loss(&plain, &batch, &lora);
        let gap = relative(&fused_hidden, &plain_hidden);
        assert!(gap < 1e-5, "{name}: hidden {gap}");
        assert!(relative(&fused_loss, &plain_loss) < 1e-5, "{name}");
        for (a, b) in fused_taps.iter().zip(&plain_taps) {
            assert_eq!(a.len(), 3 * config.hidden_size);
            let (a, b) = (vector(a), vector(b));
            assert!(relative(&a, &b) < 1e-5, "{name}");
        }
        let fused_gradients = fused_loss.backward().unwrap();
        let plain_gradients = plain_loss.backward().unwrap();
        assert_same_gradients(name, &lora, &fused_gradients, &plain_gradients);
    }
}

/// In the plain kernels dropout is a product with a mask, on candle's graph.
#[test]
fn noise_is_the_same_in_both_kernels_in_every_family_and_when_blocks_run_again() {
    for (name, config) in families() {
        let lora = adapter(&config, &Target::ALL);
        let batch = ragged(&config);
        let levels = NoiseLevels { dropout: 0.3, embedding: 5.0 };
        let keys = (0..batch.num_sequences()).map(|i| Noise::key(&[7, i as u64])).collect();
        let noise = Noise { levels, keys };
        let (mut fused, mut plain) = pair(&config);
        let quiet = loss(&fused, &batch, &lora).2;
        let mut first: Option<GradStore> = None;
        for recompute in [false, true] {
            (fused.recompute, plain.recompute) = (recompute, recompute);
            let (a, _, hidden) = noisy_loss(&fused, &batch, &lora, Some(&noise));
            let (b, _, plain_hidden) = noisy_loss(&plain, &batch, &lora, Some(&noise));
            assert!(relative(&hidden, &plain_hidden) < 1e-5, "{name}");
            assert!(relative(&hidden, &quiet) > 1e-3, "{name}: there is no noise");
            let (a, b) = (a.backward().unwrap(), b.backward().unwrap());
            assert_same_gradients(name, &lora, &a, &b);
            if let Some(first) = &first {
                for (tensor, var) in lora.named() {
                    let gap = relative(a.get(var).unwrap(), first.get(var).unwrap());
                    assert_eq!(gap, 0.0, "{name} {tensor}");
                }
            }
            first = Some(a);
        }
        let other = Noise { keys: noise.keys.iter().map(|key| key + 1).collect(), ..noise };
        let hidden = noisy_loss(&fused, &batch, &lora, Some(&other)).2;
        assert!(relative(&hidden, &quiet) > 1e-3, "{name}");
    }
}

fn vector(values: &[f32]) -> Tensor {
    Tensor::new(values, &Device::Cpu).unwrap()
}

fn pair(config: &Config) -> (Decoder, Decoder) {
    (random::decoder(config, Kernels::Fused), random::decoder(config, Kernels::Plain))
}

#[test]
fn an_adapter_on_some_targets_gets_the_same_gradients() {
    let config = random::qwen3();
    let lora = adapter(&config, &[Target::V, Target::Down]);
    let batch = ragged(&config);
    let (fused, plain) = pair(&config);
    let fused = gradients(&fused, &batch, &lora);
    let plain = gradients(&plain, &batch, &lora);
    assert_same_gradients("two targets", &lora, &fused, &plain);
}

#[test]
fn ranks_and_scalings_of_their_own_get_the_same_gradients() {
    let config = random::qwen3();
    let settings = LoraConfig {
        exclude: Some(Names::List(vec!["layers.1.self_attn.q_proj".into()])),
        layers: vec![1, 2],
        rank_pattern: [(r"layers\.2\..*".into(), 7), ("layers.1.mlp.up_proj".into(), 1)].into(),
        alpha_pattern: [("v_proj".into(), 2.0)].into(),
        rank_stabilized: true,
        ..LoraConfig::new(5, 10.0, &[Target::Q, Target::V, Target::Up, Target::Down])
    };
    let lora = random::filled(&config, settings);
    assert!(lora.pair(0, Target::Q).is_none() && lora.pair(2, Target::Q).is_some());
    let batch = ragged(&config);
    let (mut fused, mut plain) = pair(&config);
    let expected = gradients(&plain, &batch, &lora);
    for recompute in [false, true] {
        (fused.recompute, plain.recompute) = (recompute, recompute);
        assert_same_gradients("fused", &lora, &gradients(&fused, &batch, &lora), &expected);
        assert_same_gradients("plain", &lora, &gradients(&plain, &batch, &lora), &expected);
    }
    // Word by word, as generation computes it.
    let (_, mut cache) =
        fused.prefill(&Packed::from_sequences(&[[3u32, 4, 5]]), Some(&lora)).unwrap();
    let next = fused.decode_step(&[6], &mut cache, Some(&lora)).unwrap();
    let whole = plain.infer(&Packed::from_sequences(&[[3u32, 4, 5, 6]]), Some(&lora), &[]).unwrap();
    assert!(relative(&next, &whole.hidden.narrow(0, 3, 1).unwrap()) < 1e-5);
}

#[test]
fn only_adapter_tensors_get_a_gradient() {
    let config = random::qwen2();
    let lora = adapter(&config, &Target::ALL);
    let decoder = random::decoder(&config, Kernels::Fused);
    let batch = ragged(&config);
    let hidden = decoder.forward(&batch, Some(&lora), &[]).unwrap().hidden;
    let weights = vec![0.1; batch.rows()];
    let rows = HeadRows {
        hidden: &hidden,
        reference: None,
        labels: &batch.tokens,
        task_weights: &weights,
        kl_weights: &weights,
        subset: None,
    };
    let found = decoder.head_loss(rows).unwrap().loss.backward().unwrap();
    let layer = &decoder.weights.layers[0];
    let down = &layer.linear(Target::Down).unwrap().weight;
    let [embed, q, down] =
        [&decoder.weights.embed, &layer.q.weight, down].map(|matrix| matrix.tensor().unwrap());
    let frozen = [
        &embed,
        &decoder.weights.final_norm,
        &q,
        layer.q.bias.as_ref().unwrap(),
        &down,
        layer.attn_norm.as_ref().unwrap(),
    ];
    assert!(frozen.iter().all(|tensor| found.get(tensor).is_none()));
    let known: Vec<_> = lora.named().map(|(_, var)| var.id()).collect();
    assert!(found.get_ids().all(|id| known.contains(id)));
    assert_eq!(found.get_ids().count(), known.len());
    let finite = |var| {
        let values = random::flat(found.get(var).unwrap());
        values.iter().all(|x| x.is_finite()) && values.iter().any(|x| *x != 0.0)
    };
    assert!(lora.named().all(|(_, var)| finite(var)));
}

#[test]
fn recomputing_changes_no_bit() {
    let configs = [random::mistral(), random::qwen3_moe(), random::gemma2(), random::gemma3()];
    for config in configs.into_iter().chain([random::granite(), random::finished_experts()]) {
        recompute(&config);
    }
}

fn recompute(config: &Config) {
    let lora = adapter(config, &Target::ALL);
    let batch = ragged(config);
    let mut decoder = random::decoder(config, Kernels::Fused);
    let kept = gradients(&decoder, &batch, &lora);
    decoder.recompute = true;
    let again = gradients(&decoder, &batch, &lora);
    for (_, var) in lora.named() {
        let (a, b) = (kept.get(var).unwrap(), again.get(var).unwrap());
        assert_eq!(random::flat(a), random::flat(b));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for config in [random::llama(), random::mixtral()] {
        threads(&config);
    }
}

fn threads(config: &Config) {
    let lora = adapter(config, &Target::ALL);
    let batch = ragged(config);
    let decoder = random::decoder(config, Kernels::Fused);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let found = gradients(&decoder, &batch, &lora);
            let list = lora.named().map(|(_, var)| found.get(var).unwrap());
            list.map(random::flat).collect::<Vec<_>>()
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

/// A fresh adapter is the reference, bit for bit; a moved one is not.
#[test]
fn a_fresh_adapter_changes_no_bit() {
    for kernels in [Kernels::Fused, Kernels::Plain] {
        let config = random::qwen3();
        let decoder = random::decoder(&config, kernels);
        let settings = LoraConfig::new(4, 8.0, &Target::ALL);
        let fresh = Lora::new(&config, settings, 1, &Device::Cpu).unwrap();
        let batch = ragged(&config);
        let hidden =
            |lora: Option<&Lora>| random::flat(&decoder.forward(&batch, lora, &[]).unwrap().hidden);
        let reference = hidden(None);
        assert_eq!(reference, hidden(Some(&fresh)));
        assert_ne!(reference, hidden(Some(&adapter(&config, &Target::ALL))));
    }
}

/// Packing is only an arrangement: each sequence gives the same bits alone.
#[test]
fn a_sequence_gives_the_same_alone_and_packed() {
    for (name, config) in families() {
        let decoder = random::decoder(&config, Kernels::Fused);
        let lora = adapter(&config, &Target::ALL);
        let batch = ragged(&config);
        let all = decoder.forward(&batch, Some(&lora), &[]).unwrap().hidden;
        for rows in batch.sequences() {
            let single = Packed::from_sequences(&[&batch.tokens[rows.clone()]]);
            let alone = decoder.forward(&single, Some(&lora), &[]).unwrap().hidden;
            let packed = all.narrow(0, rows.start, rows.len()).unwrap();
            assert_eq!(random::flat(&alone), random::flat(&packed), "{name}");
        }
    }
}

#[test]
fn stopping_early_reads_the_same_taps() {
    for kernels in [Kernels::Fused, Kernels::Plain] {
        let config = random::llama();
        let decoder = random::decoder(&config, kernels);
        let lora = adapter(&config, &Target::ALL);
        let batch = ragged(&config);
        let shallow = taps()[..3].to_vec();
        let all = decoder.forward(&batch, Some(&lora), &shallow).unwrap().taps;
        let early = decoder.forward_taps(&batch, Some(&lora), &shallow).unwrap();
        assert_eq!(all, early);
        let embedded = decoder.weights.embed.select(&batch.tokens[11..12]).unwrap();
        assert_eq!(all[0][config.hidden_size..2 * config.hidden_size], {
            embedded.get(0).unwrap().to_vec1::<f32>().unwrap()
        });
    }
}

/// Without gradient nothing changes but that there is no graph.
#[test]
fn inference_changes_no_bit() {
    for kernels in [Kernels::Fused, Kernels::Plain] {
        let config = random::llama3();
        let decoder = random::decoder(&config, kernels);
        let lora = adapter(&config, &Target::ALL);
        let batch = ragged(&config);
        let trained = decoder.forward(&batch, Some(&lora), &taps()).unwrap();
        let inferred = decoder.infer(&batch, Some(&lora), &taps()).unwrap();
        assert_eq!(random::flat(&inferred.hidden), random::flat(&trained.hidden));
        assert_eq!(inferred.taps, trained.taps);
        assert!(trained.hidden.track_op() && !inferred.hidden.track_op());
    }
}
