//! The left side of products with frozen weights: rows packed for the register tile,
//! once for all columns.

use rayon::prelude::*;

use super::bfloat;
use super::operands::ROWS;
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

/// Panels of ROWS rows, each depth x ROWS floats or depth / 2 x ROWS pairs.
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
}

impl PackedLhs {
    /// Room for rows of a depth, with what was there before in it.
    pub fn shape(&mut self, format: Format, rows: usize, depth: usize) -> &mut Self {
        let panels = rows.div_ceil(ROWS) * ROWS;
        let floats = |values: Vec<f32>| room(values, panels * depth, 0.0);
        let old = std::mem::take(&mut self.panels);
        self.panels = match (format, old) {
            (Format::F32, Panels::F32(values) | Panels::Rounded(values)) => {
                Panels::F32(floats(values))
            }
            (Format::F32, Panels::Pairs(_)) => Panels::F32(floats(Vec::new())),
            (Format::Bf16, old) if bfloat::multiplies_pairs() => {
                let words = match old {
                    Panels::Pairs(words) => words,
                    _ => Vec::new(),
                };
                Panels::Pairs(room(words, panels * depth.div_ceil(2), 0))
            }
            (Format::Bf16, Panels::F32(values) | Panels::Rounded(values)) => {
                Panels::Rounded(floats(values))
            }
            (Format::Bf16, Panels::Pairs(_)) => Panels::Rounded(floats(Vec::new())),
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
        let pairs = format == Format::Bf16 && bfloat::multiplies_pairs();
        rows.next_multiple_of(ROWS) * if pairs { depth.div_ceil(2) } else { depth }
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
            Panels::Pairs(words) => Chunks::Pairs(words[..all * pairs].chunks_mut(rows * pairs)),
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
        }
    }

    /// Whether the panels hold pairs of bf16 and not floats.
    pub fn is_pairs(&self) -> bool {
        matches!(self.panels, Panels::Pairs(_))
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
    Pairs(std::slice::ChunksMut<'a, u32>),
}

impl<'a> Blocks<'a> {
    /// The next block; one without room when all were given.
    pub fn next_block(&mut self) -> Block<'a> {
        let panels = match &mut self.chunks {
            Chunks::F32(chunks, rounded) => {
                BlockPanels::F32(chunks.next().unwrap_or_default(), *rounded)
            }
            Chunks::Pairs(chunks) => BlockPanels::Pairs(chunks.next().unwrap_or_default()),
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
    F32(&'a mut [f32], bool),
    Pairs(&'a mut [u32]),
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
                let mut rounded = vec![0f32; rows * depth];
                for (row, rounded) in rounded.chunks_exact_mut(depth).enumerate() {
                    bfloat::round(&x[row * stride..row * stride + depth], rounded);
                }
                pack_left(Mat::rows(&rounded, depth), rows, depth, panels);
            }
            BlockPanels::Pairs(panels) => {
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
