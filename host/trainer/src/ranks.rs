//! Several processes that train one adapter together: the ranks, counted from 0.
//!
//! Each holds the model and the data and works on its share of every step. The first
//! one alone speaks to policies, disk and screen; see [`crate::step::run`] for who does what.
//!
//! Whatever ranks do together begins with a meeting, where each says what it came for.
//! One that failed says that instead, at the latest when its run ends, so the others
//! learn of it at their next meeting, wherever that is, and end as well: an error needs
//! no more care than a `?`, and nobody waits for a rank that is gone.

mod launch;
mod link;
#[cfg(feature = "mpi")]
mod mpi;
mod shard;

#[cfg(test)]
pub(crate) mod threads;

pub use launch::{Launched, join, launched};
pub use link::{Header, Link};
pub use shard::{Shard, shards};

use std::cell::Cell;

use host_data::Sample;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use crate::error::{Error, Kind, Result};

/// What a rank comes to a meeting for, as its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Failed = 1,
    End,
    Broadcast,
    Gather,
    Sum,
    Totals,
    Agree,
    StepEnd,
    Values,
}

/// How a rank tells the others what went wrong.
#[derive(Serialize, Deserialize)]
struct Failure {
    problem: String,
    kind: Kind,
}

/// This process among those that train together; most often there is no other.
pub struct Ranks {
    link: Option<Box<dyn Link>>,
    /// The others know that this rank is done, well or not.
    ended: Cell<bool>,
}

impl Ranks {
    /// One process, which meets nobody.
    pub fn alone() -> Self {
        Self { link: None, ended: Cell::new(true) }
    }

    pub fn linked(link: Box<dyn Link>) -> Self {
        Self { link: Some(link), ended: Cell::new(false) }
    }

    pub fn rank(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.rank())
    }

    pub fn size(&self) -> usize {
        self.link.as_ref().map_or(1, |link| link.size())
    }

    /// Whether this rank is the one that speaks for all.
    pub fn is_root(&self) -> bool {
        self.rank() == 0
    }

    /// This rank's part of a step.
    pub fn shard(&self, samples: &[&Sample], micro_batch: usize) -> Shard {
        let tokens: Vec<usize> = samples.iter().map(|sample| sample.tokens.len()).collect();
        shards(&tokens, micro_batch, self.size()).swap_remove(self.rank())
    }

    /// Does something on the root alone, and gives all ranks its result.
    ///
    /// # Errors
    /// What went wrong there.
    pub fn from_root<T: Serialize + DeserializeOwned>(
        &self,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        if self.is_root() {
            let value = work()?;
            self.broadcast(&value)?;
            return Ok(value);
        }
        self.receive()?.ok_or_else(|| Self::out_of_order(0))
    }

    /// Gives the other ranks, which [`hear`](Self::hear), something of the first one's.
    pub fn broadcast(&self, value: &impl Serialize) -> Result<()> {
        if self.link.is_none() {
            return Ok(());
        }
        let bytes = serde_json::to_vec(value).map_err(|error| self.unreadable(&error))?;
        self.broadcast_bytes(bytes)
    }

    pub fn broadcast_bytes(&self, mut bytes: Vec<u8>) -> Result<()> {
        if let Some(link) = &self.link {
            self.exchange_headers(link.as_ref(), Opcode::Broadcast, &[bytes.len() as u64])?;
            link.broadcast(0, &mut bytes);
        }
        Ok(())
    }

    /// What the root tells the others; none if it has ended instead.
    pub fn receive<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let Some(bytes) = self.receive_bytes()? else {
            return Ok(None);
        };
        let value = serde_json::from_slice(&bytes);
        value.map(Some).map_err(|error| self.unreadable(&error))
    }

    pub fn receive_bytes(&self) -> Result<Option<Vec<u8>>> {
        let Some(link) = &self.link else {
            return Ok(None);
        };
        let met = self.exchange_headers(link.as_ref(), Opcode::Broadcast, &[])?;
        if met[0][0] == Opcode::End as u64 {
            self.ended.set(true);
            return Ok(None);
        }
        let mut bytes = vec![0; met[0][1] as usize];
        link.broadcast(0, &mut bytes);
        Ok(Some(bytes))
    }

    /// Gives all ranks the values of the first.
    pub fn broadcast_values(&self, values: &mut [f32]) -> Result<()> {
        if let Some(link) = &self.link {
            self.exchange_headers(link.as_ref(), Opcode::Values, &[values.len() as u64])?;
            link.broadcast(0, bytemuck::cast_slice_mut(values));
        }
        Ok(())
    }

    /// The values of all ranks, in order, at the root; nothing at the others.
    pub fn gather(&self, values: Vec<f32>) -> Result<Vec<f32>> {
        let Some(link) = &self.link else {
            return Ok(values);
        };
        let met = self.exchange_headers(link.as_ref(), Opcode::Gather, &[values.len() as u64])?;
        let counts: Vec<usize> = met.iter().map(|words| words[1] as usize).collect();
        Ok(link.gather(&values, &counts))
    }

    /// Adds up what all ranks hold, value by value and in the order of the ranks, so
    /// that every rank gets the same bits.
    pub fn sum(&self, values: &mut [f32]) -> Result<()> {
        if let Some(link) = &self.link {
            self.exchange_headers(link.as_ref(), Opcode::Sum, &[values.len() as u64])?;
            link.sum(values);
        }
        Ok(())
    }

    /// The same for a few numbers in f64.
    pub fn totals<const N: usize>(&self, values: [f64; N]) -> Result<[f64; N]> {
        const { assert!(N < link::HEADER_WORDS) };
        let Some(link) = &self.link else {
            return Ok(values);
        };
        let met =
            self.exchange_headers(link.as_ref(), Opcode::Totals, &values.map(f64::to_bits))?;
        Ok(std::array::from_fn(|index| {
            let of_rank = |words: &Header| f64::from_bits(words[index + 1]);
            met.iter().map(of_rank).fold(0.0, |sum, value| sum + value)
        }))
    }

    /// Refuses to go on if `what` is not the same on all ranks.
    pub fn agree(&self, what: &str, digest: u64) -> Result<()> {
        let Some(link) = &self.link else {
            return Ok(());
        };
        let met = self.exchange_headers(link.as_ref(), Opcode::Agree, &[digest])?;
        match other(&met) {
            None => Ok(()),
            Some(rank) => Err(Error::Differs { what: what.to_owned(), rank }),
        }
    }

    /// Whether any rank wants to stop after this step, all of which must hold the same
    /// parameters.
    pub fn step_end(&self, step: u64, parameters: &[f32], stop: bool) -> Result<bool> {
        let Some(link) = &self.link else {
            return Ok(stop);
        };
        let digest = XxHash64::oneshot(step, bytemuck::cast_slice(parameters));
        let met =
            self.exchange_headers(link.as_ref(), Opcode::StepEnd, &[digest, u64::from(stop)])?;
        match other(&met) {
            None => Ok(met.iter().any(|words| words[2] != 0)),
            Some(rank) => Err(Error::Diverged { step, rank }),
        }
    }

    /// Ends the work together; what any rank failed with is told by the first, so the
    /// others have nothing to add to it.
    pub fn end<T>(self, result: Result<T>) -> Result<T> {
        let Some(link) = self.link.as_deref() else {
            return result;
        };
        if self.ended.get() {
            return result;
        }
        match result {
            Ok(value) => {
                self.exchange_headers(link, Opcode::End, &[])?;
                self.ended.set(true);
                Ok(value)
            }
            Err(error) => {
                let failure = Failure { problem: error.to_string(), kind: error.kind() };
                let bytes = serde_json::to_vec(&failure).unwrap_or_default();
                let met = link.exchange(words(Opcode::Failed, &[bytes.len() as u64]));
                let (teller, told) = self.listen(link, &met, bytes);
                // The first speaks for all, and has its own error to tell if it has one.
                Err(if teller == self.rank() { error } else { told })
            }
        }
    }

    /// Waits until all ranks have come. They come for the same unless one failed, or the
    /// first one ended and the others wait for its word.
    fn exchange_headers(
        &self,
        link: &dyn Link,
        opcode: Opcode,
        said: &[u64],
    ) -> Result<Vec<Header>> {
        let met = link.exchange(words(opcode, said));
        if met.iter().any(|words| words[0] == Opcode::Failed as u64) {
            return Err(self.listen(link, &met, Vec::new()).1);
        }
        let first = met[0][0];
        let over =
            |words: &Header| first == Opcode::End as u64 && words[0] == Opcode::Broadcast as u64;
        match met.iter().position(|words| words[0] != first && !over(words)) {
            None => Ok(met),
            Some(rank) => Err(Self::out_of_order(rank)),
        }
    }

    /// The root of those that failed tells all others why; after that nobody
    /// waits for anybody.
    fn listen(&self, link: &dyn Link, met: &[Header], mut bytes: Vec<u8>) -> (usize, Error) {
        self.ended.set(true);
        let failed = |words: &Header| words[0] == Opcode::Failed as u64;
        let teller = met.iter().position(failed).unwrap_or_default();
        bytes.resize(met[teller][1] as usize, 0);
        link.broadcast(teller, &mut bytes);
        let told = serde_json::from_slice::<Failure>(&bytes);
        let error = match told {
            Ok(Failure { problem, kind }) => Error::Elsewhere { rank: teller, problem, kind },
            Err(error) => self.unreadable(&error),
        };
        (teller, error)
    }

    fn out_of_order(rank: usize) -> Error {
        Error::Differs { what: "the order of work".into(), rank }
    }

    fn unreadable(&self, error: &serde_json::Error) -> Error {
        Error::Elsewhere {
            rank: self.rank(),
            problem: format!("what the ranks told each other can't be read ({error})"),
            kind: Kind::Other,
        }
    }
}

impl Drop for Ranks {
    /// The last resort: the others would wait for this rank for ever.
    fn drop(&mut self) {
        if let (Some(link), false) = (&self.link, self.ended.get()) {
            link.abort();
        }
    }
}

fn words(opcode: Opcode, said: &[u64]) -> Header {
    let mut words = [0; link::HEADER_WORDS];
    words[0] = opcode as u64;
    words[1..=said.len()].copy_from_slice(said);
    words
}

/// A rank whose first word after the purpose is another than the root's.
fn other(met: &[Header]) -> Option<usize> {
    met.iter().position(|words| words[1] != met[0][1])
}

#[cfg(test)]
mod tests;
