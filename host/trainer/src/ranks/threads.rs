//! A link between threads, for tests.

use std::sync::{Arc, Barrier, Mutex};

use super::Ranks;
use super::link::{Header, Link};

/// Where the threads leave things for each other.
struct Table {
    places: Mutex<Vec<Vec<u8>>>,
    all_are_here: Barrier,
}

struct Threads {
    rank: usize,
    table: Arc<Table>,
}

/// Runs `work` as each of `size` ranks at once and returns their results in order.
pub fn run<T: Send>(size: usize, work: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
    let table = Arc::new(Table {
        places: Mutex::new(vec![Vec::new(); size]),
        all_are_here: Barrier::new(size),
    });
    std::thread::scope(|scope| {
        let spawn = |rank| {
            let (table, work) = (table.clone(), &work);
            scope.spawn(move || work(Ranks::linked(Box::new(Threads { rank, table }))))
        };
        let threads: Vec<_> = (0..size).map(spawn).collect();
        let results = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        results.map(|result| result.expect("no panic")).collect()
    })
}

impl Threads {
    /// What each rank lays down, to all.
    fn share(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.table.places.lock().expect("lock")[self.rank] = bytes.to_vec();
        self.table.all_are_here.wait();
        let all = self.table.places.lock().expect("lock").clone();
        self.table.all_are_here.wait();
        all
    }
}

impl Link for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.table.places.lock().expect("lock").len()
    }

    fn exchange(&self, words: Header) -> Vec<Header> {
        let all = self.share(bytemuck::cast_slice(&words));
        let words = all.iter().map(|bytes| bytemuck::pod_read_unaligned(bytes));
        words.collect()
    }

    fn broadcast(&self, from: usize, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.share(bytes)[from]);
    }

    fn gather(&self, values: &[f32], counts: &[usize]) -> Vec<f32> {
        let all = self.share(bytemuck::cast_slice(values));
        assert!(all.iter().map(|bytes| bytes.len() / 4).eq(counts.iter().copied()));
        if self.rank != 0 {
            return Vec::new();
        }
        floats(&all.concat())
    }

    fn sum(&self, values: &mut [f32]) {
        let all = self.share(bytemuck::cast_slice(values));
        values.fill(0.0);
        for bytes in all {
            values.iter_mut().zip(floats(&bytes)).for_each(|(sum, value)| *sum += value);
        }
    }

    fn abort(&self) {
        panic!("rank {} aborted", self.rank);
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect()
}
