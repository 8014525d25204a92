//! The safe reference: the same weights with the adapter off.
//!
//! What it says of a sample depends on the sample alone, so its hidden states at
//! the answer positions, and its taps, come from ONE forward and are kept by
//! sample id. From the second epoch on the reference costs one head product.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::Tensor;
use host_model::decoder::Decoder;
use host_policy::wit::Tap;

use crate::data::{Sample, pack};
use crate::error::Result;
use crate::taps::{Reading, SampleTaps};

/// What the reference holds of one sample.
#[derive(Debug)]
pub struct Known {
    /// Final hidden states of the rows that predict answer tokens:
    /// answer tokens x hidden, detached.
    pub hidden: Tensor,
    pub taps: SampleTaps,
}

pub struct Reference<'a> {
    decoder: &'a Decoder,
    taps: Vec<Tap>,
    /// Samples of one forward.
    micro_batch: usize,
    cache: HashMap<u64, Arc<Known>>,
    bytes_left: usize,
}

impl<'a> Reference<'a> {
    /// `taps` are read in every forward of the reference.
    pub fn new(decoder: &'a Decoder, taps: &[Tap], micro_batch: usize, cache_bytes: usize) -> Self {
        Self {
            decoder,
            taps: taps.to_vec(),
            micro_batch,
            cache: HashMap::new(),
            bytes_left: cache_bytes,
        }
    }

    /// One entry per sample, in order; only unknown samples cost a forward.
    pub fn of(&mut self, samples: &[&Sample]) -> Result<Vec<Arc<Known>>> {
        let mut known: HashMap<u64, Arc<Known>> = HashMap::new();
        let mut unknown: Vec<&Sample> = Vec::new();
        for sample in samples {
            match self.cache.get(&sample.id) {
                Some(entry) => {
                    known.insert(sample.id, entry.clone());
                }
                None if unknown.iter().all(|other| other.id != sample.id) => unknown.push(sample),
                None => {}
            }
        }
        for chunk in unknown.chunks(self.micro_batch.max(1)) {
            for (sample, entry) in chunk.iter().zip(self.forward(chunk)?) {
                let entry = Arc::new(entry);
                self.keep(sample.id, &entry);
                known.insert(sample.id, entry);
            }
        }
        Ok(samples
            .iter()
            .map(|sample| known[&sample.id].clone())
            .collect())
    }

    fn forward(&self, samples: &[&Sample]) -> Result<Vec<Known>> {
        let batch = pack(samples);
        let reading = Reading::new(&self.taps, samples);
        let forward = self.decoder.forward(&batch.packed, None, &reading.rows())?;
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
                Ok(Known {
                    hidden: hidden.narrow(0, start, end - start)?.copy()?,
                    taps,
                })
            })
            .collect()
    }

    fn keep(&mut self, id: u64, entry: &Arc<Known>) {
        let taps: usize = entry.taps.iter().map(Vec::len).sum();
        let bytes = 4 * (entry.hidden.elem_count() + taps);
        if bytes <= self.bytes_left {
            self.bytes_left -= bytes;
            self.cache.insert(id, entry.clone());
        }
    }
}

/// Hidden rows of several samples as one tensor, in order.
pub fn stack(entries: &[Arc<Known>]) -> Result<Tensor> {
    let rows: Vec<&Tensor> = entries.iter().map(|entry| &entry.hidden).collect();
    Ok(Tensor::cat(&rows, 0)?)
}

#[cfg(test)]
mod tests {
    use host_model::{LoadOptions, Model, Source as ModelSource};
    use host_policy::wit::{Position, Source};

    use super::*;
    use crate::data::{Overlong, encode_chats, parse_rows};

    fn samples(model: &Model) -> Vec<Sample> {
        let rows = ["a", "a longer prompt", "b"].map(|prompt| {
            format!("{{\"prompt\": \"Say {prompt}.\", \"answer\": \"Sure, here is how:\"}}\n")
        });
        let rows = parse_rows("rows.jsonl".as_ref(), rows.concat().into_bytes()).expect("rows");
        let encoded = encode_chats(&rows, 100, Overlong::Error, &model.tokenizer);
        encoded.expect("encoded").samples
    }

    fn bits(known: &[Arc<Known>]) -> Vec<(Vec<f32>, SampleTaps)> {
        let flat = |known: &Arc<Known>| {
            let hidden = known.hidden.flatten_all().and_then(|x| x.to_vec1());
            (hidden.expect("values"), known.taps.clone())
        };
        known.iter().map(flat).collect()
    }

    #[test]
    fn a_cached_answer_is_the_computed_one_bit_for_bit() {
        let embedded = ModelSource::Embedded(crate::demo::MODEL);
        let model = host_model::load(&embedded, &LoadOptions::default()).expect("embedded");
        let samples = samples(&model);
        let taps = [Tap {
            source: Source::Reference,
            position: Position::LastPromptToken,
            layers: vec![1, 3],
        }];
        let asked: Vec<&Sample> = [0, 1, 2, 0].map(|index| &samples[index]).to_vec();

        let mut cached = Reference::new(&model.decoder, &taps, 2, 1 << 20);
        let first = bits(&cached.of(&asked).expect("computed"));
        let second = bits(&cached.of(&asked).expect("from the cache"));
        assert_eq!(cached.cache.len(), 3);
        assert_eq!(first, second);
        assert_eq!(first[0], first[3]);
        assert_eq!(first[0].1[0].len(), 2 * model.config.hidden_size);

        // Other company in the batch, and no cache at all, change no bit.
        let mut alone = Reference::new(&model.decoder, &taps, 1, 0);
        assert_eq!(bits(&alone.of(&asked).expect("computed")), first);
        assert_eq!(alone.cache.len(), 0);
    }
}
