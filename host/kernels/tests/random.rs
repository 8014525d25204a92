//! Products and attention of random shapes against plain sums in double precision, with the
//! processor's widest instructions, with AVX2, and without either.
//!
//! One test in a process of its own: the choice of instructions holds for all threads.

use std::ops::Range;
use std::time::{Duration, Instant};

use half::bf16;
use host_kernels::attention::{Head, Scores};
use host_kernels::blocks::BlockFormat;
use host_kernels::low_rank::{Narrow, sum_rows};
use host_kernels::matmul::matmul;
use host_kernels::packed_lhs::{Format, PackedLhs};
use host_kernels::product::{self, Product, Summand};
use host_kernels::right::{Blocks, Weight};
use host_kernels::simd::{Widest, limit_instructions};
use host_kernels::skinny;
use host_kernels::view::{Accumulate, Mat};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Sums of rounding errors: values are below 1, and at most some hundred are added.
const CLOSE: f64 = 1e-3;

struct Dice(ChaCha8Rng);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn size(&mut self, sizes: Range<usize>) -> usize {
        self.0.random_range(sizes)
    }

    fn flip(&mut self) -> bool {
        self.0.random()
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.0.random_range(-1.0..1.0)).collect()
    }

    /// A matrix [rows, cols] as it may lie, with values that are no part of it, and in plain rows.
    fn matrix(&mut self, rows: usize, cols: usize) -> (Vec<f32>, usize, bool) {
        let transposed = self.flip();
        let (lines, length) = if transposed { (cols, rows) } else { (rows, cols) };
        let stride = length + self.size(0..4);
        (self.values(lines * stride), stride, transposed)
    }
}

fn view((data, stride, transposed): &(Vec<f32>, usize, bool)) -> Mat<'_> {
    let rows = Mat::rows(data, *stride);
    if *transposed { rows.t() } else { rows }
}

fn at(m: Mat, i: usize, j: usize) -> f64 {
    f64::from(m.data[i * m.row + j * m.col])
}

/// a [rows, depth] times b [depth, cols], row by row.
fn naive(a: Mat, b: Mat, (rows, cols, depth): (usize, usize, usize)) -> Vec<f64> {
    let element = |i, j| (0..depth).map(|p| at(a, i, p) * at(b, p, j)).sum();
    (0..rows).flat_map(|i| (0..cols).map(move |j| element(i, j))).collect()
}

fn assert_close(found: &[f32], exact: &[f64], what: &str) {
    assert_eq!(found.len(), exact.len(), "{what}");
    for (i, (found, exact)) in found.iter().zip(exact).enumerate() {
        let gap = (f64::from(*found) - exact).abs();
        assert!(gap < CLOSE, "{what}: value {i} is {found}, not {exact}");
    }
}

fn small_product(dice: &mut Dice) -> Vec<f32> {
    let (m, n, k) = (dice.size(1..230), dice.size(1..80), dice.size(1..700));
    let (a, b) = (dice.matrix(m, k), dice.matrix(k, n));
    let mut c = vec![0f32; m * n];
    matmul(Accumulate::Set, &mut c, n, (m, n, k), view(&a), view(&b));
    let mut exact = naive(view(&a), view(&b), (m, n, k));
    assert_close(&c, &exact, &format!("matmul {m} x {n} x {k}"));
    matmul(Accumulate::Add, &mut c, n, (m, n, k), view(&a), view(&b));
    exact.iter_mut().for_each(|value| *value *= 2.0);
    assert_close(&c, &exact, &format!("matmul {m} x {n} x {k}, twice"));
    c
}

/// x W^T + low B^T + bias, W in f32 or bf16.
fn large_product(dice: &mut Dice) -> Vec<f32> {
    let (rows, cols, depth) = (dice.size(1..150), dice.size(1..200), dice.size(1..1300));
    let rank = dice.size(1..40);
    let (x, w) = (dice.values(rows * depth), dice.values(cols * depth));
    let (low, b) = (dice.values(rows * rank), dice.values(cols * rank));
    let bias = dice.flip().then(|| dice.values(cols));
    let narrow: Vec<bf16> = w.iter().map(|x| bf16::from_f32(*x)).collect();
    let (weight, format) = if dice.flip() {
        (Weight::F32(&w), Format::F32)
    } else {
        (Weight::Bf16(&narrow), Format::Bf16)
    };
    let mut left = PackedLhs::default();
    let mut blocks = left.shape(format, rows, depth).blocks(16);
    x.chunks(16 * depth).for_each(|x| blocks.next_block().pack(x, x.len() / depth, depth));
    let mut c = vec![0f32; rows * cols];
    product::run(&mut [Product {
        into: Accumulate::Set,
        c: &mut c,
        cols,
        bias: bias.as_deref(),
        summands: vec![
            Summand::Packed(&left, weight.transposed(depth)),
            Summand::Rows(&low, rank, Mat::rows(&b, rank).t()),
        ],
    }]);
    let held = |values: &[f32]| -> Vec<f32> {
        let round = |x: &f32| if format == Format::F32 { *x } else { bf16::from_f32(*x).to_f32() };
        values.iter().map(round).collect()
    };
    let (x, w) = (held(&x), held(&w));
    let shape = (rows, cols, depth);
    let mut exact = naive(Mat::rows(&x, depth), Mat::rows(&w, depth).t(), shape);
    let change = naive(Mat::rows(&low, rank), Mat::rows(&b, rank).t(), (rows, cols, rank));
    for (i, value) in exact.iter_mut().enumerate() {
        *value += change[i] + bias.as_ref().map_or(0.0, |bias| f64::from(bias[i % cols]));
    }
    assert_close(&c, &exact, &format!("product {rows} x {cols} x {depth} + {rank}, {format:?}"));
    // Where the processor multiplies pairs of bf16, it adds them up in another order.
    if format == Format::F32 { c } else { Vec::new() }
}

/// Lines of random blocks whose scales are small numbers.
fn blocks(dice: &mut Dice, format: BlockFormat, count: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..count * format.bytes()).map(|_| dice.0.random()).collect();
    let halves: &[usize] = match format {
        BlockFormat::Q4_0 | BlockFormat::Q5_0 | BlockFormat::Q8_0 => &[0],
        BlockFormat::Q6K => &[208],
        _ => &[0, 2],
    };
    for block in bytes.chunks_exact_mut(format.bytes()) {
        for at in halves {
            let scale = half::f16::from_f32(dice.0.random_range(-1e-3..1e-3));
            block[*at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
    }
    bytes
}

/// A weight in blocks gives the bits of the same weight widened beforehand: x W^T, g W and few rows.
fn block_product(dice: &mut Dice) -> Vec<f32> {
    let format = BlockFormat::ALL[dice.size(0..BlockFormat::ALL.len())];
    let (rows, out) = (dice.size(1..60), dice.size(1..150));
    let input = dice.size(1..1500_usize.div_ceil(format.values())) * format.values();
    let bytes = blocks(dice, format, out * input / format.values());
    let mut wide = vec![0f32; out * input];
    Blocks { format, bytes: &bytes, wide: Format::F32 }.floats(&mut wide);
    let narrow: Vec<bf16> = wide.iter().map(|x| bf16::from_f32(*x)).collect();
    let (x, g) = (dice.values(rows * input), dice.values(rows * out));
    let extra = dice.size(1..40);
    let more = dice.values(extra * input);
    let mut given = Vec::new();
    for as_wide in [Format::F32, Format::Bf16] {
        let widened = match as_wide {
            Format::F32 => Weight::F32(&wide),
            Format::Bf16 => Weight::Bf16(&narrow),
        };
        let held = Weight::Blocks(Blocks { format, bytes: &bytes, wide: as_wide });
        let all = |weight: Weight| {
            let pack = |values: &[f32], depth: usize| {
                let mut left = PackedLhs::default();
                let mut blocks = left.shape(as_wide, rows, depth).blocks(16);
                let chunks = values.chunks(16 * depth);
                chunks.for_each(|x| blocks.next_block().pack(x, x.len() / depth, depth));
                left
            };
            let (x_left, g_left) = (pack(&x, input), pack(&g, out));
            let extra_left = pack(&x[..rows * extra.min(input)], extra.min(input));
            let more = Mat::rows(&more, input);
            let narrow_more: Vec<bf16> = more.data.iter().map(|x| bf16::from_f32(*x)).collect();
            let more = match as_wide {
                Format::F32 => host_kernels::right::Right::F32(more),
                Format::Bf16 => host_kernels::right::Right::Bf16(Mat::rows(&narrow_more, input)),
            };
            let mut forward = vec![0f32; rows * out];
            let mut backward = vec![0f32; rows * input];
            let mut few = vec![0f32; rows * out];
            for (c, cols, summands) in [
                (&mut forward, out, vec![Summand::Packed(&x_left, weight.transposed(input))]),
                (
                    &mut backward,
                    input,
                    // Behind another one its depth begins anywhere.
                    vec![
                        Summand::Packed(&extra_left, more),
                        Summand::Packed(&g_left, weight.right(input, 0)),
                    ],
                ),
            ] {
                let into = Accumulate::Set;
                product::run(&mut [Product { into, c, cols, bias: None, summands }]);
            }
            skinny::matmul(&x, input, weight, &mut few, out);
            [forward, backward, few].concat()
        };
        let (exact, found) = (all(widened), all(held));
        assert_eq!(bits(&found), bits(&exact), "{format:?} as {as_wide:?}: {rows}x{out}x{input}");
        if as_wide == Format::F32 {
            given = found;
        }
    }
    given
}

fn narrow_products(dice: &mut Dice) -> Vec<f32> {
    let (rows, depth, rank) = (dice.size(1..400), dice.size(1..120), dice.size(1..70));
    let (x, b) = (dice.values(rows * depth), dice.matrix(depth, rank));
    let what = format!("{rows} x {rank} x {depth}");
    let mut y = vec![0f32; rows * rank];
    Narrow::pack(view(&b), depth, rank).multiply(&x, &mut y);
    let exact = naive(Mat::rows(&x, depth), view(&b), (rows, rank, depth));
    assert_close(&y, &exact, &format!("low rank {what}"));

    let first = dice.size(0..depth);
    let columns = first..dice.size(first + 1..depth + 1);
    let sums = sum_rows((&y, rank), (&x, depth), columns.clone());
    let shape = (rank, columns.len(), rows);
    let exact = naive(Mat::rows(&y, rank).t(), Mat::rows(&x[first..], depth), shape);
    let scale = exact.iter().fold(1.0, |most: f64, value| most.max(value.abs()));
    for (found, exact) in sums.iter().zip(&exact) {
        assert!((f64::from(*found) - exact).abs() < 1e-5 * scale, "sum of rows {what}");
    }
    y.extend(sums);
    y
}

fn few_rows(dice: &mut Dice) -> Vec<f32> {
    let (rows, cols, depth) = (dice.size(1..20), dice.size(1..90), dice.size(1..300));
    let (x, w) = (dice.values(rows * depth), dice.values(cols * depth));
    let mut y = vec![0f32; rows * cols];
    skinny::matmul(&x, depth, Weight::F32(&w), &mut y, cols);
    let exact = naive(Mat::rows(&x, depth), Mat::rows(&w, depth).t(), (rows, cols, depth));
    assert_close(&y, &exact, &format!("few rows {rows} x {cols} x {depth}"));
    y
}

/// Longer than products are deep at a time, where sums are cut.
fn long_attention(dice: &mut Dice) {
    let (length, size) = (1400, 4);
    let [q, k, v, g] = std::array::from_fn(|_| dice.values(length * size));
    let [q, k, v, g] = [&q, &k, &v, &g].map(|values| Mat::rows(values, size));
    for window in [None, Some(700), Some(1000)] {
        let scores = Scores { scale: 0.5, cap: None };
        let head = Head { q, k, v, first: 0, length, size, window, scores };
        for first in [100, 703, 1399] {
            in_two_parts(first, head, g, &format!("attention of {length} rows, window {window:?}"));
        }
    }
}

fn attention(dice: &mut Dice) -> Vec<f32> {
    let (length, size) = (dice.size(1..150), 2 * dice.size(1..20));
    let window = dice.flip().then(|| dice.size(1..length + 1));
    let [q, k, v, g] = std::array::from_fn(|_| dice.values(length * size));
    let [rows_q, rows_k, rows_v, rows_g] = [&q, &k, &v, &g].map(|values| Mat::rows(values, size));
    let cap = dice.flip().then_some(1.5);
    let scale = (size as f64).powf(-0.5);
    let scores = Scores { scale: scale as f32, cap };
    let head = Head { q: rows_q, k: rows_k, v: rows_v, first: 0, length, size, window, scores };
    let (out, totals) = head.forward();
    let gradients = head.backward(Mat::rows(&out, size), &totals, rows_g);
    let what = format!("attention of {length} rows of {size}, window {window:?}, cap {cap:?}");
    in_two_parts(dice.size(1..length + 1), head, rows_g, &what);

    let [mut mixed, mut dq, mut dk, mut dv] = [(); 4].map(|()| vec![0f64; length * size]);
    for i in 0..length {
        let seen = window.map_or(0, |window| (i + 1).saturating_sub(window))..i + 1;
        let dot = |a: Mat, b: Mat, j: usize| -> f64 {
            (0..size).map(|c| at(a, i, c) * at(b, j, c)).sum()
        };
        // A score and its slope by the product of query and key.
        let score = |product: f64| match cap.map(f64::from) {
            None => (scale * product, scale),
            Some(cap) => {
                let part = (scale * product / cap).tanh();
                (cap * part, scale * (1.0 - part * part))
            }
        };
        let scores: Vec<(f64, f64)> = seen.clone().map(|j| score(dot(rows_q, rows_k, j))).collect();
        let sum: f64 = scores.iter().map(|(score, _)| score.exp()).sum();
        let shares: Vec<f64> = scores.iter().map(|(score, _)| score.exp() / sum).collect();
        let pulls: Vec<f64> = seen.clone().map(|j| dot(rows_g, rows_v, j)).collect();
        let mean: f64 = shares.iter().zip(&pulls).map(|(share, pull)| share * pull).sum();
        for (j, ((share, pull), (_, slope))) in seen.zip(shares.iter().zip(&pulls).zip(&scores)) {
            let slope = slope * share * (pull - mean);
            for c in 0..size {
                mixed[i * size + c] += share * at(rows_v, j, c);
                dv[j * size + c] += share * at(rows_g, i, c);
                dq[i * size + c] += slope * at(rows_k, j, c);
                dk[j * size + c] += slope * at(rows_q, i, c);
            }
        }
    }
    for (found, exact, of) in [
        (&out, &mixed, "output"),
        (&gradients.q, &dq, "queries"),
        (&gradients.k, &dk, "keys"),
        (&gradients.v, &dv, "values"),
    ] {
        assert_close(found, exact, &format!("{what}: {of}"));
    }
    [out, gradients.q, gradients.k, gradients.v].concat()
}

/// The beginning and the end of a sequence, each by itself, give the rows of the whole, and its gradients.
fn in_two_parts(first: usize, whole: Head, g: Mat, what: &str) {
    let size = whole.size;
    let (out, totals) = whole.forward();
    let gradients = whole.backward(Mat::rows(&out, size), &totals, g);
    let mut sums = [vec![0f32; out.len()], vec![0f32; out.len()], Vec::new()];
    for (first, length) in [(0, first), (first, whole.length)] {
        if first == length {
            continue;
        }
        let part = Head { q: whole.q.from(first, 0), first, length, ..whole };
        let (found, of) = part.forward();
        assert_eq!(found[..], out[first * size..length * size], "{what}, {first} to {length}");
        assert_eq!(of[..], totals[first..length], "{what}, {first} to {length}");
        let found = part.backward(Mat::rows(&found, size), &of, g.from(first, 0));
        for (sum, found) in sums.iter_mut().zip([&found.k, &found.v]) {
            sum.iter_mut().zip(found).for_each(|(sum, x)| *sum += x);
        }
        sums[2].extend(found.q);
    }
    for (found, whole) in sums.iter().zip([&gradients.k, &gradients.v, &gradients.q]) {
        let whole: Vec<f64> = whole.iter().copied().map(f64::from).collect();
        assert_close(found, &whole, &format!("{what}, in two parts at {first}"));
    }
}

/// What comes out for a seed, as far as its bits are the same with AVX-512 and AVX2.
fn all(seed: u64) -> Vec<f32> {
    let kinds = [small_product, large_product, block_product, narrow_products, few_rows, attention];
    kinds.into_iter().flat_map(|kind| kind(&mut Dice::new(seed))).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn random_shapes_match_plain_sums_with_all_instructions() {
    // HOST_FUZZ_SECONDS and HOST_FUZZ_SEED as for the other tests that search.
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let time = Duration::from_secs(number("HOST_FUZZ_SECONDS").unwrap_or(4)) / 3;
    let first = number("HOST_FUZZ_SEED").unwrap_or(0);
    let until = Instant::now() + time;
    long_attention(&mut Dice::new(first));
    let mut widest = Vec::new();
    while Instant::now() < until || widest.is_empty() {
        widest.push(all(first + widest.len() as u64));
    }
    limit_instructions(Widest::Avx2);
    let until = Instant::now() + time;
    for (seed, widest) in (first..).zip(&widest) {
        let avx2 = all(seed);
        assert_eq!(bits(&avx2), bits(widest), "seed {seed}");
        if Instant::now() > until {
            break;
        }
    }
    limit_instructions(Widest::Portable);
    let until = Instant::now() + time;
    for seed in first..first + widest.len() as u64 {
        all(seed);
        if Instant::now() > until {
            break;
        }
    }
}
