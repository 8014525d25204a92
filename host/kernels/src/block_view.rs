//! A weight in blocks as the right side of a product: widened strip by strip while it is packed.

use std::cell::RefCell;

use super::bfloat;
use super::blocks::{BlockFormat, UNIT};
use super::operands::COLS;
use super::pack::gather;
use super::packed_lhs::Format;
use super::view::Mat;

// The columns of a panel are a unit of a line.
const _: () = assert!(COLS == UNIT);

/// Values of a line that are widened at a time: those of a panel's lines stay in the first-level cache.
const STRIP: usize = 8 * UNIT;

/// Some lines [out, in] in blocks.
#[derive(Clone, Copy)]
pub struct Blocks<'a> {
    /// How they are stored.
    pub format: BlockFormat,
    /// Line by line.
    pub bytes: &'a [u8],
    /// What they are widened to: in bf16 their values are rounded to it.
    pub wide: Format,
}

impl<'a> Blocks<'a> {
    /// Number of values.
    pub(super) fn len(self) -> usize {
        self.bytes.len() / self.format.bytes() * self.format.values()
    }

    /// Lines of `input` values.
    pub fn lines(self, lines: std::ops::Range<usize>, input: usize) -> Self {
        let line = self.format.size(input);
        Self { bytes: &self.bytes[lines.start * line..lines.end * line], ..self }
    }

    /// All values.
    pub fn floats(self, values: &mut [f32]) {
        self.widen(self.bytes, 0, values);
    }

    fn widen(self, line: &[u8], first: usize, values: &mut [f32]) {
        self.format.widen(line, first, values);
        if self.wide == Format::Bf16 {
            bfloat::round_here(values);
        }
    }
}

/// A view [depth, columns] of lines of `input` values, or of their transpose.
#[derive(Clone, Copy)]
pub struct BlockView<'a> {
    blocks: Blocks<'a>,
    input: usize,
    /// The depth runs along the lines.
    along: bool,
}

thread_local! {
    static STRIPS: RefCell<(Vec<f32>, Vec<u32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

impl<'a> BlockView<'a> {
    /// The lines as they lie.
    pub fn lines(blocks: Blocks<'a>, input: usize) -> Self {
        Self { blocks, input, along: false }
    }

    /// Transposed: columns are lines.
    pub fn transposed(blocks: Blocks<'a>, input: usize) -> Self {
        Self { blocks, input, along: true }
    }

    /// # Panics
    /// If [depth, cols] is outside the data, or a line is cut within a unit.
    pub fn check(&self, depth: usize, cols: usize) {
        let (lines, along) = if self.along { (cols, depth) } else { (depth, cols) };
        assert!(lines * self.input <= self.blocks.len(), "matrix view outside its data");
        assert!(along <= self.input && self.input.is_multiple_of(self.blocks.format.values()));
        assert!(self.along || along.is_multiple_of(UNIT));
    }

    fn line(&self, line: usize) -> &'a [u8] {
        let size = self.blocks.format.size(self.input);
        &self.blocks.bytes[line * size..(line + 1) * size]
    }

    /// As [`Right::floats`](super::right::Right::floats).
    pub fn floats(
        &self,
        (start, depth): (usize, usize),
        (side, cols): (usize, usize),
        panel: &mut [f32],
    ) {
        if !self.along {
            let (panel, _) = panel[..depth * COLS].as_chunks_mut::<COLS>();
            for (p, values) in panel.iter_mut().enumerate() {
                self.blocks.widen(self.line(start + p), side, values);
            }
            return;
        }
        self.strips((start, depth), (side, cols), |at, count, strip, width, _| {
            let panel = &mut panel[at * COLS..(at + count) * COLS];
            gather::<f32, COLS>(Mat { data: strip, row: 1, col: width }, count, cols, panel);
        });
    }

    /// As [`Right::pairs`](super::right::Right::pairs).
    pub fn pairs(
        &self,
        (start, depth): (usize, usize),
        (side, cols): (usize, usize),
        panel: &mut [u32],
    ) {
        if !self.along {
            let (panel, _) = panel.as_chunks_mut::<COLS>();
            for (p, words) in panel.iter_mut().take(depth.div_ceil(2)).enumerate() {
                let mut two = [[0f32; COLS]; 2];
                for (values, line) in two.iter_mut().zip(2 * p..depth) {
                    self.blocks.format.widen(self.line(start + line), side, values);
                }
                bfloat::couple(&two[0], &two[1], words);
            }
            return;
        }
        self.strips((start, depth), (side, cols), |at, count, strip, width, words| {
            let pairs = count.div_ceil(2);
            words.resize(cols * pairs, 0);
            for (values, words) in strip.chunks(width).zip(words.chunks_exact_mut(pairs)) {
                bfloat::pair(&values[..count], words);
            }
            let panel = &mut panel[at / 2 * COLS..(at / 2 + pairs) * COLS];
            gather::<u32, COLS>(Mat { data: words, row: 1, col: pairs }, pairs, cols, panel);
        });
    }

    /// Widens steps start..start + depth of some lines strip by strip, and hands each strip on: the step it begins
    /// with (from `start` on), its steps, its values (line by line, from that step on), how far its lines are apart,
    /// and room for words.
    fn strips(
        &self,
        (start, depth): (usize, usize),
        (side, cols): (usize, usize),
        mut take: impl FnMut(usize, usize, &[f32], usize, &mut Vec<u32>),
    ) {
        STRIPS.with_borrow_mut(|(strip, words)| {
            let end = start + depth;
            // A unit that the block begins or ends in is widened whole.
            let mut first = start / UNIT * UNIT;
            while first < end {
                let width = (end.next_multiple_of(UNIT) - first).min(STRIP);
                strip.resize(cols * width, 0.0);
                for (j, values) in strip.chunks_exact_mut(width).enumerate() {
                    self.blocks.widen(self.line(side + j), first, values);
                }
                let skipped = start.saturating_sub(first);
                let count = (end - first).min(width) - skipped;
                take(first + skipped - start, count, &strip[skipped..], width, words);
                first += width;
            }
        });
    }
}
