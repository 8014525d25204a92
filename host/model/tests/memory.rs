//! What a training step holds in memory at most, counted by the allocator, and
//! what was told of it.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "an allocator that counts")]

#[allow(dead_code)]
#[path = "decoder/configs.rs"]
mod configs;
#[allow(dead_code)]
#[path = "decoder/random.rs"]
mod random;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use candle_core::{Device, Tensor};
use host_model::{
    Config, Decoder, Forward, HeadRows, Kernels, Lora, LoraConfig, MicroBatchShape, Noise,
    NoiseLevels, Packed, Target,
};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is the system allocator's; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), SeqCst) + layout.size();
        PEAK.fetch_max(live, SeqCst);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), SeqCst);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes that one step over the second half of each sequence adds to what is there
/// before it.
fn step(
    decoder: &Decoder,
    batch: &Packed,
    lora: &Lora,
    held: bool,
    noise: Option<&Noise>,
) -> usize {
    let rows: Vec<u32> = answers(batch).collect();
    let labels: Vec<u32> = rows.iter().map(|row| batch.tokens[*row as usize]).collect();
    let weights = vec![1.0 / rows.len() as f32; rows.len()];
    let rows = Tensor::new(rows, &Device::Cpu).unwrap();
    decoder.release();
    let before = LIVE.load(SeqCst);
    PEAK.store(before, SeqCst);
    let select = |forward: &Forward| forward.hidden.index_select(&rows, 0).unwrap();
    let reference = held.then(|| select(&decoder.forward(batch, None, &[]).unwrap()));
    let forward = decoder.forward_noisy(batch, Some(lora), noise, &[]).unwrap();
    let loss = decoder.head_loss(HeadRows {
        hidden: &select(&forward),
        reference: reference.as_ref(),
        labels: &labels,
        task_weights: &weights,
        kl_weights: &weights,
        subset: None,
    });
    loss.unwrap().loss.backward().unwrap();
    PEAK.load(SeqCst) - before
}

fn answers(batch: &Packed) -> impl Iterator<Item = u32> {
    let halves = batch.sequences().map(|rows| rows.start + rows.len() / 2..rows.end);
    halves.flatten().map(|row| row as u32)
}

fn batch(lengths: &[usize], config: &Config) -> Packed {
    let mut dice = random::Dice::new(5);
    let tokens = lengths.iter().map(|length| dice.tokens(*length, config.vocab_size));
    Packed::from_sequences(&tokens.collect::<Vec<_>>())
}

/// One test, so that nothing else allocates meanwhile.
#[test]
fn a_step_holds_what_was_told_and_checkpointing_little_more_than_the_inputs_of_blocks() {
    let deep = Config { num_layers: 24, ..random::llama() };
    checkpointing(&deep);
    shared(&deep);
    shared(&Config { num_layers: 2, num_kv_heads: random::llama().num_heads, ..random::llama() });
    // Each shape has another part that weighs most: tapes, scratch, logits.
    let shallow = Config { num_layers: 2, ..random::llama() };
    let words = Config { vocab_size: 20_000, ..random::llama() };
    for config in [deep, shallow, words, random::qwen3(), random::mixtral(), random::qwen3_moe()] {
        for lengths in [&[400, 400, 200][..], &[500; 5]] {
            for magnitudes in [false, true] {
                forecast(&config, lengths, magnitudes);
            }
        }
    }
}

/// What sequences share takes room once; told is the room of all rows, which is enough whatever they share.
fn shared(config: &Config) {
    let lora = random::adapter(config, &[Target::Q, Target::V]);
    let mut decoder = random::decoder(config, Kernels::Fused);
    let mut dice = random::Dice::new(6);
    // A little more than an eighth of the rows are saved, and nearly all.
    for (beginning, count) in [(100, 2), (390, 2), (390, 8)] {
        let beginning = dice.tokens(beginning, config.vocab_size);
        let rest = |dice: &mut random::Dice| dice.tokens(400 - beginning.len(), config.vocab_size);
        let sequences: Vec<Vec<u32>> =
            (0..count).map(|_| [&beginning[..], &rest(&mut dice)].concat()).collect();
        let batch = Packed::from_sequences(&sequences);
        let work = MicroBatchShape {
            lengths: vec![400; count],
            answer_tokens: answers(&batch).count(),
            has_kl: true,
            has_dropout: false,
        };
        for recompute in [false, true] {
            decoder.recompute = recompute;
            let told = decoder.step_memory(&lora, &work).unwrap();
            let told = told.peak - told.panels;
            let found = step(&decoder, &batch, &lora, true, None) as u64;
            assert!(found < told, "{found} found, {told} told, {count} share {}", beginning.len());
        }
    }
}

fn checkpointing(config: &Config) {
    let lora = random::adapter(config, &Target::ALL);
    let batch = batch(&[400, 400, 200], config);
    let mut decoder = random::decoder(config, Kernels::Fused);
    let everything = step(&decoder, &batch, &lora, false, None);
    decoder.recompute = true;
    let inputs = step(&decoder, &batch, &lora, false, None);
    // Per row and block: the input alone, against queries, keys, values, the MLP's
    // two sides and the rest as well.
    let held = 4 * batch.rows() * config.num_layers * config.hidden_size;
    assert!(inputs > held && everything > 5 * held, "{inputs} {everything} {held}");
    assert!(inputs * 2 < everything, "{inputs} {everything}");
}

fn forecast(config: &Config, lengths: &[usize], magnitudes: bool) {
    let batch = batch(lengths, config);
    let mut decoder = random::decoder(config, Kernels::Fused);
    let mut settings = LoraConfig::new(5, 10.0, &[Target::Q, Target::V]);
    settings.magnitudes = magnitudes;
    if config.experts.is_none() {
        settings.targets = (&[Target::Q, Target::V, Target::Down][..]).into();
    }
    let lora = Lora::for_weights(config, &decoder.weights, settings, 7).unwrap();
    let levels = NoiseLevels { dropout: 0.1, embedding: 0.0 };
    let noise = Noise { levels, keys: vec![1; lengths.len()] };
    for case in 0..8 {
        let [recompute, held, dropout] = [1, 2, 4].map(|bit| case & bit != 0);
        decoder.recompute = recompute;
        let work = MicroBatchShape {
            lengths: lengths.to_vec(),
            answer_tokens: answers(&batch).count(),
            has_kl: held,
            has_dropout: dropout,
        };
        let told = decoder.step_memory(&lora, &work).unwrap();
        // The threads have their panels from the steps before.
        let told = (told.peak - told.panels) as f64;
        let found = step(&decoder, &batch, &lora, held, dropout.then_some(&noise)) as f64;
        let ratio = told / found;
        assert!(
            (0.95..1.08).contains(&ratio),
            "{ratio:.3}: {told} told, {found} found, {lengths:?}, {} blocks, vocabulary {}, \
             recompute {recompute}, held {held}, dropout {dropout}, magnitudes {magnitudes}",
            config.num_layers,
            config.vocab_size
        );
    }
}
