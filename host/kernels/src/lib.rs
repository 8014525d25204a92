//! Kernels on row-major f32 slices. All but `product`, which splits its columns over
//! threads, are single-threaded; callers split rows, sequences or heads. The result of a
//! row never depends on which rows are computed with it, so no split can change a bit of
//! the result.

#[macro_use]
pub mod simd;

pub mod attention;
pub mod exponent;
pub mod gated;
pub mod half;
pub mod kernel;
pub mod left;
pub mod matmul;
pub mod norm;
pub mod pack;
pub mod pool;
pub mod product;
pub mod right;
pub mod rotate;
mod round;
pub mod skinny;
pub mod softmax;
pub mod turned;
