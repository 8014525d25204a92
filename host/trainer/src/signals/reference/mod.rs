//! The safe reference: the same weights with the adapter off, steered if a policy wants
//! that while it teaches.
//!
//! What it says of a sample depends on the sample alone, so its hidden states at
//! the answer positions, and its taps, come from ONE forward and are kept: in memory up
//! to a budget, and on disk for other runs. From the second epoch on the reference costs
//! one head product. What is kept is what was computed, to the bit, so a run with a cache
//! is the run without one.

mod entry;
mod key;
mod place;
mod store;

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::Tensor;
use host_contract::Tap;
use host_data::{Sample, pack};
use host_model::decoder::{Decoder, Overlay};
use host_model::steering::Steering;

use crate::error::Result;
use crate::signals::taps::Reading;

pub use entry::ReferenceOutputs;
pub use key::{Basis, SampleKey};
pub use place::open;
pub use store::Store;

pub struct Reference<'a> {
    decoder: &'a Decoder,
    taps: Vec<Tap>,
    steering: Option<Steering>,
    /// Samples of one forward.
    micro_batch: usize,
    memory: HashMap<SampleKey, Arc<ReferenceOutputs>>,
    memory_left: u64,
    disk: Option<&'a Store>,
}

impl<'a> Reference<'a> {
    /// `taps` are read in every forward of the reference. What comes first stays in
    /// memory until `memory` bytes are spent; `disk` keeps whatever it has room for.
    pub fn new(
        decoder: &'a Decoder,
        taps: &[Tap],
        micro_batch: usize,
        memory: u64,
        disk: Option<&'a Store>,
    ) -> Self {
        Self {
            decoder,
            taps: taps.to_vec(),
            steering: None,
            micro_batch,
            memory: HashMap::new(),
            memory_left: memory,
            disk,
        }
    }

    /// A reference that is steered. It knows nothing of what another one said: its keys
    /// hold what it adds.
    pub fn steered(self, steering: Steering) -> Self {
        Self { steering: Some(steering), memory: HashMap::new(), ..self }
    }

    fn key(&self, sample: &Sample) -> SampleKey {
        let key = SampleKey::of(sample);
        match &self.steering {
            Some(steering) => key.steered(steering.digest()),
            None => key,
        }
    }

    /// One entry per sample, in order; only unknown samples cost a forward.
    pub fn of(&mut self, samples: &[&Sample]) -> Result<Vec<Arc<ReferenceOutputs>>> {
        let keys: Vec<SampleKey> = samples.iter().map(|sample| self.key(sample)).collect();
        let mut known: HashMap<SampleKey, Arc<ReferenceOutputs>> = HashMap::new();
        let mut unknown: Vec<(SampleKey, &Sample)> = Vec::new();
        for (key, sample) in keys.iter().zip(samples) {
            if known.contains_key(key) || unknown.iter().any(|(other, _)| other == key) {
                continue;
            }
            match self.recall(key) {
                Some(entry) => drop(known.insert(*key, entry)),
                None => unknown.push((*key, sample)),
            }
        }
        for chunk in unknown.chunks(self.micro_batch.max(1)) {
            let members: Vec<&Sample> = chunk.iter().map(|(_, sample)| *sample).collect();
            for ((key, _), entry) in chunk.iter().zip(self.forward(&members)?) {
                if let Some(disk) = self.disk {
                    disk.put(key, &entry)?;
                }
                known.insert(*key, self.keep(*key, entry));
            }
        }
        Ok(keys.iter().map(|key| known[key].clone()).collect())
    }

    fn recall(&mut self, key: &SampleKey) -> Option<Arc<ReferenceOutputs>> {
        if let Some(entry) = self.memory.get(key) {
            return Some(entry.clone());
        }
        let entry = self.disk?.get(key, self.decoder.device())?;
        Some(self.keep(*key, entry))
    }

    fn forward(&self, samples: &[&Sample]) -> Result<Vec<ReferenceOutputs>> {
        let batch = pack(samples);
        let reading = Reading::new(&self.taps, samples);
        let applied = Overlay { adapter: None, steering: self.steering.as_ref() };
        let forward = self.decoder.infer(&batch.packed, applied, &reading.rows())?;
        let device = forward.hidden.device();
        let rows = Tensor::new(batch.rows.as_slice(), device)?;
        let hidden = forward.hidden.index_select(&rows, 0)?.detach();
        let width = self.decoder.config.hidden_size;
        let taps = reading.by_sample(forward.taps, width);
        let bounds = batch.offsets.windows(2);
        bounds
            .zip(taps)
            .map(|(bounds, taps)| {
                let (start, end) = (bounds[0] as usize, bounds[1] as usize);
                // copy(): a view would keep the whole batch alive.
                Ok(ReferenceOutputs { hidden: hidden.narrow(0, start, end - start)?.copy()?, taps })
            })
            .collect()
    }

    /// In memory, if there is room. What is there stays: see [`Store`] for why.
    fn keep(&mut self, key: SampleKey, entry: ReferenceOutputs) -> Arc<ReferenceOutputs> {
        let entry = Arc::new(entry);
        if entry.size() <= self.memory_left {
            self.memory_left -= entry.size();
            self.memory.insert(key, entry.clone());
        }
        entry
    }
}

/// Hidden rows of several samples as one tensor, in order.
pub fn stack(entries: &[Arc<ReferenceOutputs>]) -> Result<Tensor> {
    let rows: Vec<&Tensor> = entries.iter().map(|entry| &entry.hidden).collect();
    Ok(Tensor::cat(&rows, 0)?)
}

#[cfg(test)]
mod tests;
