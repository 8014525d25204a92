//! The right side of products: a matrix as it lies, and the packing of its columns.

use std::cell::RefCell;

use half::bf16;

use super::bfloat;
use super::block_view::BlockView;
pub use super::block_view::Blocks;
use super::operands::COLS;
use super::pack::gather;
use super::packed_lhs::Format;
use super::view::Mat;

thread_local! {
    static WORDS: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// A view [depth, columns].
#[derive(Clone, Copy)]
pub enum Right<'a> {
    /// In f32.
    F32(Mat<'a>),
    /// In bf16.
    Bf16(Mat<'a, bf16>),
    /// In blocks.
    Blocks(BlockView<'a>),
}

/// A frozen weight [out, in], row by row.
#[derive(Clone, Copy)]
pub enum Weight<'a> {
    /// In f32.
    F32(&'a [f32]),
    /// In bf16.
    Bf16(&'a [bf16]),
    /// In blocks, every line in whole ones.
    Blocks(Blocks<'a>),
}

impl<'a> Weight<'a> {
    /// Number of values.
    pub fn len(self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
            Self::Blocks(blocks) => blocks.len(),
        }
    }

    /// Whether it has no values.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Format that its left side is packed in.
    pub fn format(self) -> Format {
        match self {
            Self::F32(_) => Format::F32,
            Self::Bf16(_) => Format::Bf16,
            Self::Blocks(blocks) => blocks.wide,
        }
    }

    /// W itself, rows of `input` values from `first` on.
    pub fn right(self, input: usize, first: usize) -> Right<'a> {
        match self {
            Self::F32(values) => Right::F32(Mat::rows(&values[first * input..], input)),
            Self::Bf16(values) => Right::Bf16(Mat::rows(&values[first * input..], input)),
            Self::Blocks(blocks) => {
                let lines = first..blocks.len() / input;
                Right::Blocks(BlockView::lines(blocks.lines(lines, input), input))
            }
        }
    }

    /// W transposed.
    pub fn transposed(self, input: usize) -> Right<'a> {
        match self {
            Self::F32(values) => Right::F32(Mat::rows(values, input).t()),
            Self::Bf16(values) => Right::Bf16(Mat::rows(values, input).t()),
            Self::Blocks(blocks) => Right::Blocks(BlockView::transposed(blocks, input)),
        }
    }

    /// Rows of `input` values.
    pub fn lines(self, rows: std::ops::Range<usize>, input: usize) -> Weight<'a> {
        let span = rows.start * input..rows.end * input;
        match self {
            Self::Blocks(blocks) => Weight::Blocks(blocks.lines(rows, input)),
            Self::F32(values) => Weight::F32(&values[span]),
            Self::Bf16(values) => Weight::Bf16(&values[span]),
        }
    }

    /// As f32, in `wide` where they are not.
    pub fn floats<'b>(self, wide: &'b mut Vec<f32>) -> &'b [f32]
    where
        'a: 'b,
    {
        match self {
            Self::F32(values) => values,
            Self::Bf16(values) => {
                wide.resize(values.len(), 0.0);
                bfloat::widen(values, wide);
                wide
            }
            Self::Blocks(blocks) => {
                wide.resize(blocks.len(), 0.0);
                blocks.floats(wide);
                wide
            }
        }
    }
}

impl Right<'_> {
    /// # Panics
    /// If [depth, cols] is outside the data.
    pub fn check(&self, depth: usize, cols: usize) {
        match self {
            Self::F32(view) => view.check(depth, cols),
            Self::Bf16(view) => view.check(depth, cols),
            Self::Blocks(view) => view.check(depth, cols),
        }
    }

    /// Packs `cols` columns from `side` on, steps start..start + depth, as floats.
    pub fn floats(
        &self,
        (start, depth): (usize, usize),
        (side, cols): (usize, usize),
        panel: &mut [f32],
    ) {
        match self {
            Self::F32(view) => gather::<f32, COLS>(view.from(start, side), depth, cols, panel),
            Self::Blocks(view) => view.floats((start, depth), (side, cols), panel),
            Self::Bf16(view) if view.col == 1 => {
                let view = view.from(start, side);
                let (panel, _) = panel[..depth * COLS].as_chunks_mut::<COLS>();
                for (p, line) in panel.iter_mut().enumerate() {
                    line[cols..].fill(0.0);
                    bfloat::widen(&view.data[p * view.row..][..cols], &mut line[..cols]);
                }
            }
            // Transposed as pairs, half the words, and then widened.
            Self::Bf16(_) => WORDS.with_borrow_mut(|words| {
                words.resize(depth.div_ceil(2) * COLS, 0);
                self.pairs((start, depth), (side, cols), words);
                bfloat::widen_pairs::<COLS>(words, &mut panel[..depth * COLS]);
            }),
        }
    }

    /// The same as pairs along the depth, for a weight in bf16 or one widened to it; `start` is even.
    pub fn pairs(
        &self,
        (start, depth): (usize, usize),
        (side, cols): (usize, usize),
        panel: &mut [u32],
    ) {
        let view = match self {
            Self::Bf16(view) => view,
            Self::Blocks(view) => return view.pairs((start, depth), (side, cols), panel),
            Self::F32(_) => unreachable!("pairs are packed for weights in bf16"),
        };
        let view = view.from(start, side);
        if view.col == 1 {
            let (panel, _) = panel.as_chunks_mut::<COLS>();
            let none = [bf16::ZERO; COLS];
            for (p, line) in panel.iter_mut().take(depth.div_ceil(2)).enumerate() {
                let row = |p: usize| {
                    if p < depth {
                        &view.data[p * view.row..p * view.row + cols]
                    } else {
                        &none[..cols]
                    }
                };
                line[cols..].fill(0);
                bfloat::interleave(row(2 * p), row(2 * p + 1), &mut line[..cols]);
            }
            return;
        }
        // Neighbours along the depth are neighbours in memory: words, where they are aligned.
        // SAFETY: two bf16 are a u32 of any bits.
        let (before, words, _) = unsafe { view.data.align_to::<u32>() };
        if before.is_empty()
            && view.row == 1
            && view.col.is_multiple_of(2)
            && depth.is_multiple_of(2)
        {
            let words = Mat { data: words, row: 1, col: view.col / 2 };
            gather::<u32, COLS>(words, depth / 2, cols, panel);
            return;
        }
        let (panel, _) = panel.as_chunks_mut::<COLS>();
        for (p, line) in panel.iter_mut().take(depth.div_ceil(2)).enumerate() {
            line.fill(0);
            for (j, word) in line[..cols].iter_mut().enumerate() {
                let value = |p: usize| {
                    if p < depth {
                        u32::from(view.data[p * view.row + j * view.col].to_bits())
                    } else {
                        0
                    }
                };
                *word = value(2 * p) | value(2 * p + 1) << 16;
            }
        }
    }
}
