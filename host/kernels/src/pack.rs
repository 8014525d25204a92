//! Copies operands of a matrix product into panels the register tile reads in order.

use super::operands::ROWS;
#[cfg(target_arch = "x86_64")]
use super::simd::{Level, level};
use super::view::Mat;

/// Panels of ROWS rows, each depth x ROWS; missing rows are zero.
pub fn pack_left<T: Word>(a: Mat<T>, rows: usize, depth: usize, panels: &mut [T]) {
    let panels = panels.chunks_exact_mut(depth * ROWS);
    for (top, panel) in (0..rows).step_by(ROWS).zip(panels) {
        gather::<T, ROWS>(a.t().from(0, top), depth, ROWS.min(rows - top), panel);
    }
}

/// What a panel is made of: 32 bits, a float or a pair of bf16.
pub trait Word: Copy + Default + Send + Sync {}
impl Word for f32 {}
impl Word for u32 {}

/// panel[p * WIDTH + j] = b(p, j) for j < cols, else 0.
pub fn gather<T: Word, const WIDTH: usize>(b: Mat<T>, depth: usize, cols: usize, panel: &mut [T]) {
    let (panel, _) = panel[..depth * WIDTH].as_chunks_mut::<WIDTH>();
    if cols < WIDTH {
        panel.iter_mut().for_each(|line| line[cols..].fill(T::default()));
    }
    if b.col == 1 {
        for (p, line) in panel.iter_mut().enumerate() {
            let source = &b.data[p * b.row..p * b.row + cols];
            // A length known to the compiler makes the copy a few moves.
            match source.first_chunk::<WIDTH>() {
                Some(source) => *line = *source,
                None => line[..cols].copy_from_slice(source),
            }
        }
        return;
    }
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if b.row == 1 && level() != Level::Portable {
        // Eight source rows at a time, transposed in registers.
        while done + 8 <= cols {
            // SAFETY: AVX was detected; a word has 32 bits; the views were checked by
            // the caller.
            unsafe { transpose_eight(b, depth, done, panel) };
            done += 8;
        }
    }
    for j in done..cols {
        for (p, line) in panel.iter_mut().enumerate() {
            line[j] = b.data[p * b.row + j * b.col];
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
fn transpose_eight<T: Word, const WIDTH: usize>(
    b: Mat<T>,
    depth: usize,
    first: usize,
    panel: &mut [[T; WIDTH]],
) {
    use std::arch::x86_64::*;
    let sources: [&[T]; 8] = std::array::from_fn(|j| {
        let start = (first + j) * b.col;
        &b.data[start..start + depth]
    });
    let whole = depth - depth % 8;
    for p in (0..whole).step_by(8) {
        let mut rows = [_mm256_setzero_ps(); 8];
        for (row, source) in rows.iter_mut().zip(&sources) {
            // SAFETY: p + 8 <= depth, the length of every source.
            *row = unsafe { _mm256_loadu_ps(source.as_ptr().add(p).cast()) };
        }
        let mut pairs = rows;
        for i in (0..8).step_by(2) {
            pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
            pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
        }
        let mut quads = pairs;
        for base in [0, 4] {
            for i in [0, 1] {
                let (x, y) = (pairs[base + i], pairs[base + 2 + i]);
                quads[base + 2 * i] = _mm256_shuffle_ps::<0x44>(x, y);
                quads[base + 2 * i + 1] = _mm256_shuffle_ps::<0xee>(x, y);
            }
        }
        for i in 0..4 {
            let low = _mm256_permute2f128_ps::<0x20>(quads[i], quads[i + 4]);
            let high = _mm256_permute2f128_ps::<0x31>(quads[i], quads[i + 4]);
            for (line, values) in [(p + i, low), (p + 4 + i, high)] {
                let target = &mut panel[line][first..first + 8];
                // SAFETY: the target holds eight words.
                unsafe { _mm256_storeu_ps(target.as_mut_ptr().cast(), values) };
            }
        }
    }
    for (p, line) in panel.iter_mut().enumerate().skip(whole) {
        for (j, source) in sources.iter().enumerate() {
            line[first + j] = source[p];
        }
    }
}
