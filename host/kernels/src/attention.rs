//! Causal attention of one head over one sequence, or over its end, in blocks of query rows.
//! Only ln sum exp is kept; probabilities are computed again in the backward
//! pass (Dao et al. 2022, arXiv 2205.14135).

use super::exponent::exp;
use super::matmul::matmul;
use super::simd::sum_pairs;
use super::softmax;
use super::view::{Accumulate, Mat};

/// Query rows per block.
const BLOCK: usize = 64;

/// One head of one sequence: views of `size` columns.
///
/// A query has the same bits whatever `first` is: blocks lie at multiples of their size in the sequence.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// Queries [length - first, size]; row t is token first + t.
    pub q: Mat<'a>,
    /// Keys [length, size]; row t is token t.
    pub k: Mat<'a>,
    /// Values [length, size].
    pub v: Mat<'a>,
    /// The first token that asks.
    pub first: usize,
    /// Tokens of the sequence.
    pub length: usize,
    /// Values of a row: the head dimension.
    pub size: usize,
    /// Keys a query sees, itself included.
    pub window: Option<usize>,
    /// What becomes of a product of query and key.
    pub scores: Scores,
}

/// How products of queries and keys become scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// Factor on every product.
    pub scale: f32,
    /// Scores c of a cap C are C tanh(c / C) (Gemma 2, arXiv 2408.00118).
    pub cap: Option<f32>,
}

impl Scores {
    /// Replaces products by exp(score - max) and gives (max, sum).
    pub(crate) fn exponentiate(self, row: &mut [f32]) -> (f32, f32) {
        match self.cap {
            None => softmax::exponentiate(row, self.scale),
            Some(cap) => {
                softmax::soft_cap(row, self.scale, cap);
                softmax::exponentiate(row, 1.0)
            }
        }
    }
}

/// The keys some query rows see.
struct Span {
    first: usize,
    end: usize,
}

impl Head<'_> {
    /// Rows of queries.
    fn queries(&self) -> usize {
        self.length - self.first
    }

    /// First token and number of tokens of every block.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (first, length) = (self.first, self.length);
        (first - first % BLOCK..length).step_by(BLOCK).map(move |block| {
            let start = block.max(first);
            (start, length.min(block + BLOCK) - start)
        })
    }

    /// The first key that a query sees.
    fn first_seen(&self, query: usize) -> usize {
        self.window.map_or(0, |window| (query + 1).saturating_sub(window))
    }

    /// Keys that a block of queries sees: from those of the token at which the block lies.
    fn span(&self, start: usize, rows: usize) -> Span {
        Span { first: self.first_seen(start - start % BLOCK), end: start + rows }
    }

    /// Columns of the score block that a query sees.
    fn visible(&self, span: &Span, query: usize) -> std::ops::Range<usize> {
        self.first_seen(query) - span.first..query + 1 - span.first
    }

    /// Attention output [length - first, size], contiguous, and ln sum exp per row.
    pub fn forward(&self) -> (Vec<f32>, Vec<f32>) {
        let mut out = vec![0f32; self.queries() * self.size];
        let mut totals = Vec::with_capacity(self.queries());
        let mut scores = Vec::new();
        for (start, rows) in self.blocks() {
            let span = self.span(start, rows);
            let width = span.end - span.first;
            self.products(start, rows, &span, &mut scores);
            let line = start - self.first;
            let out = &mut out[line * self.size..(line + rows) * self.size];
            let mut sums = [0f32; BLOCK];
            for (row, scores) in scores.chunks_exact_mut(width).enumerate() {
                let seen = self.visible(&span, start + row);
                scores[..seen.start].fill(0.0);
                scores[seen.end..].fill(0.0);
                let (highest, sum) = self.scores.exponentiate(&mut scores[seen]);
                totals.push(highest + sum.ln());
                sums[row] = sum;
            }
            let values = self.v.from(span.first, 0);
            let shape = (rows, self.size, width);
            matmul(Accumulate::Set, out, self.size, shape, Mat::rows(&scores, width), values);
            for (out, sum) in out.chunks_exact_mut(self.size).zip(sums) {
                softmax::scale(out, 1.0 / sum);
            }
        }
        (out, totals)
    }

    /// q k^T of one block, unscaled.
    fn products(&self, start: usize, rows: usize, span: &Span, scores: &mut Vec<f32>) {
        let width = span.end - span.first;
        scores.resize(rows * width, 0.0);
        let (q, k) = (self.q.from(start - self.first, 0), self.k.from(span.first, 0));
        matmul(Accumulate::Set, scores, width, (rows, width, self.size), q, k.t());
    }

    /// Gradients (dq, dk, dv), of the rows of queries and of keys, from the gradient `g` of the
    /// output, the output itself and its ln sum exp.
    pub fn backward(&self, out: Mat, totals: &[f32], g: Mat) -> Gradients {
        let of = |rows: usize| vec![0f32; rows * self.size];
        let mut found = Gradients { q: of(self.queries()), k: of(self.length), v: of(self.length) };
        let (mut scores, mut slopes) = (Vec::new(), Vec::new());
        for (start, rows) in self.blocks() {
            let span = self.span(start, rows);
            let width = span.end - span.first;
            self.products(start, rows, &span, &mut scores);
            slopes.resize(rows * width, 0.0);
            let gradient = g.from(start - self.first, 0);
            let values = self.v.from(span.first, 0).t();
            let shape = (rows, width, self.size);
            matmul(Accumulate::Set, &mut slopes, width, shape, gradient, values);
            self.score_slopes(start, &span, &mut scores, &mut slopes, out, totals, g);
            found.add(self, start, rows, &span, &scores, &slopes, gradient);
        }
        found
    }

    /// Turns scores into probabilities p and slopes (g v^T) into
    /// scale * p * (slope - g . out), under a cap times its slope.
    #[allow(clippy::too_many_arguments)]
    fn score_slopes(
        &self,
        start: usize,
        span: &Span,
        scores: &mut [f32],
        slopes: &mut [f32],
        out: Mat,
        totals: &[f32],
        g: Mat,
    ) {
        let width = span.end - span.first;
        let lines = scores.chunks_exact_mut(width).zip(slopes.chunks_exact_mut(width));
        for (row, (scores, slopes)) in lines.enumerate() {
            let query = start + row;
            let own = query - self.first;
            let line = |m: Mat| own * m.row..own * m.row + self.size;
            let pull = sum_pairs(&g.data[line(g)], &out.data[line(out)], |a, b| a * b);
            let seen = self.visible(span, query);
            for line in [&mut *scores, &mut *slopes] {
                line[..seen.start].fill(0.0);
                line[seen.end..].fill(0.0);
            }
            let (scores, slopes) = (&mut scores[seen.clone()], &mut slopes[seen]);
            let Scores { scale, cap } = self.scores;
            if let Some(cap) = cap {
                softmax::soft_cap(scores, scale, cap);
                weigh_capped(slopes, scores, pull, scale, totals[own], cap);
            } else {
                softmax::probabilities(scores, scale, totals[own]);
                weigh(slopes, scores, pull, scale);
            }
        }
    }
}

simd! {
fn weigh(slopes: &mut [f32], probabilities: &[f32], pull: f32, scale: f32) {
    for (slope, p) in slopes.iter_mut().zip(probabilities) {
        *slope = p * (*slope - pull) * scale;
    }
}
}

simd! {
/// As `weigh`; turns capped scores into probabilities on the way.
fn weigh_capped(slopes: &mut [f32], scores: &mut [f32], pull: f32, scale: f32, total: f32, cap: f32) {
    for (slope, score) in slopes.iter_mut().zip(scores) {
        let (p, part) = (exp(*score - total), *score / cap);
        *slope = p * (*slope - pull) * scale * (1.0 - part * part);
        *score = p;
    }
}
}

/// Values held by the backward pass of all heads at once, whose outputs have `mixed`
/// values: their gradients, and two blocks of scores per thread.
pub fn gradient_values(mixed: usize, longest: usize, threads: usize) -> usize {
    3 * mixed + threads * 2 * BLOCK * longest
}

/// Gradients of one head.
pub struct Gradients {
    /// Of the queries [length - first, size].
    pub q: Vec<f32>,
    /// Of the keys [length, size].
    pub k: Vec<f32>,
    /// Of the values [length, size].
    pub v: Vec<f32>,
}

impl Gradients {
    #[allow(clippy::too_many_arguments)]
    fn add(
        &mut self,
        head: &Head,
        start: usize,
        rows: usize,
        span: &Span,
        probabilities: &[f32],
        slopes: &[f32],
        g: Mat,
    ) {
        let (size, width) = (head.size, span.end - span.first);
        let slopes = Mat::rows(slopes, width);
        let probabilities = Mat::rows(probabilities, width);
        let keys = head.k.from(span.first, 0);
        let line = start - head.first;
        let queries = head.q.from(line, 0);
        let dq = &mut self.q[line * size..];
        matmul(Accumulate::Set, dq, size, (rows, size, width), slopes, keys);
        let dk = &mut self.k[span.first * size..];
        matmul(Accumulate::Add, dk, size, (width, size, rows), slopes.t(), queries);
        let dv = &mut self.v[span.first * size..];
        matmul(Accumulate::Add, dv, size, (width, size, rows), probabilities.t(), g);
    }
}
