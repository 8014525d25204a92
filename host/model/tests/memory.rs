//! What a training step holds in memory at most, counted by the allocator. A binary
//! with one test, so that nothing else allocates meanwhile.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "decoder/random.rs"]
mod random;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use host_model::{Config, Decoder, HeadRows, Kernels, Lora, Packed, Target};

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

/// Most bytes that one step adds to what is there before it.
fn step(decoder: &Decoder, batch: &Packed, lora: &Lora) -> usize {
    let before = LIVE.load(SeqCst);
    PEAK.store(before, SeqCst);
    let forward = decoder.forward(batch, Some(lora), &[]).unwrap();
    let weights = vec![1.0 / batch.rows() as f32; batch.rows()];
    let loss = decoder.head_loss(HeadRows {
        hidden: &forward.hidden,
        reference: None,
        labels: &batch.tokens,
        task_weights: &weights,
        kl_weights: &weights,
    });
    loss.unwrap().loss.backward().unwrap();
    PEAK.load(SeqCst) - before
}

#[test]
fn checkpointing_keeps_little_more_than_the_inputs_of_blocks() {
    let config = Config {
        num_layers: 24,
        ..random::llama()
    };
    let lora = random::adapter(&config, &Target::ALL);
    let tokens = random::Dice::new(5).tokens(1000, config.vocab_size);
    let batch = Packed::from_sequences(&[&tokens[..400], &tokens[400..800], &tokens[800..]]);
    let mut decoder = random::decoder(&config, Kernels::Fused);
    let everything = step(&decoder, &batch, &lora);
    decoder.recompute = true;
    let inputs = step(&decoder, &batch, &lora);
    // Per row and block: the input alone, against queries, keys, values, the MLP's
    // two sides and the rest as well.
    let held = 4 * batch.rows() * config.num_layers * config.hidden_size;
    assert!(
        inputs > held && everything > 5 * held,
        "{inputs} {everything} {held}"
    );
    assert!(inputs * 2 < everything, "{inputs} {everything}");
}
