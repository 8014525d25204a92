//! Tokens that sequences of a batch begin with alike, computed once.
//!
//! A row of a causal model depends on the tokens up to its own alone, so sequences that begin alike (a system prompt,
//! the words of a task, the same prompt for several answers) have the same rows there. They form a tree: the rows of an
//! edge are computed once and serve all sequences below it.

use std::borrow::Cow;
use std::ops::Range;

use crate::pass::Packed;
use host_kernels::softmax;

/// A shorter beginning costs more in pieces than it saves in rows.
const SHORTEST: usize = 8;

/// One in so many rows of a batch is saved at least; otherwise every sequence is computed by itself.
const LEAST_SAVED: usize = 8;

/// Rows that are computed together: an edge of the tree.
pub(super) struct Piece {
    /// The computed rows.
    pub rows: Range<usize>,
    /// Rows of the batch with the tokens that it sees: those of a sequence from its first to the piece's last.
    pub sees: Range<usize>,
}

/// Which rows of a batch are computed.
pub(super) struct SharedRows {
    /// Edges of the tree, a sequence each where nothing is shared.
    pub pieces: Vec<Piece>,
    /// The computed row of every row of the batch; none where every row is computed.
    of: Option<Vec<usize>>,
    /// Computed rows.
    pub count: usize,
}

impl SharedRows {
    /// Every row of the batch.
    pub fn all(batch: &Packed) -> Self {
        let pieces = batch.sequences().map(|rows| Piece { rows: rows.clone(), sees: rows });
        Self { pieces: pieces.collect(), of: None, count: batch.rows() }
    }

    /// Every row once.
    pub fn once(batch: &Packed) -> Self {
        let mut tree = Tree { batch, pieces: Vec::new(), of: vec![0; batch.rows()], count: 0 };
        let mut sequences: Vec<Range<usize>> = batch.sequences().collect();
        sequences.sort_by_key(|rows| &batch.tokens[rows.clone()]);
        let equal = |a: &Range<usize>, b: &Range<usize>| tree.tokens(a) == tree.tokens(b);
        let leaves: Vec<&[Range<usize>]> = sequences.chunk_by(equal).collect();
        tree.grow(&leaves, 0);
        if (batch.rows() - tree.count) * LEAST_SAVED < batch.rows() {
            return Self::all(batch);
        }
        Self { pieces: tree.pieces, of: Some(tree.of), count: tree.count }
    }

    /// The computed row of a row of the batch.
    pub fn row(&self, row: usize) -> usize {
        self.of.as_ref().map_or(row, |of| of[row])
    }

    /// Computed values [computed rows, width] for the rows that are computed: [rows of the batch, width].
    pub fn spread<'v>(&self, values: impl Into<Cow<'v, [f32]>>, width: usize) -> Cow<'v, [f32]> {
        let values = values.into();
        let Some(of) = &self.of else { return values };
        let line = |row: &usize| &values[row * width..(row + 1) * width];
        Cow::Owned(of.iter().map(line).collect::<Vec<_>>().concat())
    }

    /// The sum of [rows of the batch, width] over the rows that are one computed row: [computed rows, width].
    pub fn gather<'v>(&self, values: &'v [f32], width: usize) -> Cow<'v, [f32]> {
        let Some(of) = &self.of else { return Cow::Borrowed(values) };
        let mut sums = vec![0f32; self.count * width];
        for (row, values) in of.iter().zip(values.chunks_exact(width)) {
            softmax::add(&mut sums[row * width..(row + 1) * width], values);
        }
        Cow::Owned(sums)
    }

    /// The token of every computed row, its position and the length of a sequence that it is of.
    pub fn tokens<'b>(
        &self,
        batch: &'b Packed,
    ) -> impl Iterator<Item = (u32, usize, usize)> + Clone + use<'_, 'b> {
        self.pieces.iter().flat_map(move |piece| {
            let first = piece.sees.end - piece.rows.len();
            let next = batch.starts.partition_point(|start| *start <= piece.sees.start);
            let length = batch.starts[next] - piece.sees.start;
            let rows = (first..piece.sees.end).zip(first - piece.sees.start..);
            rows.map(move |(row, position)| (batch.tokens[row], position, length))
        })
    }
}

struct Tree<'a> {
    batch: &'a Packed,
    pieces: Vec<Piece>,
    of: Vec<usize>,
    count: usize,
}

impl<'a> Tree<'a> {
    fn tokens(&self, sequence: &Range<usize>) -> &'a [u32] {
        &self.batch.tokens[sequence.clone()]
    }

    /// Adds leaves, each the rows of sequences that are equal, that share a path to `depth`; they come in the order of
    /// their tokens.
    fn grow(&mut self, leaves: &[&[Range<usize>]], mut depth: usize) {
        if let [first, .., last] = leaves {
            // In this order the first and the last have least in common.
            let shared = common(self.tokens(&first[0]), self.tokens(&last[0]));
            if shared >= depth + SHORTEST {
                self.piece(leaves, depth..shared);
                depth = shared;
            }
        }
        let alike = |a: &&[Range<usize>], b: &&[Range<usize>]| {
            common(self.tokens(&a[0]), self.tokens(&b[0])) >= depth + SHORTEST
        };
        let groups: Vec<&[&[Range<usize>]]> = leaves.chunk_by(alike).collect();
        for group in groups {
            match group {
                [one] => self.piece(group, depth..one[0].len()),
                _ => self.grow(group, depth),
            }
        }
    }

    /// Computes `tokens` of all sequences of the leaves once.
    fn piece(&mut self, leaves: &[&[Range<usize>]], tokens: Range<usize>) {
        if tokens.is_empty() {
            return;
        }
        let rows = self.count..self.count + tokens.len();
        self.count = rows.end;
        for sequence in leaves.iter().copied().flatten() {
            for (token, row) in tokens.clone().zip(rows.clone()) {
                self.of[sequence.start + token] = row;
            }
        }
        let start = leaves[0][0].start;
        self.pieces.push(Piece { rows, sees: start..start + tokens.end });
    }
}

/// Tokens that both begin with.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn numbered(first: u32, count: u32) -> Vec<u32> {
        (first..first + count).collect()
    }

    fn batch(sequences: &[&[Vec<u32>]]) -> Packed {
        let sequences: Vec<Vec<u32>> = sequences.iter().map(|parts| parts.concat()).collect();
        Packed::from_sequences(&sequences)
    }

    /// Every row's computed row has its token at its position, and sees the tokens before it.
    fn check(batch: &Packed, shared: &SharedRows) {
        let computed: Vec<_> = shared.tokens(batch).collect();
        assert_eq!(computed.len(), shared.count);
        for sequence in batch.sequences() {
            for row in sequence.clone() {
                let (token, position, _) = computed[shared.row(row)];
                assert_eq!((token, position), (batch.tokens[row], row - sequence.start));
                let of = |piece: &&Piece| piece.rows.contains(&shared.row(row));
                let piece = shared.pieces.iter().find(of).unwrap();
                let seen = &batch.tokens[piece.sees.start..];
                assert_eq!(seen[..position], batch.tokens[sequence.start..row]);
            }
        }
    }

    #[test]
    fn beginnings_are_computed_once_at_every_depth() {
        let (system, task) = (numbered(0, 20), numbered(100, 12));
        let rows = batch(&[
            &[system.clone(), task.clone(), numbered(200, 5)],
            &[numbered(300, 9)],
            &[system.clone(), task.clone(), numbered(210, 7)],
            &[system.clone(), numbered(220, 6)],
            // A beginning that is too short to be shared.
            &[system.clone(), numbered(220, 3), numbered(230, 3)],
        ]);
        let shared = SharedRows::once(&rows);
        assert_eq!(shared.count, 20 + 12 + 5 + 9 + 7 + 6 + 6);
        check(&rows, &shared);
    }

    #[test]
    fn sequences_that_are_equal_or_end_where_others_go_on_are_computed_once() {
        let prompt = numbered(0, 16);
        let rows = batch(&[
            &[prompt.clone(), numbered(50, 4)],
            std::slice::from_ref(&prompt),
            &[prompt.clone(), numbered(50, 4)],
            &[prompt.clone(), numbered(50, 4)],
        ]);
        let shared = SharedRows::once(&rows);
        assert_eq!(shared.count, 20);
        check(&rows, &shared);
    }

    #[test]
    fn nothing_is_shared_where_little_is_saved() {
        for sequences in [
            vec![numbered(0, 30), numbered(50, 30)],
            // Seven rows are the same.
            vec![numbered(0, 30), [numbered(0, 7), numbered(90, 9)].concat()],
            // Eight of 130 rows.
            vec![numbered(0, 60), [numbered(0, 8), numbered(90, 62)].concat()],
        ] {
            let rows = Packed::from_sequences(&sequences);
            let shared = SharedRows::once(&rows);
            assert_eq!(shared.count, rows.rows());
            assert_eq!(shared.pieces.len(), 2);
            assert!((0..rows.rows()).all(|row| shared.row(row) == row));
            check(&rows, &shared);
        }
    }

    #[test]
    fn values_are_spread_and_their_gradients_added() {
        let rows = batch(&[&[numbered(0, 8), numbered(20, 1)], &[numbered(0, 8), numbered(30, 1)]]);
        let shared = SharedRows::once(&rows);
        assert_eq!(shared.count, 10);
        let values: Vec<f32> = (0..20u8).map(f32::from).collect();
        let spread = shared.spread(&values, 2).into_owned();
        assert_eq!(spread.len(), 36);
        assert_eq!(spread[..16], spread[18..34]);
        let gathered = shared.gather(&spread, 2);
        assert_eq!(gathered[..16], values[..16].iter().map(|x| 2.0 * x).collect::<Vec<_>>());
        assert_eq!(gathered[16..], values[16..]);
    }
}
