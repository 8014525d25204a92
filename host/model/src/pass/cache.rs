//! Keys and values of sequences that are being generated.

use candle_core::Tensor;
use host_kernels::cached::KeyValues;

use super::gains::Gains;
use crate::error::{Error, Result};

/// Keys and values per layer and sequence, after norm and rotation.
pub struct KvCache {
    lengths: Vec<usize>,
    pub(crate) store: Store,
}

pub(crate) enum Store {
    Fused(FusedCache),
    Plain(PlainCache),
}

/// Per layer, per sequence: rows of kv_size values.
pub(crate) struct FusedCache {
    pub layers: Vec<Vec<KeyValues>>,
    /// Of the adapter that the cache was filled with.
    pub gains: Gains,
}

/// Per layer: (k, v) [sequences, kv heads, longest, head_dim]; sequences end
/// together, shorter ones start with padding that is masked.
pub(crate) struct PlainCache {
    pub layers: Vec<(Tensor, Tensor)>,
}

impl KvCache {
    pub(crate) fn new(lengths: Vec<usize>, store: Store) -> Self {
        Self { lengths, store }
    }

    /// Number of sequences.
    pub fn num_sequences(&self) -> usize {
        self.lengths.len()
    }

    /// Tokens held of every sequence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    pub(crate) fn grow(&mut self) {
        self.lengths.iter_mut().for_each(|length| *length += 1);
    }

    /// Keeps the sequences whose flag is set, in their order; drops the others.
    pub fn retain(&mut self, keep: &[bool]) -> Result<()> {
        if keep.len() != self.lengths.len() {
            return Err(Error::batch(
                format!("{} flags for {} sequences", keep.len(), self.lengths.len()),
                "give one flag per cached sequence",
            ));
        }
        if keep.iter().all(|keep| *keep) {
            return Ok(());
        }
        match &mut self.store {
            Store::Fused(cache) => {
                for layer in &mut cache.layers {
                    retain_flagged(layer, keep);
                }
            }
            Store::Plain(cache) => cache.retain(keep, &self.lengths)?,
        }
        retain_flagged(&mut self.lengths, keep);
        Ok(())
    }
}

impl KvCache {
    /// Adds the sequences of another cache, which the same decoder made, behind these.
    pub(crate) fn join(&mut self, other: Self) -> Result<()> {
        match (&mut self.store, other.store) {
            (Store::Fused(cache), Store::Fused(other)) => {
                for (layer, other) in cache.layers.iter_mut().zip(other.layers) {
                    layer.extend(other);
                }
            }
            (Store::Plain(cache), Store::Plain(other)) => cache.join(other)?,
            _ => unreachable!("one decoder makes caches of one kind"),
        }
        self.lengths.extend(other.lengths);
        Ok(())
    }
}

impl PlainCache {
    /// Pads the shorter ones to the longest.
    fn join(&mut self, other: Self) -> Result<()> {
        for ((k, v), (more_k, more_v)) in self.layers.iter_mut().zip(other.layers) {
            for (side, more) in [(k, more_k), (v, more_v)] {
                let longest = side.dims()[2].max(more.dims()[2]);
                let pad = |one: &Tensor| one.pad_with_zeros(2, longest - one.dims()[2], 0);
                *side = Tensor::cat(&[pad(side)?, pad(&more)?], 0)?.contiguous()?;
            }
        }
        Ok(())
    }

    /// Selects sequences and cuts the padding that none of them needs.
    fn retain(&mut self, keep: &[bool], lengths: &[usize]) -> Result<()> {
        let kept: Vec<u32> =
            (0u32..).zip(keep).filter_map(|(index, keep)| keep.then_some(index)).collect();
        let longest = kept.iter().map(|i| lengths[*i as usize]).max().unwrap_or(0);
        if kept.is_empty() {
            self.layers.clear();
            return Ok(());
        }
        for (k, v) in &mut self.layers {
            let index = Tensor::new(kept.as_slice(), k.device())?;
            for side in [k, v] {
                let cut = side.dims()[2] - longest;
                let selected = side.index_select(&index, 0)?;
                *side = selected.narrow(2, cut, longest)?.contiguous()?;
            }
        }
        Ok(())
    }
}

fn retain_flagged<T>(list: &mut Vec<T>, keep: &[bool]) {
    let mut flags = keep.iter();
    list.retain(|_| flags.next().copied().unwrap_or(false));
}
