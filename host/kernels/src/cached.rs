//! Keys and values of tokens that were read, and attention of a new token over them.

use half::bf16;

use super::attention::Scores;
use super::bfloat::{self, wide};
use super::packed_lhs::Format;
use super::simd::sum_pairs;

/// Keys and values of a sequence, rows that grow by a token, in the number format of the weights: in bf16 they take
/// half of the memory, and of the time to read them.
pub enum KeyValues {
    /// As they were computed.
    F32([Vec<f32>; 2]),
    /// Rounded to the nearest.
    Bf16([Vec<bf16>; 2]),
}

impl KeyValues {
    /// Holds these rows.
    pub fn new(format: Format, rows: [&[f32]; 2]) -> Self {
        let mut held = match format {
            Format::F32 => Self::F32(Default::default()),
            Format::Bf16 => Self::Bf16(Default::default()),
        };
        held.extend(rows);
        held
    }

    /// Adds rows of both behind those that are there.
    pub fn extend(&mut self, rows: [&[f32]; 2]) {
        match self {
            Self::F32(held) => {
                held.iter_mut().zip(rows).for_each(|(held, rows)| held.extend_from_slice(rows));
            }
            Self::Bf16(held) => {
                held.iter_mut().zip(rows).for_each(|(held, rows)| bfloat::narrow(rows, held));
            }
        }
    }

    /// Values of all keys.
    pub fn of_keys(&self) -> usize {
        match self {
            Self::F32([k, _]) => k.len(),
            Self::Bf16([k, _]) => k.len(),
        }
    }
}

/// One head: the columns from `column` on of rows of `stride` values, the first `skip` rows left out.
#[derive(Clone, Copy)]
pub struct CachedHead<'a> {
    /// Of all heads.
    pub held: &'a KeyValues,
    /// Values of a row.
    pub stride: usize,
    /// Where the head's begin.
    pub column: usize,
    /// Rows outside the window.
    pub skip: usize,
    /// What becomes of a product of query and key.
    pub scores: Scores,
}

impl CachedHead<'_> {
    /// Attention of a new query: the mixed values, as many as the query has. `row` is scratch.
    pub fn attend(&self, q: &[f32], row: &mut Vec<f32>, out: &mut [f32]) {
        let start = self.skip * self.stride + self.column;
        match self.held {
            KeyValues::F32([k, v]) => {
                attend(q, &k[start..], &v[start..], self.stride, self.scores, row, out);
            }
            KeyValues::Bf16([k, v]) => {
                attend_rounded(q, &k[start..], &v[start..], self.stride, self.scores, row, out);
            }
        }
    }
}

simd! {
fn attend(q: &[f32], k: &[f32], v: &[f32], stride: usize, scores: Scores, row: &mut Vec<f32>, out: &mut [f32]) {
    mix(q, (k, v), stride, scores, row, out, |x| x);
}
}

simd! {
fn attend_rounded(q: &[f32], k: &[bf16], v: &[bf16], stride: usize, scores: Scores, row: &mut Vec<f32>, out: &mut [f32]) {
    mix(q, (k, v), stride, scores, row, out, wide);
}
}

#[inline(always)]
fn mix<T: Copy>(
    q: &[f32],
    (k, v): (&[T], &[T]),
    stride: usize,
    scores: Scores,
    row: &mut Vec<f32>,
    out: &mut [f32],
    wide: impl Fn(T) -> f32,
) {
    row.clear();
    row.extend(k.chunks(stride).map(|key| sum_pairs(q, &key[..q.len()], |a, b| a * wide(b))));
    let (_, sum) = scores.exponentiate(row);
    out.fill(0.0);
    for (p, value) in row.iter().zip(v.chunks(stride)) {
        let probability = p / sum;
        for (out, v) in out.iter_mut().zip(value) {
            *out += probability * wide(*v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both formats against sums in f64 over the values that they hold.
    #[test]
    fn a_new_row_attends_to_what_is_held() {
        let (size, stride, rows) = (10, 23, 37);
        let values = |step: f32| -> Vec<f32> {
            (0..rows * stride).map(|i| (i as f32 * step).sin()).collect()
        };
        let (keys, contents) = (values(0.7), values(0.31));
        let q: Vec<f32> = (0..size).map(|i| (i as f32 * 1.3).cos()).collect();
        for format in [Format::F32, Format::Bf16] {
            for (cap, skip) in [(None, 0), (Some(1.5), 0), (None, 12)] {
                // A row at a time, as answers grow.
                let (first, rest) = (5 * stride, 5 * stride..);
                let mut held = KeyValues::new(format, [&keys[..first], &contents[..first]]);
                let more = keys[rest.clone()].chunks(stride).zip(contents[rest].chunks(stride));
                more.for_each(|(k, v)| held.extend([k, v]));
                assert_eq!(held.of_keys(), keys.len());
                let scores = Scores { scale: 0.4, cap };
                let head = CachedHead { held: &held, stride, column: 11, skip, scores };
                let mut out = vec![7f32; size];
                head.attend(&q, &mut vec![3.0; 4], &mut out);

                let value = |values: &[f32], row: usize, col: usize| {
                    let exact = values[row * stride + 11 + col];
                    match format {
                        Format::F32 => f64::from(exact),
                        Format::Bf16 => bf16::from_f32(exact).to_f64(),
                    }
                };
                let weights: Vec<f64> = (skip..rows)
                    .map(|row| {
                        let dot: f64 =
                            (0..size).map(|c| f64::from(q[c]) * value(&keys, row, c)).sum();
                        let score = 0.4f32 as f64 * dot;
                        cap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
                            .exp()
                    })
                    .collect();
                let sum: f64 = weights.iter().sum();
                for (col, found) in out.iter().enumerate() {
                    let mixed = |(row, weight): (usize, &f64)| weight * value(&contents, row, col);
                    let exact: f64 = (skip..).zip(&weights).map(mixed).sum::<f64>() / sum;
                    assert!((f64::from(*found) - exact).abs() < 1e-5, "{format:?} {cap:?} {skip}");
                }
            }
        }
    }
}
