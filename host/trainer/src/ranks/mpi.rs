//! The link over MPI, between processes of one machine or of many.

use std::thread;
use std::time::Duration;

use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::request;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;

use super::link::{HEADER_WORDS, Header, Link};
use crate::error::{Error, Result};

/// MPI counts in i32, so what is larger goes in pieces.
const PIECE: usize = 1 << 28;
/// Longest sleep of a rank that waits for others.
const NAP: Duration = Duration::from_millis(1);

pub struct Mpi {
    world: SimpleCommunicator,
    rank: usize,
    size: usize,
    /// Ends MPI when it is dropped, which is after everything else.
    _universe: Universe,
}

impl Mpi {
    /// Joins the ranks that mpirun started.
    ///
    /// # Errors
    /// A second start in one process. What goes wrong inside MPI ends the process with
    /// MPI's own message.
    pub fn start() -> Result<Self> {
        // Threads of ours compute; this one alone talks to MPI.
        let (universe, _) =
            mpi::initialize_with_threading(Threading::Funneled).ok_or(Error::MpiTwice)?;
        let world = universe.world();
        Ok(Self {
            rank: world.rank() as usize,
            size: world.size() as usize,
            world,
            _universe: universe,
        })
    }
}

impl Link for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn exchange(&self, words: Header) -> Vec<Header> {
        let mut all = vec![0u64; HEADER_WORDS * self.size];
        // MPI's own waiting keeps a core busy. Everybody waits here, so this is the one
        // place that has to be patient: quick for a step, idle for an evaluation.
        request::scope(|scope| {
            let mut pending = self.world.immediate_all_gather_into(scope, &words[..], &mut all[..]);
            let mut nap = Duration::from_micros(10);
            while let Err(still) = pending.test() {
                pending = still;
                thread::sleep(nap);
                nap = (nap * 2).min(NAP);
            }
        });
        let words = all.chunks_exact(HEADER_WORDS);
        words.map(|words| std::array::from_fn(|index| words[index])).collect()
    }

    fn broadcast(&self, from: usize, bytes: &mut [u8]) {
        let root = self.world.process_at_rank(from as i32);
        for piece in bytes.chunks_mut(PIECE) {
            root.broadcast_into(piece);
        }
    }

    fn gather(&self, values: &[f32], counts: &[usize]) -> Vec<f32> {
        let root = self.world.process_at_rank(0);
        if self.rank != 0 {
            root.gather_varcount_into(values);
            return Vec::new();
        }
        let mut all = vec![0.0; counts.iter().sum()];
        let (counts, starts) = blocks(counts.iter().copied());
        root.gather_varcount_into_root(
            values,
            &mut PartitionMut::new(&mut all[..], counts, starts),
        );
        all
    }

    /// Every rank adds up one block for all of them: as much to send and to add as in
    /// the best of MPI's own reductions, whose order of additions depends on the number
    /// of machines and the size.
    fn sum(&self, values: &mut [f32]) {
        for values in values.chunks_mut(PIECE) {
            let bound = |rank: usize| values.len() * rank / self.size;
            let lengths = (0..self.size).map(|rank| bound(rank + 1) - bound(rank));
            let (counts, starts) = blocks(lengths);
            let mine = counts[self.rank] as usize;
            let mut parts = vec![0f32; mine * self.size];
            let (equal, places) = blocks(std::iter::repeat_n(mine, self.size));
            self.world.all_to_all_varcount_into(
                &Partition::new(&values[..], &counts[..], &starts[..]),
                &mut PartitionMut::new(&mut parts[..], equal, places),
            );
            let (sum, others) = parts.split_at_mut(mine);
            for part in others.chunks_exact(mine.max(1)) {
                sum.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
            }
            self.world
                .all_gather_varcount_into(&sum[..], &mut PartitionMut::new(values, counts, starts));
        }
    }

    fn abort(&self) {
        self.world.abort(1)
    }
}

/// Lengths of blocks that follow one another, and where each starts.
fn blocks(lengths: impl Iterator<Item = usize>) -> (Vec<i32>, Vec<i32>) {
    let counts: Vec<i32> = lengths.map(|length| length as i32).collect();
    let starts = counts.iter().scan(0, |next, count| {
        *next += count;
        Some(*next - count)
    });
    let starts = starts.collect();
    (counts, starts)
}
