//! A round of a product: some depth of its right sides, packed for some columns, and what
//! the register tile multiplies of it.

use std::ops::Range;

use smallvec::SmallVec;

use super::kernel::{COLS, Piece, ROWS, Tile};
use super::left::Panel;
use super::matmul::Into;
use super::pack::Word;
use super::product::Term;
use super::right::Right;

/// Depth at most: three panels of it stay in the second-level cache, a tile's rows in the first.
/// Sums begin and end with a round, so it can depend on nothing else.
pub(super) const DEPTH: usize = 1024;
/// Pieces at most.
const PIECES: usize = 8;

/// Where the packed right sides of a round lie, and what they are multiplied with.
#[derive(Clone, Copy)]
struct Part {
    term: usize,
    start: usize,
    depth: usize,
    /// In the floats, or in the words for pairs.
    at: usize,
    /// Of the part in a panel.
    size: usize,
}

/// Some depth of the right sides of some columns, as panels.
#[derive(Default)]
pub(super) struct Round {
    floats: Packed<f32>,
    words: Packed<u32>,
    parts: Vec<Part>,
}

/// Values that stay when a round is over, so that no round clears what it will write.
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

impl Round {
    /// Packs the next round for some columns, from step `start` of a term on; says where it ends.
    pub fn pack(
        &mut self,
        terms: &[Term],
        (mut term, mut start): (usize, usize),
        cols: &Range<usize>,
    ) -> (usize, usize) {
        self.floats.used = 0;
        self.words.used = 0;
        self.parts.clear();
        let mut room = DEPTH;
        while room > 0 && term < terms.len() && self.parts.len() < PIECES {
            let rest = terms[term].depth() - start;
            // A cut is at an even place, between pairs.
            let depth = if rest <= room { rest } else { room & !1 };
            if depth == 0 {
                break;
            }
            self.pack_part(terms, term, (start, depth), cols);
            room -= depth;
            start += depth;
            if start == terms[term].depth() {
                (term, start) = (term + 1, 0);
            }
        }
        (term, start)
    }

    /// Computes the tile of `rows` rows from `top` on with the panel of an index.
    ///
    /// # Safety
    /// c points at the tile, which is in bounds and which nothing else uses.
    pub unsafe fn run(
        &self,
        terms: &[Term],
        into: Into,
        tile: &Tile,
        (top, index): (usize, usize),
        c: *mut f32,
    ) {
        let parts = self.parts.iter();
        let pieces: SmallVec<[Piece; PIECES]> =
            parts.map(|part| self.piece(terms, part, index, top, tile.rows)).collect();
        // SAFETY: as the caller promises.
        unsafe { tile.run(into, &pieces, c) };
    }

    /// Packs one part of a round, panel by panel.
    fn pack_part(
        &mut self,
        terms: &[Term],
        term: usize,
        (start, depth): (usize, usize),
        cols: &Range<usize>,
    ) {
        let (right, pairs) = match terms[term] {
            Term::Packed(left, right) => (right, left.is_pairs()),
            Term::Rows(_, _, right) => (Right::F32(right), false),
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
        self.parts.push(Part { term, start, depth, at, size });
    }

    /// What a tile multiplies of a part, with the panel of that index.
    fn piece<'a>(
        &'a self,
        terms: &'a [Term],
        part: &Part,
        index: usize,
        top: usize,
        rows: usize,
    ) -> Piece<'a> {
        let &Part { start, depth, size, .. } = part;
        let at = part.at + index * size;
        match terms[part.term] {
            Term::Packed(left, _) => match left.panel(top / ROWS) {
                Panel::F32(panel) => Piece::packed(
                    &panel[start * ROWS..(start + depth) * ROWS],
                    &self.floats.values[at..at + size],
                ),
                Panel::Pairs(panel) => {
                    let (start, depth) = (start / 2, depth.div_ceil(2));
                    Piece::pairs(
                        &panel[start * ROWS..(start + depth) * ROWS],
                        &self.words.values[at..at + size],
                    )
                }
            },
            Term::Rows(left, stride, _) => {
                let left = &left[top * stride..(top + rows) * stride];
                let right = &self.floats.values[at..at + size];
                Piece::rows(left, stride, start, right, COLS)
            }
        }
    }
}
