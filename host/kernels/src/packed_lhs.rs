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
    /// Rows of pairs, `tall_row` words each.
    Tall(Vec<u32>),
}

/// Words of a row of this depth: whole steps, with zeros at the end, and an odd number of them, so that sixteen
/// rows don't lie in the same lines of a cache.
fn tall_row(depth: usize) -> usize {
    (depth.div_ceil(2).div_ceil(SIDE) | 1) * SIDE
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
    /// Rows of so many pairs of bf16, from the panel's first to the last that there is room for.
    Tall(&'a [u32], usize),
}

/// What the right side is packed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RightPanel {
    /// depth x COLS floats.
    Floats,
    /// Pairs, in lines of COLS of them; a whole multiple of so many lines, with zeros at the end.
    Pairs(usize),
}

impl PackedLhs {
    /// Room for rows of a depth, with what was there before in it.
    pub fn shape(&mut self, format: Format, rows: usize, depth: usize) -> &mut Self {
        let multiplied = match format {
            Format::F32 => None,
            Format::Bf16 => Some(bfloat::multiplied()),
        };
        self.shape_to(multiplied, rows, depth)
    }

    /// For bf16 that is multiplied so, or for f32.
    pub(super) fn shape_to(
        &mut self,
        multiplied: Option<Multiplied>,
        rows: usize,
        depth: usize,
    ) -> &mut Self {
        let (floats, words) = match std::mem::take(&mut self.panels) {
            Panels::F32(values) | Panels::Rounded(values) => (values, Vec::new()),
            Panels::Pairs(words) | Panels::Tall(words) => (Vec::new(), words),
        };
        let count = size(multiplied, rows, depth);
        self.panels = match multiplied {
            None => Panels::F32(room(floats, count, 0.0)),
            Some(Multiplied::Floats) => Panels::Rounded(room(floats, count, 0.0)),
            Some(Multiplied::Pairs) => Panels::Pairs(room(words, count, 0)),
            Some(Multiplied::Tall) => Panels::Tall(room(words, count, 0)),
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
        size((format == Format::Bf16).then(bfloat::multiplied), rows, depth)
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
                Chunks::Pairs(words[..all * pairs].chunks_mut(rows * pairs), false)
            }
            Panels::Tall(words) => {
                let row = tall_row(depth);
                Chunks::Pairs(words[..all * row].chunks_mut(rows * row), true)
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
            Panels::Tall(words) => {
                let row = tall_row(self.depth);
                Panel::Tall(&words[index * ROWS * row..], row)
            }
        }
    }

    /// What the right side has to be.
    pub fn right(&self) -> RightPanel {
        match self.panels {
            Panels::F32(_) | Panels::Rounded(_) => RightPanel::Floats,
            Panels::Pairs(_) => RightPanel::Pairs(1),
            Panels::Tall(_) => RightPanel::Pairs(SIDE),
        }
    }

    /// Whether they are multiplied in tall tiles.
    pub fn is_tall(&self) -> bool {
        matches!(self.panels, Panels::Tall(_))
    }
}

/// Values or words of panels.
fn size(multiplied: Option<Multiplied>, rows: usize, depth: usize) -> usize {
    let rows = rows.next_multiple_of(ROWS);
    match multiplied {
        None | Some(Multiplied::Floats) => rows * depth,
        Some(Multiplied::Pairs) => rows * depth.div_ceil(2),
        // A tile may begin at the last panel.
        Some(Multiplied::Tall) => (rows + TALL) * tall_row(depth),
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
    Pairs(std::slice::ChunksMut<'a, u32>, bool),
}

impl<'a> Blocks<'a> {
    /// The next block; one without room when all were given.
    pub fn next_block(&mut self) -> Block<'a> {
        let panels = match &mut self.chunks {
            Chunks::F32(chunks, rounded) => {
                BlockPanels::F32(chunks.next().unwrap_or_default(), *rounded)
            }
            Chunks::Pairs(chunks, tall) => {
                BlockPanels::Pairs(chunks.next().unwrap_or_default(), *tall)
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
    /// In rows or not.
    Pairs(&'a mut [u32], bool),
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
            BlockPanels::Pairs(panels, true) => {
                let width = depth.div_ceil(2);
                let lines = panels.chunks_exact_mut(tall_row(depth)).take(rows);
                for (row, line) in lines.enumerate() {
                    let (words, rest) = line.split_at_mut(width);
                    bfloat::pair(&x[row * stride..row * stride + depth], words);
                    rest.fill(0);
                }
            }
            BlockPanels::Pairs(panels, false) => {
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
