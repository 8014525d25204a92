//! What the reference holds of one sample, in memory and as the bytes of a file.
//!
//! A file is a SHA-256 and a safetensors buffer (`hidden`, `tap.0`, `tap.1`, ...). The
//! hash is over the entry's name and the buffer, so a damaged, torn or renamed file is
//! found out.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::signals::taps::SampleTaps;

/// What the reference holds of one sample.
#[derive(Debug)]
pub struct ReferenceOutputs {
    /// Final hidden states of the rows that predict answer tokens:
    /// answer tokens x hidden, detached.
    pub hidden: Tensor,
    pub taps: SampleTaps,
}

const HASH_BYTES: usize = 32;
const HIDDEN: &str = "hidden";

impl ReferenceOutputs {
    /// Bytes of the values.
    pub fn size(&self) -> u64 {
        let taps: usize = self.taps.iter().map(Vec::len).sum();
        let hidden = self.hidden.elem_count() * self.hidden.dtype().size_in_bytes();
        (hidden + taps * size_of::<f32>()) as u64
    }

    /// An answer of the reference's own in the place of hidden states.
    pub fn of_answer(answer: &[u32]) -> Result<Self> {
        Ok(Self { hidden: Tensor::new(answer, &Device::Cpu)?, taps: SampleTaps::new() })
    }

    /// The answer of an entry that holds one.
    pub fn answer(&self) -> Option<Vec<u32>> {
        self.hidden.to_vec1().ok()
    }

    /// The content of the entry's file.
    pub fn to_bytes(&self, name: &str) -> Result<Vec<u8>> {
        let mut tensors = vec![(HIDDEN.to_owned(), self.hidden.clone())];
        for (index, values) in self.taps.iter().enumerate() {
            tensors.push((tap(index), Tensor::new(values.as_slice(), &Device::Cpu)?));
        }
        let buffer = safetensors::serialize(tensors, None)
            .map_err(|error| Error::from(candle_core::Error::from(error)))?;
        Ok([hash(name, &buffer).as_slice(), &buffer].concat())
    }

    /// The entry of a file's content; None if it isn't what was written under this name.
    pub fn from_bytes(name: &str, bytes: &[u8], device: &Device) -> Option<Self> {
        let (found, buffer) = bytes.split_at_checked(HASH_BYTES)?;
        if found != hash(name, buffer) {
            return None;
        }
        let mut tensors = candle_core::safetensors::load_buffer(buffer, device).ok()?;
        let hidden = tensors.remove(HIDDEN)?;
        let taps = (0..tensors.len()).map(|index| take(&mut tensors, index));
        Some(Self { hidden, taps: taps.collect::<Option<_>>()? })
    }
}

fn tap(index: usize) -> String {
    format!("tap.{index}")
}

fn take(tensors: &mut HashMap<String, Tensor>, index: usize) -> Option<Vec<f32>> {
    tensors.remove(&tap(index))?.to_vec1().ok()
}

fn hash(name: &str, buffer: &[u8]) -> [u8; HASH_BYTES] {
    let mut hasher = Sha256::new();
    hasher.update(name);
    hasher.update(buffer);
    hasher.finalize().into()
}
