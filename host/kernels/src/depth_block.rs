//! A block of the depth of a product: its right sides packed for some columns, and the operands
//! that the register tile takes from it.

use std::ops::Range;

use smallvec::SmallVec;

use super::operands::{COLS, Operands, ROWS};
use super::pack::Word;
use super::packed_lhs::{PackedLhs, Panel};
use super::right::Right;
use super::tile::Tile;
use super::view::{Accumulate, Mat};

/// One product of a sum.
#[derive(Clone, Copy)]
pub enum Summand<'a> {
    /// Packed rows times a matrix of their format.
    Packed(&'a PackedLhs, Right<'a>),
    /// So many of the packed rows, from the first of a panel on, times a matrix of their format.
    Panels(&'a PackedLhs, PackedRows, Right<'a>),
    /// Rows of `depth` values as they lie, times a matrix in f32.
    Rows(&'a [f32], usize, Mat<'a>),
}

/// Some of the rows of a packed left side.
#[derive(Debug, Clone, Copy)]
pub struct PackedRows {
    /// The panel that the first of them begins.
    pub panel: usize,
    /// How many.
    pub count: usize,
}

impl PackedRows {
    /// Rows of a panel.
    pub const PANEL: usize = ROWS;
}

impl Summand<'_> {
    /// Terms in the sum of an element: columns of the left side.
    pub fn depth(&self) -> usize {
        match self {
            Self::Packed(left, _) | Self::Panels(left, ..) => left.depth,
            Self::Rows(_, depth, _) => *depth,
        }
    }
}

/// Depth at most: three panels of it stay in the second-level cache, a tile's rows in the first.
/// Sums begin and end with a block, so it can depend on nothing else.
pub(super) const DEPTH: usize = 1024;
/// Operands at most.
const OPERANDS: usize = 8;

/// Where the packed right sides of a block lie, and what they are multiplied with.
#[derive(Clone, Copy)]
struct Part {
    summand: usize,
    start: usize,
    depth: usize,
    /// In the floats, or in the words for pairs.
    at: usize,
    /// Of the part in a panel.
    size: usize,
}

/// Some depth of the right sides of some columns, as panels.
#[derive(Default)]
pub(super) struct DepthBlock {
    floats: Packed<f32>,
    words: Packed<u32>,
    parts: Vec<Part>,
}

/// Values that stay when a block is done, so that no block clears what it will write.
#[derive(Default)]
struct Packed<T> {
    values: Vec<T>,
    used: usize,
}

impl<T: Word> Packed<T> {
    /// The next `count` values, whatever they hold, and where they begin.
    fn take(&mut self, count: usize) -> (usize, &mut [T]) {
        let at = self.used;
        self.used += count;
        if self.values.len() < self.used {
            self.values.resize(self.used, T::default());
        }
        (at, &mut self.values[at..self.used])
    }
}

impl DepthBlock {
    /// Packs the next block for some columns, from step `start` of a summand on; says where it ends.
    pub fn pack(
        &mut self,
        summands: &[Summand],
        (mut summand, mut start): (usize, usize),
        cols: &Range<usize>,
    ) -> (usize, usize) {
        self.floats.used = 0;
        self.words.used = 0;
        self.parts.clear();
        let mut room = DEPTH;
        while room > 0 && summand < summands.len() && self.parts.len() < OPERANDS {
            let rest = summands[summand].depth() - start;
            // A cut is at an even place, between pairs.
            let depth = if rest <= room { rest } else { room & !1 };
            if depth == 0 {
                break;
            }
            self.pack_part(summands, summand, (start, depth), cols);
            room -= depth;
            start += depth;
            if start == summands[summand].depth() {
                (summand, start) = (summand + 1, 0);
            }
        }
        (summand, start)
    }

    /// Computes the tile of `rows` rows from `top` on with the panel of an index.
    ///
    /// # Safety
    /// c points at the tile, which is in bounds and which nothing else uses.
    pub unsafe fn run(
        &self,
        summands: &[Summand],
        into: Accumulate,
        tile: &Tile,
        (top, index): (usize, usize),
        c: *mut f32,
    ) {
        let parts = self.parts.iter();
        let operands: SmallVec<[Operands; OPERANDS]> =
            parts.map(|part| self.operands(summands, part, index, top, tile.rows)).collect();
        // SAFETY: as the caller promises.
        unsafe { tile.run(into, &operands, c) };
    }

    /// Packs one part of a block, panel by panel.
    fn pack_part(
        &mut self,
        summands: &[Summand],
        summand: usize,
        (start, depth): (usize, usize),
        cols: &Range<usize>,
    ) {
        let (right, pairs) = match summands[summand] {
            Summand::Packed(left, right) | Summand::Panels(left, _, right) => {
                (right, left.is_pairs())
            }
            Summand::Rows(_, _, right) => (Right::F32(right), false),
        };
        let panels = cols.len().div_ceil(COLS);
        let sides = cols.clone().step_by(COLS);
        let sides = sides.map(|side| (side, COLS.min(cols.end - side)));
        let size = if pairs { depth.div_ceil(2) } else { depth } * COLS;
        let at = if pairs {
            let (at, values) = self.words.take(panels * size);
            for (panel, side) in values.chunks_exact_mut(size).zip(sides) {
                right.pairs((start, depth), side, panel);
            }
            at
        } else {
            let (at, values) = self.floats.take(panels * size);
            for (panel, side) in values.chunks_exact_mut(size).zip(sides) {
                right.floats((start, depth), side, panel);
            }
            at
        };
        self.parts.push(Part { summand, start, depth, at, size });
    }

    /// What a tile multiplies of a part, with the panel of that index.
    fn operands<'a>(
        &'a self,
        summands: &'a [Summand],
        part: &Part,
        index: usize,
        top: usize,
        rows: usize,
    ) -> Operands<'a> {
        let &Part { start, depth, size, .. } = part;
        let at = part.at + index * size;
        let (left, first) = match summands[part.summand] {
            Summand::Packed(left, _) => (left, 0),
            Summand::Panels(left, rows, _) => (left, rows.panel),
            Summand::Rows(left, stride, _) => {
                let left = &left[top * stride..(top + rows) * stride];
                let right = &self.floats.values[at..at + size];
                return Operands::rows(left, stride, start, right, COLS);
            }
        };
        match left.panel(first + top / ROWS) {
            Panel::F32(panel) => Operands::packed(
                &panel[start * ROWS..(start + depth) * ROWS],
                &self.floats.values[at..at + size],
            ),
            Panel::Pairs(panel) => {
                let (start, depth) = (start / 2, depth.div_ceil(2));
                Operands::pairs(
                    &panel[start * ROWS..(start + depth) * ROWS],
                    &self.words.values[at..at + size],
                )
            }
        }
    }
}
