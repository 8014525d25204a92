//! The left side of products with frozen weights: rows packed for the register tile,
//! once for all columns.

use rayon::prelude::*;

use super::bfloat::{self, Multiplied};
use super::operands::{ROWS, SIDE, TALL};
use super::pack::pack_left;
use super::view::Mat;

/// Rows of a piece of work.
const BLOCK: usize = 2 * ROWS;

/// Number format of the right side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// f32, multiplied as it is.
    F32,
    /// bf16: the left side is rounded to it, sums stay f32.
    Bf16,
}

/// Panels of ROWS rows, each depth x ROWS floats or depth / 2 x ROWS pairs, or rows of pairs.
#[derive(Default)]
pub struct PackedLhs {
    panels: Panels,
    /// Rows that were asked for.
    pub rows: usize,
    /// Values of a row.
    pub depth: usize,
}

enum Panels {
    F32(Vec<f32>),
    /// Rounded to bf16, for processors that can't multiply pairs.
    Rounded(Vec<f32>),
    Pairs(Vec<u32>),
    /// Rows of pairs.
    Tall(Vec<u32>, TallRow),
}

/// A row for matrix registers: pairs in whole steps, with zeros at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TallRow {
    /// Words of a row, or of each half of one.
    part: usize,
    /// Whether the lower halves of f32 lie behind the upper ones.
    halves: bool,
}

impl TallRow {
    fn new(depth: usize, halves: bool) -> Self {
        Self { part: depth.div_ceil(2).next_multiple_of(SIDE), halves }
    }

    /// Words from one to the next: an odd number of steps, so that sixteen rows don't lie in the same lines of a cache.
    pub fn stride(self) -> usize {
        let steps = self.part * (1 + usize::from(self.halves)) / SIDE;
        (steps | 1) * SIDE
    }

    /// Where the lower halves begin, if there are any.
    pub fn low(self) -> Option<usize> {
        self.halves.then_some(self.part)
    }
}

impl Default for Panels {
    fn default() -> Self {
        Self::F32(Vec::new())
    }
}

/// One panel.
#[derive(Clone, Copy)]
pub enum Panel<'a> {
    /// depth x ROWS floats.
    F32(&'a [f32]),
    /// depth / 2 x ROWS pairs of bf16.
    Pairs(&'a [u32]),
    /// Rows of pairs of bf16, from the panel's first to the last that there is room for.
    Tall(&'a [u32], TallRow),
}

/// What the right side is packed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RightPanel {
    /// depth x COLS floats.
    Floats,
    /// Pairs, in lines of COLS of them; a whole multiple of so many lines, with zeros at the end.
    Pairs(usize),
    /// Twice the pairs that a tall tile takes: of the upper halves, and behind them of the lower ones.
    Halves,
}

impl PackedLhs {
    /// Room for rows of a depth, with what was there before in it.
    pub fn shape(&mut self, format: Format, rows: usize, depth: usize) -> &mut Self {
        self.shape_to(multiplied(format), rows, depth)
    }

    /// For what is multiplied so, or for f32.
    pub(super) fn shape_to(
        &mut self,
        multiplied: Option<Multiplied>,
        rows: usize,
        depth: usize,
    ) -> &mut Self {
        let (floats, words) = match std::mem::take(&mut self.panels) {
            Panels::F32(values) | Panels::Rounded(values) => (values, Vec::new()),
            Panels::Pairs(words) | Panels::Tall(words, _) => (Vec::new(), words),
        };
        let count = size(multiplied, rows, depth);
        self.panels = match multiplied {
            None => Panels::F32(room(floats, count, 0.0)),
            Some(Multiplied::Floats) => Panels::Rounded(room(floats, count, 0.0)),
            Some(Multiplied::Pairs) => Panels::Pairs(room(words, count, 0)),
            Some(way @ (Multiplied::Tall | Multiplied::Halves)) => {
                Panels::Tall(room(words, count, 0), TallRow::new(depth, way == Multiplied::Halves))
            }
        };
        (self.rows, self.depth) = (rows, depth);
        self
    }

    /// Packs `depth` values of every row of x, which lie `stride` apart, blocks of rows split over the threads.
    pub fn pack(&mut self, format: Format, x: &[f32], (depth, stride): (usize, usize)) {
        let count = |x: &[f32]| (x.len() - depth) / stride + 1;
        let mut blocks = self.shape(format, count(x), depth).blocks(BLOCK);
        let work: Vec<_> = x.chunks(BLOCK * stride).map(|x| (x, blocks.next_block())).collect();
        work.into_par_iter().for_each(|(x, mut block)| block.pack(x, count(x), stride));
    }

    /// 32-bit values that rows of a depth take.
    pub fn values(format: Format, rows: usize, depth: usize) -> usize {
        size(multiplied(format), rows, depth)
    }

    /// The panels of `rows` rows each (a multiple of ROWS), in order, to write to.
    pub fn blocks(&mut self, rows: usize) -> Blocks<'_> {
        let depth = self.depth;
        let pairs = depth.div_ceil(2);
        let all = self.rows.next_multiple_of(ROWS);
        assert!(rows.is_multiple_of(ROWS));
        let chunks = match &mut self.panels {
            Panels::F32(values) => {
                Chunks::F32(values[..all * depth].chunks_mut(rows * depth), false)
            }
            Panels::Rounded(values) => {
                Chunks::F32(values[..all * depth].chunks_mut(rows * depth), true)
            }
            Panels::Pairs(words) => {
                Chunks::Pairs(words[..all * pairs].chunks_mut(rows * pairs), None)
            }
            Panels::Tall(words, row) => {
                let stride = row.stride();
                Chunks::Pairs(words[..all * stride].chunks_mut(rows * stride), Some(*row))
            }
        };
        Blocks { chunks, depth }
    }

    /// Panel `index`: rows from index * ROWS on.
    pub fn panel(&self, index: usize) -> Panel<'_> {
        let size = self.depth * ROWS;
        match &self.panels {
            Panels::F32(values) | Panels::Rounded(values) => {
                Panel::F32(&values[index * size..(index + 1) * size])
            }
            Panels::Pairs(words) => {
                let size = self.depth.div_ceil(2) * ROWS;
                Panel::Pairs(&words[index * size..(index + 1) * size])
            }
            Panels::Tall(words, row) => Panel::Tall(&words[index * ROWS * row.stride()..], *row),
        }
    }

    /// What the right side has to be.
    pub fn right(&self) -> RightPanel {
        match self.panels {
            Panels::F32(_) | Panels::Rounded(_) => RightPanel::Floats,
            Panels::Pairs(_) => RightPanel::Pairs(1),
            Panels::Tall(_, TallRow { halves: false, .. }) => RightPanel::Pairs(SIDE),
            Panels::Tall(_, TallRow { halves: true, .. }) => RightPanel::Halves,
        }
    }

    /// Whether they are multiplied in tall tiles.
    pub fn is_tall(&self) -> bool {
        matches!(self.panels, Panels::Tall(..))
    }
}

/// The way in which bf16 is multiplied for it; none for f32 as it is.
fn multiplied(format: Format) -> Option<Multiplied> {
    match format {
        Format::F32 => bfloat::multiplied_floats(),
        Format::Bf16 => Some(bfloat::multiplied()),
    }
}

/// Values or words of panels.
fn size(multiplied: Option<Multiplied>, rows: usize, depth: usize) -> usize {
    let rows = rows.next_multiple_of(ROWS);
    match multiplied {
        None | Some(Multiplied::Floats) => rows * depth,
        Some(Multiplied::Pairs) => rows * depth.div_ceil(2),
        // A tile may begin at the last panel.
        Some(way @ (Multiplied::Tall | Multiplied::Halves)) => {
            (rows + TALL) * TallRow::new(depth, way == Multiplied::Halves).stride()
        }
    }
}

/// Room for as many values at least; what is too small is given back first.
fn room<T: Clone>(mut values: Vec<T>, count: usize, empty: T) -> Vec<T> {
    if values.len() < count {
        values = Vec::new();
        values.resize(count, empty);
    }
    values
}

/// The panels in blocks.
pub struct Blocks<'a> {
    chunks: Chunks<'a>,
    depth: usize,
}

enum Chunks<'a> {
    F32(std::slice::ChunksMut<'a, f32>, bool),
    Pairs(std::slice::ChunksMut<'a, u32>, Option<TallRow>),
}

impl<'a> Blocks<'a> {
    /// The next block; one without room when all were given.
    pub fn next_block(&mut self) -> Block<'a> {
        let panels = match &mut self.chunks {
            Chunks::F32(chunks, rounded) => {
                BlockPanels::F32(chunks.next().unwrap_or_default(), *rounded)
            }
            Chunks::Pairs(chunks, row) => {
                BlockPanels::Pairs(chunks.next().unwrap_or_default(), *row)
            }
        };
        Block { panels, depth: self.depth }
    }
}

/// Some panels, to write to.
pub struct Block<'a> {
    panels: BlockPanels<'a>,
    depth: usize,
}

enum BlockPanels<'a> {
    /// Rounded or not.
    F32(&'a mut [f32], bool),
    /// In panels, or in such rows.
    Pairs(&'a mut [u32], Option<TallRow>),
}

impl Block<'_> {
    /// Packs `rows` rows of x, which lie `stride` apart.
    pub fn pack(&mut self, x: &[f32], rows: usize, stride: usize) {
        let depth = self.depth;
        let view = Mat::rows(x, stride);
        view.check(rows, depth);
        match &mut self.panels {
            BlockPanels::F32(panels, false) => pack_left(view, rows, depth, panels),
            BlockPanels::F32(panels, true) => {
                pack_left(view, rows, depth, panels);
                bfloat::round_here(&mut panels[..rows.next_multiple_of(ROWS) * depth]);
            }
            BlockPanels::Pairs(panels, Some(tall)) => {
                let width = depth.div_ceil(2);
                let lines = panels.chunks_exact_mut(tall.stride()).take(rows);
                for (row, line) in lines.enumerate() {
                    let x = &x[row * stride..row * stride + depth];
                    let (high, low) = line.split_at_mut(tall.part);
                    if tall.halves {
                        bfloat::pair_halves(x, high, low);
                        low[width..].fill(0);
                    } else {
                        bfloat::pair(x, high);
                    }
                    high[width..].fill(0);
                }
            }
            BlockPanels::Pairs(panels, None) => {
                let width = depth.div_ceil(2);
                let mut words = vec![0u32; rows * width];
                for (row, words) in words.chunks_exact_mut(width).enumerate() {
                    bfloat::pair(&x[row * stride..row * stride + depth], words);
                }
                pack_left(Mat::rows(&words, width), rows, width, panels);
            }
        }
    }
}
