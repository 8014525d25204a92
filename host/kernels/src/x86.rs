//! The register tile in AVX-512 and AVX2 instructions.

use super::operands::{COLS, Operands, ROWS, Strided};
use super::view::Accumulate;
use std::arch::x86_64::*;
use std::sync::LazyLock;

/// Whether Intel made the processor. Asked once: a virtual machine answers slowly.
pub fn is_intel() -> bool {
    static IS_INTEL: LazyLock<bool> = LazyLock::new(|| {
        let maker = __cpuid(0);
        [maker.ebx, maker.edx, maker.ecx].map(u32::to_le_bytes).as_flattened() == b"GenuineIntel"
    });
    *IS_INTEL
}

/// Columns in vectors of sixteen.
type Sums<const V: usize> = [[__m512; V]; ROWS];

/// # Safety
/// c points at ROWS rows of V vectors, `stride` floats apart.
#[target_feature(enable = "avx512f")]
pub unsafe fn avx512<const V: usize>(
    into: Accumulate,
    operands: &[Operands],
    c: *mut f32,
    stride: usize,
) {
    // SAFETY: as the caller promises.
    unsafe { fetch::<V>(c, stride) };
    let mut sums = [[_mm512_setzero_ps(); V]; ROWS];
    for one in operands {
        // SAFETY: the constructors of operands checked their bounds.
        unsafe { add_floats(&one.strided(), &mut sums) };
    }
    // SAFETY: as the caller promises.
    unsafe { store(into, sums, c, stride) };
}

/// Products of bf16 pairs, and after them products of floats.
///
/// # Safety
/// c points at ROWS rows of COLS floats, `stride` apart.
#[target_feature(enable = "avx512f,avx512bf16")]
pub unsafe fn pairs(into: Accumulate, operands: &[Operands], c: *mut f32, stride: usize) {
    // SAFETY: as the caller promises.
    unsafe { fetch::<2>(c, stride) };
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for one in operands {
        match one {
            // SAFETY: the constructors of operands checked their bounds.
            Operands::F32(strided) => unsafe { add_floats(strided, &mut sums) },
            // SAFETY: as above.
            Operands::Pairs { left, right } => unsafe { add_pairs(left, right, &mut sums) },
        }
    }
    // SAFETY: as the caller promises.
    unsafe { store(into, sums, c, stride) };
}

/// Asks for the lines of C, so that they are there when the sums are stored: a tile is the
/// only one to touch them, and stores that wait for memory hold up the next tile.
///
/// # Safety
/// c points at ROWS rows of V vectors, `stride` floats apart.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn fetch<const V: usize>(c: *mut f32, stride: usize) {
    for row in 0..ROWS {
        for side in 0..V {
            // SAFETY: inside the tile, as the caller promises.
            let line = unsafe { c.add(row * stride + side * 16) };
            _mm_prefetch::<_MM_HINT_ET0>(line.cast());
        }
    }
}

/// # Safety
/// The operands are in bounds.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn add_floats<const V: usize>(strided: &Strided, into: &mut Sums<V>) {
    let &Strided { left, left_step, right, right_step, depth, .. } = strided;
    let mut sums = *into;
    // With steps the compiler knows, one pointer walks over a packed panel.
    if (left_step, right_step) == (ROWS, COLS) {
        let left = left[0];
        for p in 0..depth {
            // SAFETY: as the caller promises; packed rows lie one float apart.
            sums = unsafe {
                let a = std::array::from_fn(|row| left.add(p * ROWS + row));
                multiply(a, right.add(p * COLS), sums)
            };
        }
    } else {
        for p in 0..depth {
            // SAFETY: as the caller promises.
            sums = unsafe {
                let a = std::array::from_fn(|row| left[row].add(p * left_step));
                multiply(a, right.add(p * right_step), sums)
            };
        }
    }
    *into = sums;
}

/// # Safety
/// Every pointer on the left is at a float, the right one at V vectors.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn multiply<const V: usize>(
    left: [*const f32; ROWS],
    right: *const f32,
    mut sums: Sums<V>,
) -> Sums<V> {
    // SAFETY: as the caller promises.
    let b: [__m512; V] = std::array::from_fn(|v| unsafe { _mm512_loadu_ps(right.add(v * 16)) });
    for (sums, a) in sums.iter_mut().zip(left) {
        // SAFETY: as the caller promises.
        let a = _mm512_set1_ps(unsafe { *a });
        for (sum, b) in sums.iter_mut().zip(b) {
            *sum = _mm512_fmadd_ps(a, b, *sum);
        }
    }
    sums
}

/// # Safety
/// Both hold as many steps of packed pairs.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn add_pairs(left: &[u32], right: &[u32], into: &mut Sums<2>) {
    let mut sums = *into;
    let (left, _) = left.as_chunks::<ROWS>();
    let (right, _) = right.as_chunks::<COLS>();
    for (a, b) in left.iter().zip(right) {
        // SAFETY: b holds two vectors; every bit pattern is a vector of bf16.
        let b: [__m512bh; 2] = std::array::from_fn(|v| unsafe {
            std::mem::transmute(_mm512_loadu_si512(b.as_ptr().add(v * 16).cast()))
        });
        for (sums, a) in sums.iter_mut().zip(a) {
            // SAFETY: as above.
            let a: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(*a as i32)) };
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = _mm512_dpbf16_ps(*sum, a, b);
            }
        }
    }
    *into = sums;
}

/// # Safety
/// c points at ROWS rows of V vectors, `stride` floats apart.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store<const V: usize>(into: Accumulate, sums: Sums<V>, c: *mut f32, stride: usize) {
    for (row, sums) in sums.into_iter().enumerate() {
        for (side, sum) in sums.into_iter().enumerate() {
            // SAFETY: inside the tile, as the caller promises.
            unsafe {
                let c = c.add(row * stride + side * 16);
                let sum = match into {
                    Accumulate::Set => sum,
                    Accumulate::Add => _mm512_add_ps(_mm512_loadu_ps(c), sum),
                };
                _mm512_storeu_ps(c, sum);
            }
        }
    }
}

/// Quarters of half the rows and columns: sixteen registers hold one.
///
/// # Safety
/// c points at ROWS rows of `width` floats, `stride` apart.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn avx2(
    into: Accumulate,
    operands: &[Operands],
    width: usize,
    c: *mut f32,
    stride: usize,
) {
    for top in [0, ROWS / 2] {
        for side in (0..width).step_by(16) {
            let mut sums = [[_mm256_setzero_ps(); 2]; ROWS / 2];
            for strided in operands.iter().map(Operands::strided) {
                for p in 0..strided.depth {
                    // SAFETY: the constructors of operands checked their bounds.
                    let (low, high) = unsafe {
                        let right = strided.right.add(p * strided.right_step + side);
                        (_mm256_loadu_ps(right), _mm256_loadu_ps(right.add(8)))
                    };
                    for (row, sums) in sums.iter_mut().enumerate() {
                        // SAFETY: as above.
                        let a = unsafe { *strided.left[top + row].add(p * strided.left_step) };
                        let a = _mm256_set1_ps(a);
                        sums[0] = _mm256_fmadd_ps(a, low, sums[0]);
                        sums[1] = _mm256_fmadd_ps(a, high, sums[1]);
                    }
                }
            }
            for (row, sums) in sums.into_iter().enumerate() {
                for (half, sum) in sums.into_iter().enumerate() {
                    // SAFETY: inside the tile, as the caller promises.
                    unsafe {
                        let c = c.add((top + row) * stride + side + half * 8);
                        let sum = match into {
                            Accumulate::Set => sum,
                            Accumulate::Add => _mm256_add_ps(_mm256_loadu_ps(c), sum),
                        };
                        _mm256_storeu_ps(c, sum);
                    }
                }
            }
        }
    }
}
