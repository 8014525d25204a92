//! Keys and values of sequences that are being generated.

use candle_core::Tensor;

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

/// Per layer, per sequence: rows of kv_size values, growing.
pub(crate) struct FusedCache {
    pub layers: Vec<Vec<SequenceKv>>,
}

#[derive(Default)]
pub(crate) struct SequenceKv {
    pub k: Vec<f32>,
    pub v: Vec<f32>,
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

impl PlainCache {
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
