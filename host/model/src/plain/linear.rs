//! Products with frozen weights. candle's own would make a gradient for the weight as
//! well, at half again the work and once more the memory of the model.

use candle_core::op::Add;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp3, DType, Layout, Result, Shape, Tensor,
};

use super::factors::Pair;
use crate::lora;
use crate::operation::{StorageKind, ternary, wide, wide_type};
use crate::weights::Linear;

/// y = x W^T + b + scaling (x A^T) B^T of rows [rows, in], in at least single precision: products
/// are in the type of x, their sum isn't rounded to it, or the small part of a fresh adapter would be lost.
/// A and B are rounded to the type of x, and their gradients leave in the type of A and B. The adapter takes
/// x times `mask`, if there is one. With magnitudes every column of that without b is
/// multiplied by m / |W + scaling B A| of its row, which is a constant but for m (DoRA, section 4.3).
pub(super) fn linear(
    x: &Tensor,
    linear: &Linear,
    pair: Option<&Pair>,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    scaled(linear, pair, |linear| sum(x, linear, pair, mask))
}

/// The same in the type of x, for what goes into a product as it is: the sum is made before it is
/// rounded, within one product of [x, scaling x A^T] and [W, B]. That copies W.
pub(super) fn rounded(
    x: &Tensor,
    linear: &Linear,
    pair: Option<&Pair>,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    let y = match pair {
        Some(pair) if x.dtype() != wide_type(x.dtype()) => {
            let low = low(x, pair, mask)?;
            scaled(linear, Some(pair), |linear| joined(x, &low, &pair.b, linear))
        }
        _ => self::linear(x, linear, pair, mask),
    };
    y?.to_dtype(x.dtype())
}

/// y = x W^T + b of rows [rows, in], in the type of x.
pub(super) fn frozen(x: &Tensor, linear: &Linear) -> Result<Tensor> {
    x.apply_op1(Frozen { linear: linear.clone(), result: x.dtype() })
}

/// What `sum` makes of a projection, with the magnitudes of its pair if it has some.
fn scaled(
    linear: &Linear,
    pair: Option<&Pair>,
    sum: impl FnOnce(Linear) -> Result<Tensor>,
) -> Result<Tensor> {
    let Some(Pair { a, b, magnitude: Some(magnitude), scaling }) = pair else {
        return sum(linear.clone());
    };
    let bare = Linear { weight: linear.weight.clone(), bias: None };
    let updated = lora::updated(&linear.weight.tensor()?, [a, b], *scaling)?;
    let gain = (magnitude.to_dtype(updated.dtype())? / lora::lengths(&updated)?)?;
    let y = wide(&sum(bare)?)?.broadcast_mul(&gain)?;
    match &linear.bias {
        Some(bias) => y.broadcast_add(&wide(bias)?),
        None => Ok(y),
    }
}

/// x W^T + b + scaling (x A^T) B^T
fn sum(x: &Tensor, linear: Linear, pair: Option<&Pair>, mask: Option<&Tensor>) -> Result<Tensor> {
    let frozen = Frozen { linear, result: wide_type(x.dtype()) };
    match (pair, mask) {
        (None, _) => x.apply_op1(frozen),
        (Some(Pair { a, b, scaling, .. }), None) => {
            let scaling = *scaling;
            x.apply_op3(a, b, Adapted { frozen, scaling })
        }
        (Some(pair), Some(_)) => {
            let y = x.apply_op1(frozen)?;
            let b = pair.b.to_dtype(x.dtype())?;
            y + wide(&low(x, pair, mask)?.matmul(&b.t()?)?)?
        }
    }
}

/// scaling (x A^T) of x times `mask`, if there is one.
fn low(x: &Tensor, pair: &Pair, mask: Option<&Tensor>) -> Result<Tensor> {
    let a = pair.a.to_dtype(x.dtype())?.t()?;
    let product = match mask {
        Some(mask) => (x * mask)?.matmul(&a)?,
        None => x.matmul(&a)?,
    };
    product * pair.scaling
}

/// x W^T + b + low B^T, rounded once.
fn joined(x: &Tensor, low: &Tensor, b: &Tensor, linear: Linear) -> Result<Tensor> {
    let dtype = x.dtype();
    let right = [linear.weight.tensor()?, b.detach().to_dtype(dtype)?];
    let left = Tensor::cat(&[x.detach(), low.detach()], 1)?;
    let y = left.matmul(&Tensor::cat(&right, 1)?.t()?)?;
    let y = match &linear.bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    ternary([x, low, b], y, move |[_, low, b], g| {
        let g = g.contiguous()?;
        let of_x = g.matmul(&linear.weight.tensor()?)?;
        let of_low = g.matmul(&b.to_dtype(dtype)?)?;
        Ok([of_x, of_low, g.t()?.matmul(low)?.to_dtype(b.dtype())?])
    })
}

struct Frozen {
    linear: Linear,
    /// The type of the result.
    result: DType,
}

impl Frozen {
    fn forward<S: StorageKind>(&self, x: &S, lx: &Layout) -> Result<(S, Layout)> {
        let weight = self.linear.weight.tensor()?;
        let (weight, lw) = weight.storage_and_layout();
        let (y, ly) = product(x, lx, S::of(&weight)?, lw)?;
        let y = cast(y, &ly, self.result)?;
        let Some(bias) = &self.linear.bias else {
            return Ok((y, ly));
        };
        let bias = bias.to_dtype(self.result)?;
        let (bias, lb) = bias.storage_and_layout();
        let y = y.binary_impl::<Add>(S::of(&bias)?, &ly, &lb.broadcast_as(ly.shape())?)?;
        Ok((y, ly))
    }

    /// g in the type of x.
    fn backward(&self, g: &Tensor) -> Result<Tensor> {
        g.matmul(&self.linear.weight.tensor()?)
    }
}

fn cast<S: StorageKind>(values: S, layout: &Layout, dtype: DType) -> Result<S> {
    if values.dtype() == dtype { Ok(values) } else { values.to_dtype(layout, dtype) }
}

/// x [m, k] times the transpose of w [n, k].
fn product<S: StorageKind>(x: &S, lx: &Layout, w: &S, lw: &Layout) -> Result<(S, Layout)> {
    let ((m, k), (n, _)) = (lx.shape().dims2()?, lw.shape().dims2()?);
    let y = x.matmul(w, (1, m, n, k), lx, &lw.transpose(0, 1)?)?;
    Ok((y, Layout::contiguous((m, n))))
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "frozen"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let (y, ly) = self.forward(x, lx)?;
        Ok((y, ly.shape().clone()))
    }

    fn cuda_fwd(&self, x: &CudaStorage, lx: &Layout) -> Result<(CudaStorage, Shape)> {
        let (y, ly) = self.forward(x, lx)?;
        Ok((y, ly.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        self.backward(&g.to_dtype(x.dtype())?.contiguous()?).map(Some)
    }
}

/// A frozen projection with an adapter beside it.
struct Adapted {
    frozen: Frozen,
    scaling: f64,
}

impl Adapted {
    fn forward<S: StorageKind>(
        &self,
        (x, lx): (&S, &Layout),
        (a, la): (&S, &Layout),
        (b, lb): (&S, &Layout),
    ) -> Result<(S, Shape)> {
        let (y, ly) = self.frozen.forward(x, lx)?;
        let rounded = |m: &S, layout: &Layout| -> Result<(S, Layout)> {
            let like_x = m.to_dtype(layout, x.dtype())?;
            Ok((like_x, Layout::contiguous(layout.shape())))
        };
        let ((a, la), (b, lb)) = (rounded(a, la)?, rounded(b, lb)?);
        let (low, ll) = product(x, lx, &a, &la)?;
        let low = low.affine(&ll, self.scaling, 0.0)?;
        let (moved, lm) = product(&low, &ll, &b, &lb)?;
        let moved = cast(moved, &lm, self.frozen.result)?;
        let y = y.binary_impl::<Add>(&moved, &ly, &lm)?;
        Ok((y, ly.shape().clone()))
    }
}

impl CustomOp3 for Adapted {
    fn name(&self) -> &'static str {
        "adapted"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        a: &CpuStorage,
        la: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((x, lx), (a, la), (b, lb))
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        a: &CudaStorage,
        la: &Layout,
        b: &CudaStorage,
        lb: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.forward((x, lx), (a, la), (b, lb))
    }

    /// dx = g W + dz A, dA = dz^T x, dB = g^T z, with z = scaling x A^T and
    /// dz = scaling g B.
    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (x, g) = (x.detach(), g.to_dtype(x.dtype())?.contiguous()?);
        let stored = a.dtype();
        let a = a.detach().to_dtype(x.dtype())?;
        let b = b.detach().to_dtype(x.dtype())?;
        let z = (x.matmul(&a.t()?)? * self.scaling)?;
        let dz = (g.matmul(&b)? * self.scaling)?;
        let dx = (self.frozen.backward(&g)? + dz.matmul(&a)?)?;
        let da = dz.t()?.matmul(&x)?.to_dtype(stored)?;
        let db = g.t()?.matmul(&z)?.to_dtype(stored)?;
        Ok((Some(dx), Some(da), Some(db)))
    }
}
