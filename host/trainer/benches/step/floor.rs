//! The matrix products that a step can't do without, timed alone with the `gemm`
//! crate, which candle itself uses. Nothing but f32 operands that lie as the model's do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gemm::Parallelism;
use host_model::{Config, Lora, Packed, Target};
use rayon::prelude::*;

/// C [m, n] = A [m, k] B [k, n]; `turned` where B is stored as [n, k].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Product {
    m: usize,
    n: usize,
    k: usize,
    turned: bool,
}

impl Product {
    fn operations(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }
}

/// How often a step needs each product. Causal attention counts by halves.
pub type Work = BTreeMap<Product, f64>;

pub fn products(config: &Config, lora: &Lora, batch: &Packed, kl: bool) -> Work {
    let mut work = Work::new();
    let mut add = |times: f64, m, n, k, turned| {
        *work.entry(Product { m, n, k, turned }).or_default() += times;
    };
    let (rows, rank, layers) = (batch.rows(), lora.shape().rank, config.num_layers as f64);
    let forwards = if kl { 2.0 } else { 1.0 };
    for target in Target::ALL {
        let (out, input) = config.shape(target);
        add(layers * forwards, rows, out, input, true);
        // Below the lowest block's own adapters nothing wants a gradient.
        let lowest = matches!(target, Target::Q | Target::K | Target::V);
        let inputs = if lowest { layers - 1.0 } else { layers };
        add(inputs, rows, input, out, false);
        if lora.pair(0, target).is_some() {
            add(layers, rows, rank, input, true);
            add(layers, rows, out, rank, true);
            add(layers, rows, rank, out, false);
            add(inputs, rows, input, rank, false);
            add(layers, rank, input, rows, false);
            add(layers, rank, out, rows, false);
        }
    }
    for sequence in batch.sequences() {
        let (length, size) = (sequence.len(), config.head_dim);
        let heads = layers * config.num_heads as f64;
        // q k^T and p v; backward dp, dv, dq and dk.
        add(heads * (forwards + 1.0) / 2.0, length, length, size, true);
        add(heads * (forwards + 3.0) / 2.0, length, size, length, false);
    }
    let answers = batch.sequences().map(|rows| rows.len() - rows.len() / 2);
    let answers = answers.sum();
    let (vocabulary, hidden) = (config.vocab_size, config.hidden_size);
    add(forwards, answers, vocabulary, hidden, true);
    add(1.0, answers, hidden, vocabulary, false);
    work
}

/// Seconds and floating-point operations of all of it: the best of several tries of
/// each product, every thread with an equal share of its rows or columns.
pub fn measure(work: &Work) -> (f64, f64) {
    let total =
        |(product, times): (&Product, &f64)| (times * best(product), times * product.operations());
    work.iter().map(total).fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

fn best(product: &Product) -> f64 {
    let threads = rayon::current_num_threads();
    let Product { m, n, k, turned } = *product;
    let share = if m >= n { (m.div_ceil(threads), n) } else { (m, n.div_ceil(threads)) };
    let operand = |size: usize| -> Vec<f32> { (0..size).map(|i| (i % 13) as f32 - 6.0).collect() };
    let mut parts: Vec<_> = (0..threads)
        .map(|_| {
            let c = vec![0f32; share.0 * share.1];
            (c, operand(share.0 * k), operand(share.1 * k))
        })
        .collect();
    let (mut least, started) = (f64::INFINITY, Instant::now());
    while started.elapsed() < Duration::from_millis(60) || least == f64::INFINITY {
        let start = Instant::now();
        parts.par_iter_mut().for_each(|(c, a, b)| run(share, k, turned, c, a, b));
        least = least.min(start.elapsed().as_secs_f64());
    }
    least
}

fn run((m, n): (usize, usize), k: usize, turned: bool, c: &mut [f32], a: &[f32], b: &[f32]) {
    let (column, row) = if turned { (k, 1) } else { (1, n) };
    // SAFETY: the slices hold m n, m k and k n values.
    #[expect(unsafe_code, reason = "gemm takes pointers")]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            1,
            k as isize,
            b.as_ptr(),
            column as isize,
            row as isize,
            0f32,
            1f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
