//! Sequences that are decoded together and can come and go between two steps (continuous batching).

use candle_core::{Device, Tensor};

use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::pass::{KvCache, Overlay, Packed};

/// Most memory that the keys and values of the sequences decoded together may take, in bytes.
const CACHE_BYTES: usize = 1 << 30;

/// Sequences in the order in which they joined, each waiting for its next token.
pub struct DecodingBatch<'a> {
    decoder: &'a Decoder,
    overlay: Overlay<'a>,
    /// Last hidden row of each [sequences, hidden], and their keys and values; none without sequences.
    state: Option<(Tensor, KvCache)>,
}

impl<'a> DecodingBatch<'a> {
    /// Without a sequence yet.
    pub fn new(decoder: &'a Decoder, overlay: Overlay<'a>) -> Self {
        Self { decoder, overlay, state: None }
    }

    /// Tokens, prompts and answers at their longest, that the sequences of a batch should have together:
    /// keys and values of so many take 1 GiB.
    pub fn most_tokens(decoder: &Decoder) -> usize {
        let config = &decoder.config;
        let bytes_per_token =
            2 * config.num_layers * config.kv_size() * decoder.weights.dtype().size_in_bytes();
        CACHE_BYTES / bytes_per_token.max(1)
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.state.as_ref().map_or(0, |(_, cache)| cache.num_sequences())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.state.is_none()
    }

    /// Runs prompts, packed without padding, and puts them behind the sequences that are there.
    ///
    /// # Errors
    /// [`Error::Batch`] for an empty or over-long prompt. The sequences that are there stay as they are.
    pub fn join(&mut self, prompts: &[&[u32]]) -> Result<()> {
        if prompts.is_empty() {
            return Ok(());
        }
        let new = self.decoder.prefill(&Packed::from_sequences(prompts), self.overlay)?;
        self.state = Some(match self.state.take() {
            None => new,
            Some((before, mut kept)) => {
                kept.join(new.1)?;
                (Tensor::cat(&[before, new.0], 0)?, kept)
            }
        });
        Ok(())
    }

    /// Logits [sequences, vocabulary] of the next tokens, on the CPU.
    ///
    /// # Errors
    /// [`Error::Batch`] without a sequence.
    pub fn logits(&self) -> Result<Tensor> {
        let Some((hidden, _)) = &self.state else {
            return Err(Error::batch("no sequence is decoded", "let one join first"));
        };
        // One transfer for all rows: reading a row on a device copies every row.
        Ok(self.decoder.logits(hidden)?.to_device(&Device::Cpu)?)
    }

    /// Keeps the sequences whose flag is set, in their order; the others leave.
    ///
    /// # Errors
    /// [`Error::Batch`] if there isn't one flag per sequence.
    pub fn retain(&mut self, keep: &[bool]) -> Result<()> {
        let Some((hidden, mut cache)) = self.state.take() else {
            return Ok(());
        };
        let kept: Vec<u32> =
            (0u32..).zip(keep).filter_map(|(row, keep)| keep.then_some(row)).collect();
        if kept.is_empty() && keep.len() == cache.num_sequences() {
            return Ok(());
        }
        cache.retain(keep)?;
        let rows = Tensor::new(kept.as_slice(), hidden.device())?;
        self.state = Some((hidden.index_select(&rows, 0)?, cache));
        Ok(())
    }

    /// Gives every sequence its next token.
    ///
    /// # Errors
    /// [`Error::Batch`] if there isn't one token per sequence, or a sequence has reached the model's context.
    pub fn advance(&mut self, tokens: &[u32]) -> Result<()> {
        let Some((_, mut cache)) = self.state.take() else {
            return Ok(());
        };
        self.state = Some((self.decoder.decode_step(tokens, &mut cache, self.overlay)?, cache));
        Ok(())
    }
}
