//! Kernels on row-major f32 slices. Each is single-threaded; callers split rows,
//! sequences or heads over threads. The result of a row never depends on which
//! rows are computed with it, so no split can change a bit of the result.

#[macro_use]
pub(crate) mod simd;

pub(crate) mod attention;
pub(crate) mod exponent;
pub(crate) mod gated;
pub(crate) mod kernel;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod pack;
pub(crate) mod rotate;
pub(crate) mod skinny;
pub(crate) mod softmax;
