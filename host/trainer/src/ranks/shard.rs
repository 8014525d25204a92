//! Which part of a step's samples a rank works on.

use std::ops::Range;

/// One rank's part of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// In the order of the step.
    pub samples: Range<usize>,
    /// Samples that go through the model at once.
    pub micro_batch: usize,
}

/// Deals the micro-batches of a step out to `size` ranks, in blocks whose numbers of
/// tokens are as equal as whole micro-batches allow. `tokens` has those of each sample.
///
/// Micro-batches are as large as asked for unless ranks would be left without work. A
/// step with fewer samples than ranks leaves some without any.
pub fn shards(tokens: &[usize], micro_batch: usize, size: usize) -> Vec<Shard> {
    let micro_batch = micro_batch.min(tokens.len().div_ceil(size)).max(1);
    let sums: Vec<usize> = std::iter::once(0)
        .chain(tokens.chunks(micro_batch).scan(0, |sum, batch| {
            *sum += batch.iter().sum::<usize>();
            Some(*sum)
        }))
        .collect();
    let (batches, total) = (sums.len() - 1, sums[sums.len() - 1]);
    // Block r ends at the micro-batch that is nearest to r + 1 equal parts; as long as
    // there are enough, each rank gets one and leaves one for each rank after it.
    let mut start = 0;
    let blocks = (0..size).map(|rank| {
        let rest = size - rank - 1;
        let distance = |end: &usize| (sums[*end] * size).abs_diff(total * (rank + 1));
        let first = (start + 1).min(batches);
        let last = batches.saturating_sub(rest).max(first);
        let end = (first..=last).min_by_key(distance).unwrap_or(batches);
        let block = start..end;
        start = end;
        Shard {
            samples: (block.start * micro_batch).min(tokens.len())
                ..(block.end * micro_batch).min(tokens.len()),
            micro_batch,
        }
    });
    blocks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(tokens: &[usize], micro_batch: usize, size: usize) -> Vec<Range<usize>> {
        let all = shards(tokens, micro_batch, size);
        assert_eq!(all.len(), size);
        let mut next = 0;
        for shard in &all {
            assert_eq!(shard.samples.start, next, "{all:?}");
            next = shard.samples.end;
        }
        assert_eq!(next, tokens.len(), "{all:?}");
        all.into_iter().map(|shard| shard.samples).collect()
    }

    #[test]
    fn a_micro_batch_too_large_for_all_to_work_is_divided() {
        assert_eq!(ranges(&[10; 8], 8, 2), [0..4, 4..8]);
        assert_eq!(shards(&[10; 8], 8, 2)[1].micro_batch, 4);
        assert_eq!(shards(&[10; 8], 8, 1)[0].samples, 0..8);
        assert_eq!(shards(&[10; 8], 3, 1)[0].micro_batch, 3);
    }

    #[test]
    fn blocks_are_balanced_by_tokens() {
        // One by one: 1+1+1+1+1+1 = 6 against 3+3.
        assert_eq!(ranges(&[1, 1, 1, 1, 1, 1, 3, 3], 1, 2), [0..6, 6..8]);
        assert_eq!(ranges(&[9, 1, 1, 1, 1, 1, 1, 1], 1, 2), [0..1, 1..8]);
        // The same in pairs: 2+2+2 against 6.
        assert_eq!(ranges(&[1, 1, 1, 1, 1, 1, 3, 3], 2, 2), [0..6, 6..8]);
    }

    #[test]
    fn a_short_step_gives_each_rank_what_there_is() {
        assert_eq!(ranges(&[5, 6], 8, 4), [0..1, 1..2, 2..2, 2..2]);
        assert_eq!(ranges(&[5], 8, 2), [0..1, 1..1]);
        // One long sample doesn't leave others idle.
        assert_eq!(ranges(&[1, 1, 100], 1, 3), [0..1, 1..2, 2..3]);
    }

    #[test]
    fn every_sample_is_dealt_once_whatever_the_numbers() {
        for size in 1..6 {
            for samples in 1..20 {
                for micro_batch in 1..9 {
                    let tokens: Vec<usize> = (0..samples).map(|i| 1 + i * i % 7).collect();
                    let dealt = ranges(&tokens, micro_batch, size);
                    if samples >= size * micro_batch {
                        assert!(dealt.iter().all(|range| !range.is_empty()), "{dealt:?}");
                    }
                }
            }
        }
    }
}
