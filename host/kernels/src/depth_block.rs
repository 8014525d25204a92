//! A block of the depth of a product: its right sides packed for some columns, and the operands
//! that the register tile takes from it.

use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use super::bfloat;
use super::operands::{COLS, Operands, ROWS, SIDE};
use super::pack::Word;
use super::packed_lhs::{PackedLhs, Panel, RightPanel};
use super::right::Right;
use super::tall::{Sums, TallOperands};
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

    /// Whether it is computed in tall tiles.
    pub(super) fn is_tall(&self) -> bool {
        match self {
            Self::Packed(left, _) | Self::Panels(left, ..) => left.is_tall(),
            Self::Rows(..) => false,
        }
    }
}

/// Depth at most: three panels of it stay in the second-level cache, a tile's rows in the first.
/// Sums begin and end with a block, so it can depend on nothing else.
pub(super) const DEPTH: usize = 1024;
/// Depth of a step of matrix registers, in which the others can be cut as well.
const STEP: usize = 2 * SIDE;
const _: () = assert!(DEPTH.is_multiple_of(STEP));
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
            // A cut is between pairs, and between steps of matrix registers.
            let depth = if rest <= room { rest } else { room / STEP * STEP };
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

    /// Computes the tile of `rows` rows from `top` on with the panel of an index, of what isn't multiplied in
    /// tall tiles.
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
        let parts = self.parts.iter().filter(|part| !summands[part.summand].is_tall());
        let operands: SmallVec<[Operands; OPERANDS]> =
            parts.map(|part| self.operands(summands, part, index, top, tile.rows)).collect();
        // SAFETY: as the caller promises.
        unsafe { tile.run(into, &operands, c) };
    }

    /// The same of up to TALL rows: what is multiplied in tall tiles, and then the rest in low ones.
    ///
    /// # Safety
    /// As of `run`.
    pub unsafe fn run_tall(
        &self,
        summands: &[Summand],
        into: Accumulate,
        tile: &Tile,
        (top, index): (usize, usize),
        c: *mut f32,
    ) {
        let mut sums = Sums::zero();
        let (tall, low): (SmallVec<[&Part; OPERANDS]>, SmallVec<[&Part; OPERANDS]>) =
            self.parts.iter().partition(|part| summands[part.summand].is_tall());
        for part in tall {
            for operands in self.tall(summands, part, index, top) {
                operands.add(tile.rows, &mut sums);
            }
        }
        if !low.is_empty() {
            for first in (0..tile.rows).step_by(ROWS) {
                let low = Tile { rows: ROWS.min(tile.rows - first), cols: COLS, stride: COLS };
                // SAFETY: the sums have room for the rows from the first on.
                unsafe {
                    let c = sums.low(first);
                    self.run(summands, Accumulate::Add, &low, (top + first, index), c);
                }
            }
        }
        // SAFETY: as the caller promises.
        unsafe { sums.store(into, (tile.rows, tile.cols), c, tile.stride) };
    }

    /// Packs one part of a block, panel by panel.
    fn pack_part(
        &mut self,
        summands: &[Summand],
        summand: usize,
        (start, depth): (usize, usize),
        cols: &Range<usize>,
    ) {
        let (right, packed) = match summands[summand] {
            Summand::Packed(left, right) | Summand::Panels(left, _, right) => (right, left.right()),
            Summand::Rows(_, _, right) => (Right::F32(right), RightPanel::Floats),
        };
        let panels = cols.len().div_ceil(COLS);
        let sides = cols.clone().step_by(COLS);
        let sides = sides.map(|side| (side, COLS.min(cols.end - side)));
        let (at, size) = match packed {
            RightPanel::Floats => {
                let size = depth * COLS;
                let (at, values) = self.floats.take(panels * size);
                for (panel, side) in values.chunks_exact_mut(size).zip(sides) {
                    right.floats((start, depth), side, panel);
                }
                (at, size)
            }
            RightPanel::Pairs(lines) => {
                let pairs = depth.div_ceil(2);
                let size = pairs.next_multiple_of(lines) * COLS;
                let (at, values) = self.words.take(panels * size);
                for (panel, side) in values.chunks_exact_mut(size).zip(sides) {
                    let (panel, rest) = panel.split_at_mut(pairs * COLS);
                    right.pairs((start, depth), side, panel);
                    rest.fill(0);
                }
                (at, size)
            }
            RightPanel::Halves => {
                let pairs = depth.div_ceil(2);
                let half = pairs.next_multiple_of(SIDE) * COLS;
                let (at, words) = self.words.take(panels * 2 * half);
                let (_, lines) = self.floats.take(depth * COLS);
                for (panel, side) in words.chunks_exact_mut(2 * half).zip(sides) {
                    right.floats((start, depth), side, lines);
                    let (high, low) = panel.split_at_mut(half);
                    bfloat::couple_halves(lines, high, low);
                    high[pairs * COLS..].fill(0);
                    low[pairs * COLS..].fill(0);
                }
                (at, 2 * half)
            }
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
            Panel::Tall(..) => unreachable!("tall parts are multiplied in tall tiles"),
        }
    }

    /// What a tall tile multiplies of a part: all of it, or of halves those that count, small ones first.
    fn tall<'a>(
        &'a self,
        summands: &'a [Summand],
        part: &Part,
        index: usize,
        top: usize,
    ) -> SmallVec<[TallOperands<'a>; 3]> {
        let (left, first) = match summands[part.summand] {
            Summand::Packed(left, _) => (left, 0),
            Summand::Panels(left, rows, _) => (left, rows.panel),
            Summand::Rows(..) => unreachable!("rows as they lie are multiplied in low tiles"),
        };
        let Panel::Tall(rows, row) = left.panel(first + top / ROWS) else {
            unreachable!("the part is a tall one");
        };
        let at = part.at + index * part.size;
        let right = &self.words.values[at..at + part.size];
        let left = &rows[part.start / 2..];
        let operands = |left, right| TallOperands::new(left, row.stride(), right);
        match row.low() {
            None => smallvec![operands(left, right)],
            Some(low) => {
                let (upper, lower) = right.split_at(part.size / 2);
                let products = [(&left[low..], upper), (left, lower), (left, upper)];
                products.into_iter().map(|(left, right)| operands(left, right)).collect()
            }
        }
    }
}
