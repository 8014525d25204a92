//! bf16: the upper half of an f32. Weights are held in it, what they multiply is
//! rounded to it, and sums stay f32.

use std::sync::atomic::{AtomicBool, Ordering};

use half::bf16;

use super::operands::COLS;

/// How bf16 is multiplied. Sums are f32 in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Multiplied {
    /// Both sides rounded to bf16 and widened again, as floats.
    Floats,
    /// Pairs, in vectors.
    Pairs,
    /// Pairs, in matrix registers.
    Tall,
    /// f32 as the sum of two bf16, its upper and its lower half, in matrix registers: three of the four
    /// products of halves. A term is off by at most 2^-15 of its size (f32: 2^-24, bf16: 2^-7).
    Halves,
}

static SPLIT: AtomicBool = AtomicBool::new(false);

/// From here on f32 is multiplied in halves (known as bf16x3) where there are matrix registers. Whether it
/// is. For the whole process, and before the first product: what was packed
/// in one way can't be multiplied in the other.
pub fn split_floats() -> bool {
    SPLIT.store(super::tall::is_fast(), Ordering::Relaxed);
    multiplied_floats().is_some()
}

/// How f32 is multiplied; as floats if nothing is said.
pub fn multiplied_floats() -> Option<Multiplied> {
    SPLIT.load(Ordering::Relaxed).then_some(Multiplied::Halves)
}

/// What is fastest here. Intel's processors multiply pairs in vectors at the rate of floats, so they gain
/// nothing by them: there a step in bf16 took 1.3 times as long as one in f32. AMD's take half as long.
pub fn multiplied() -> Multiplied {
    if super::tall::is_fast() {
        return Multiplied::Tall;
    }
    #[cfg(target_arch = "x86_64")]
    if super::simd::level() == super::simd::Level::Avx512
        && is_x86_feature_detected!("avx512bf16")
        && !super::x86::is_intel()
    {
        return Multiplied::Pairs;
    }
    Multiplied::Floats
}

/// The nearest bf16, ties to even; NaN stays NaN.
#[inline(always)]
fn nearest(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if x.is_nan() { (bits >> 16) | 0x40 } else { rounded }
}

/// As f32.
#[inline(always)]
pub fn wide(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

/// Adds the nearest of every value behind those that are there.
pub fn narrow(x: &[f32], rows: &mut Vec<bf16>) {
    let start = rows.len();
    rows.resize(start + x.len(), bf16::ZERO);
    narrow_into(x, &mut rows[start..]);
}

simd! {
fn narrow_into(x: &[f32], narrow: &mut [bf16]) {
    for (narrow, x) in narrow.iter_mut().zip(x) {
        *narrow = bf16::from_bits(nearest(*x) as u16);
    }
}
}

simd! {
/// Neighbours in pairs, the first of each in the low half; an odd last one with 0.
pub fn pair(x: &[f32], pairs: &mut [u32]) {
    let (twos, last) = x.as_chunks::<2>();
    for (pair, two) in pairs.iter_mut().zip(twos) {
        *pair = nearest(two[0]) | nearest(two[1]) << 16;
    }
    if let ([last], Some(pair)) = (last, pairs.get_mut(twos.len())) {
        *pair = nearest(*last);
    }
}
}

/// The nearest bf16, and that of what is left; nothing is left of what isn't finite.
#[inline(always)]
fn halves(x: f32) -> [u32; 2] {
    let high = nearest(x);
    let left = x - f32::from_bits(high << 16);
    [high, if left.is_finite() { nearest(left) } else { 0 }]
}

simd! {
/// Both halves of every value, each as [`pair`] has it.
pub fn pair_halves(x: &[f32], high: &mut [u32], low: &mut [u32]) {
    let (twos, last) = x.as_chunks::<2>();
    for (two, (high, low)) in twos.iter().zip(high.iter_mut().zip(low.iter_mut())) {
        let [first, second] = two.map(halves);
        *high = first[0] | second[0] << 16;
        *low = first[1] | second[1] << 16;
    }
    let at = twos.len();
    if let ([last], Some(high), Some(low)) = (last, high.get_mut(at), low.get_mut(at)) {
        [*high, *low] = halves(*last);
    }
}
}

simd! {
/// Both halves of lines of COLS values, coupled to pairs; an odd last one with 0.
pub fn couple_halves(lines: &[f32], high: &mut [u32], low: &mut [u32]) {
    let pairs = high.chunks_exact_mut(COLS).zip(low.chunks_exact_mut(COLS));
    for (lines, (high, low)) in lines.chunks(2 * COLS).zip(pairs) {
        let (first, second) = lines.split_at(COLS);
        let second = if second.is_empty() { &[0.0; COLS] } else { second };
        let both = first.iter().zip(second);
        for ((high, low), (first, second)) in high.iter_mut().zip(low).zip(both) {
            let (first, second) = (halves(*first), halves(*second));
            *high = first[0] | second[0] << 16;
            *low = first[1] | second[1] << 16;
        }
    }
}
}

simd! {
/// Every value to the nearest bf16.
pub fn round_here(x: &mut [f32]) {
    for x in x {
        *x = f32::from_bits(nearest(*x) << 16);
    }
}
}

simd! {
/// Pairs of one value of each row.
pub fn couple(first: &[f32], second: &[f32], pairs: &mut [u32]) {
    for (pair, (first, second)) in pairs.iter_mut().zip(first.iter().zip(second)) {
        *pair = nearest(*first) | nearest(*second) << 16;
    }
}
}

simd! {
/// Pairs of one value of each row.
pub fn interleave(first: &[bf16], second: &[bf16], pairs: &mut [u32]) {
    for (pair, (first, second)) in pairs.iter_mut().zip(first.iter().zip(second)) {
        *pair = u32::from(first.to_bits()) | u32::from(second.to_bits()) << 16;
    }
}
}

simd! {
pub fn widen(values: &[bf16], wide: &mut [f32]) {
    for (wide, value) in wide.iter_mut().zip(values) {
        *wide = f32::from_bits(u32::from(value.to_bits()) << 16);
    }
}
}

/// Lines of pairs as two lines each; an odd last one is the first of its pairs.
pub fn widen_pairs<const WIDTH: usize>(pairs: &[u32], wide: &mut [f32]) {
    let (pairs, _) = pairs.as_chunks::<WIDTH>();
    for (pairs, lines) in pairs.iter().zip(wide.chunks_mut(2 * WIDTH)) {
        let (first, second) = lines.split_at_mut(WIDTH);
        split(pairs, first, second);
    }
}

simd! {
fn split(pairs: &[u32], first: &mut [f32], second: &mut [f32]) {
    for (first, pair) in first.iter_mut().zip(pairs) {
        *first = f32::from_bits(pair << 16);
    }
    for (second, pair) in second.iter_mut().zip(pairs) {
        *second = f32::from_bits(pair & 0xffff_0000);
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_the_half_crate() {
        let mut values: Vec<f32> = (0..4000).map(|i| (i as f32 * 0.731).sin() * 1e3).collect();
        values.extend([
            0.0,
            -0.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            1.0 + 1.0 / 256.0,
            1.0 + 3.0 / 256.0,
            f32::MAX,
        ]);
        let mut pairs = vec![0; values.len().div_ceil(2)];
        pair(&values, &mut pairs);
        let mut rounded = values.clone();
        round_here(&mut rounded);
        for (i, value) in values.iter().enumerate() {
            let exact = bf16::from_f32(*value);
            assert_eq!(pairs[i / 2] >> (16 * (i % 2)) & 0xffff, u32::from(exact.to_bits()));
            assert_eq!(rounded[i], exact.to_f32());
        }
        let mut nan = [f32::NAN];
        round_here(&mut nan);
        assert!(nan[0].is_nan());
    }
}
