//! Kernels on row-major f32 slices. All but `product`, which splits its columns over
//! threads, are single-threaded; callers split rows, sequences or heads. The result of a
//! row never depends on which rows are computed with it, so no split can change a bit of
//! the result.

#[macro_use]
pub(crate) mod simd;

pub(crate) mod attention;
pub(crate) mod exponent;
pub(crate) mod gated;
pub(crate) mod half;
pub(crate) mod kernel;
pub(crate) mod left;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod pack;
pub(crate) mod pool;
pub(crate) mod product;
pub(crate) mod right;
pub(crate) mod rotate;
mod round;
pub(crate) mod skinny;
pub(crate) mod softmax;
pub(crate) mod turned;
