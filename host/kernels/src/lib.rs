//! Kernels on row-major f32 slices. All but `product`, which splits its columns over
//! threads, are single-threaded; callers split rows, sequences or heads. The result of a
//! row never depends on which rows are computed with it, so no split can change a bit of
//! the result.
#![warn(missing_docs)]
#![allow(unsafe_code)]

#[macro_use]
pub mod simd;

#[cfg(target_arch = "x86_64")]
mod amx;
pub mod attention;
mod bfloat;
mod block_view;
pub mod blocks;
pub mod cached;
mod depth_block;
mod exponent;
pub mod gated;
pub mod low_rank;
pub mod matmul;
pub mod norm;
mod operands;
mod pack;
pub mod packed_lhs;
pub mod pool;
pub mod product;
pub mod right;
pub mod rotate;
pub mod route;
pub mod skinny;
pub mod softmax;
mod tall;
mod tile;
pub mod view;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use bfloat::{Multiplied, multiplied, multiplied_floats, split_floats};
