//! Tensors on the CPU as slices, without a copy.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Storage, Tensor};

use crate::error::{Error, Result};
use crate::matrix::Matrix;
use host_kernels::right::{Blocks, Weight};

/// The values of a contiguous f32 tensor on the CPU, row-major.
pub(crate) struct Values<'a> {
    /// candle's read lock, whose type it does not name.
    storage: Box<dyn Deref<Target = Storage> + Sync + 'a>,
    range: Range<usize>,
}

impl<'a> Values<'a> {
    /// Errors if the tensor is not contiguous, not f32 or not on the CPU.
    pub fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let range = layout.contiguous_offsets();
        match (&*storage, range) {
            (Storage::Cpu(CpuStorage::F32(_)), Some((start, end))) => {
                Ok(Self { storage: Box::new(storage), range: start..end })
            }
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

/// The values of a matrix on the CPU, row-major: contiguous f32 or bf16, or blocks.
pub(crate) enum MatrixValues<'a> {
    Dense { storage: Box<dyn Deref<Target = Storage> + Sync + 'a>, range: Range<usize> },
    Blocks(Blocks<'a>),
}

impl<'a> MatrixValues<'a> {
    /// Errors if the matrix is not contiguous, of another type or not on the CPU.
    pub fn of(matrix: &'a Matrix) -> Result<Self> {
        let tensor = match matrix {
            Matrix::Dense(tensor) => tensor,
            Matrix::Quantized(quantized) => {
                return quantized.blocks().map(Self::Blocks).ok_or_else(|| Error::Kernels {
                    kernels: "fused",
                    problem: "a matrix in blocks is not on the CPU".into(),
                    action: "choose the plain kernels".into(),
                });
            }
        };
        let (storage, layout) = tensor.storage_and_layout();
        let range = layout.contiguous_offsets();
        match (&*storage, range) {
            (Storage::Cpu(CpuStorage::F32(_) | CpuStorage::BF16(_)), Some((start, end))) => {
                Ok(Self::Dense { storage: Box::new(storage), range: start..end })
            }
            _ => Err(Error::Kernels {
                kernels: "fused",
                problem: format!("a weight {tensor:?} is not contiguous f32 or bf16 on the CPU"),
                action: "convert it, or choose the plain kernels".into(),
            }),
        }
    }

    pub fn weight(&self) -> Weight<'_> {
        match self {
            Self::Blocks(blocks) => Weight::Blocks(*blocks),
            Self::Dense { storage, range } => match &***storage {
                Storage::Cpu(CpuStorage::F32(values)) => Weight::F32(&values[range.clone()]),
                Storage::Cpu(CpuStorage::BF16(values)) => Weight::Bf16(&values[range.clone()]),
                _ => unreachable!("checked in MatrixValues::of"),
            },
        }
    }
}
