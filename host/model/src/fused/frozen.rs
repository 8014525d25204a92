//! Read access to frozen weights without a copy.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Storage, Tensor};

use crate::error::{Error, Result};

/// The values of a contiguous f32 tensor on the CPU, row-major.
pub(crate) struct Values<'a> {
    /// candle's read lock, whose type it does not name.
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    range: Range<usize>,
}

impl<'a> Values<'a> {
    /// Errors if the tensor is not contiguous, not f32 or not on the CPU.
    pub fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let range = layout.contiguous_offsets();
        match (&*storage, range) {
            (Storage::Cpu(CpuStorage::F32(_)), Some((start, end))) => Ok(Self {
                storage: Box::new(storage),
                range: start..end,
            }),
            _ => Err(Error::Kernels {
                kernels: "fused",
                problem: format!("a tensor {:?} is not contiguous f32 on the CPU", tensor),
                action: "convert it, or choose the plain kernels".into(),
            }),
        }
    }
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &**self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.clone()],
            _ => unreachable!("checked in Values::of"),
        }
    }
}
