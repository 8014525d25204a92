//! The pull of the adapter into the alignment subspace (AsFT, arXiv 2506.08473).
//!
//! ```text
//! strength / 2 * sum over matrices of |(I - C) s B A|^2,  C = V V^T / |V|
//! ```
//!
//! With M = I - C, which is symmetric, the gradient is strength s^2 M M B (A A^T) by B and
//! strength s^2 (M B)^T (M B) A by A. Nothing as large as C is formed: M B = B - V (V^T B) / |V|.

use candle_core::{DType, Tensor};
use host_model::lora::{Lora, Pair};

use super::adapter_projection::{Changed, Subspaces, projection};
use crate::error::Result;
use crate::parameters::Layout;

impl Subspaces {
    /// Adds the gradient of the pull, and returns its value.
    pub fn pull(
        &self,
        adapter: &Lora,
        layout: &Layout,
        strength: f64,
        gradient: &mut [f32],
    ) -> Result<f64> {
        let mut value = 0.0;
        for Changed { change, norm, pair: Pair { a, b, scaling, .. } } in self.changed(adapter) {
            let strength = strength * scaling * scaling;
            let places = (layout.range(a), layout.range(b));
            let (a, b) = (a.as_detached_tensor(), b.as_detached_tensor());
            let outside =
                |b: &Tensor| -> Result<Tensor> { Ok((b - projection(change, norm, b)?)?) };
            let away = outside(&b)?;
            let (outer, inner) = (a.matmul(&a.t()?)?, away.t()?.matmul(&away)?);
            let square = (&inner * &outer)?.sum_all()?.to_scalar::<f32>()?;
            value += strength / 2.0 * f64::from(square);
            let by_b = outside(&away)?.matmul(&outer)?;
            let by_a = inner.matmul(&a)?;
            if let (Some(of_a), Some(of_b)) = places {
                add(&mut gradient[of_a], &by_a, strength)?;
                add(&mut gradient[of_b], &by_b, strength)?;
            }
        }
        Ok(value)
    }
}

fn add(gradient: &mut [f32], part: &Tensor, strength: f64) -> Result<()> {
    let part: Vec<f32> = part.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    for (gradient, value) in gradient.iter_mut().zip(part) {
        *gradient += (strength * f64::from(value)) as f32;
    }
    Ok(())
}
