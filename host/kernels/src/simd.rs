//! Compiles a kernel for several instruction sets and picks one at run time, so
//! that a portable build still uses the machine's widest vectors.

use std::sync::atomic::{AtomicU8, Ordering};

/// Wraps `fn NAME(args) -> R { body }` in a dispatch over AVX-512, AVX2 and the
/// target's own set. The body is plain Rust that the compiler vectorises; all
/// versions round alike, because Rust never contracts a product and a sum.
macro_rules! simd {
    ($(#[$attr:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$attr])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn portable($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    portable($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    portable($($arg),*)
                }
                match $crate::simd::level() {
                    // SAFETY: the level was detected on this machine.
                    $crate::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::Level::Portable => {}
                }
            }
            portable($($arg),*)
        }
    };
}

/// What the machine can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Neither of them, or another architecture.
    Portable,
}

/// The widest instructions that kernels may use, if the machine has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Widest {
    /// AVX2 and FMA.
    Avx2,
    /// What every processor of the target has.
    Portable,
}

const ANY: u8 = 0;
static LIMIT: AtomicU8 = AtomicU8::new(ANY);

/// Keeps kernels from wider instructions, to measure what a lesser processor would do.
/// To be called before anything is computed.
pub fn limit_instructions(widest: Widest) {
    LIMIT.store(1 + widest as u8, Ordering::Relaxed);
}

/// Instructions that the kernels use in this process.
pub fn level() -> Level {
    const AVX2: u8 = 1 + Widest::Avx2 as u8;
    const PORTABLE: u8 = 1 + Widest::Portable as u8;
    let limit = LIMIT.load(Ordering::Relaxed);
    #[cfg(target_arch = "x86_64")]
    if limit != PORTABLE {
        if limit != AVX2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            return Level::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Level::Avx2;
        }
    }
    Level::Portable
}

/// Lanes of the partial sums that reductions keep: fixed, so that a sum has one
/// order on every machine.
pub const LANES: usize = 16;

/// Sums the lanes in a fixed tree.
#[inline(always)]
pub fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// sum over i of f(a_i, b_i), in lanes.
#[inline(always)]
pub fn sum_pairs<T: Copy>(a: &[f32], b: &[T], f: impl Fn(f32, T) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (heads_a, tail_a) = a.as_chunks::<LANES>();
    let (heads_b, tail_b) = b.as_chunks::<LANES>();
    for (x, y) in heads_a.iter().zip(heads_b) {
        for lane in 0..LANES {
            lanes[lane] += f(x[lane], y[lane]);
        }
    }
    for (lane, (x, y)) in tail_a.iter().zip(tail_b).enumerate() {
        lanes[lane] += f(*x, *y);
    }
    sum_lanes(lanes)
}
