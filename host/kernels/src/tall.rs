//! Products of bf16 in tall tiles, TALL x COLS of C: on a processor with matrix tiles (AMX), whose
//! registers hold sixteen rows. Pairs on the right are packed as for the low tile; rows on the left
//! stay rows, rounded to bf16.

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::operands::{COLS, ROWS, SIDE, TALL};
use super::view::Accumulate;

/// Whether the processor has matrix registers, which compute what the manual says, and no instructions were
/// ruled out.
#[cfg(target_arch = "x86_64")]
pub fn is_fast() -> bool {
    use super::simd::{Level, level};
    use std::sync::OnceLock;
    static IS_FAST: OnceLock<bool> = OnceLock::new();
    level() == Level::Avx512 && *IS_FAST.get_or_init(|| amx::is_usable() && agrees())
}

/// Never on other processors.
#[cfg(not(target_arch = "x86_64"))]
pub fn is_fast() -> bool {
    false
}

/// A product by the registers, and as it is written down here.
#[cfg(target_arch = "x86_64")]
fn agrees() -> bool {
    let values = |count: usize, factor: usize| -> Vec<u32> {
        let half = |i: usize| ((i * factor % 251) as f32 / 125.0 - 1.0).to_bits() >> 16;
        (0..count).map(|i| half(2 * i) | half(2 * i + 1) << 16).collect()
    };
    let (stride, depth) = (3 * SIDE, 2 * SIDE);
    let (left, right) = (values(TALL * stride, 37), values(depth * COLS, 101));
    let operands = TallOperands::new(&left, stride, &right);
    let (mut found, mut expected) = (Sums::zero(), Sums::zero());
    amx::set_up();
    operands.add_by_registers(&mut found);
    amx::release();
    operands.add_portable(TALL, &mut expected);
    let mut pairs = found.0.iter().zip(&expected.0);
    pairs.all(|(found, expected)| (found - expected).abs() < 1e-4)
}

/// Rows of pairs as the left side of a tall tile, and a packed panel on the right.
#[derive(Clone, Copy)]
pub struct TallOperands<'a> {
    /// The first of a tile's rows.
    left: &'a [u32],
    /// Words from one row to the next.
    stride: usize,
    /// Whole steps of SIDE pairs, COLS columns of each; zeros beyond the depth.
    right: &'a [u32],
}

impl<'a> TallOperands<'a> {
    /// `left` holds TALL rows at least, of which those from the first on count; what lies on the right of
    /// the depth in them is finite or ends in the same sums.
    pub fn new(left: &'a [u32], stride: usize, right: &'a [u32]) -> Self {
        assert!(right.len().is_multiple_of(SIDE * COLS) && !right.is_empty());
        let depth = right.len() / COLS;
        assert!(depth <= stride && left.len() >= (TALL - 1) * stride + depth);
        Self { left, stride, right }
    }

    /// Adds the product of the first `rows` rows at least.
    pub fn add(&self, rows: usize, sums: &mut Sums) {
        #[cfg(target_arch = "x86_64")]
        if is_fast() {
            return self.add_by_registers(sums);
        }
        self.add_portable(rows, sums);
    }

    /// All rows, in matrix registers that are set up.
    #[cfg(target_arch = "x86_64")]
    fn add_by_registers(&self, sums: &mut Sums) {
        let steps = self.right.len() / (SIDE * COLS);
        let (left, right) = (self.left.as_ptr(), self.right.as_ptr());
        // SAFETY: the constructor checked the bounds of both; a `Session` is what operands are
        // multiplied in.
        unsafe { amx::add((left, self.stride), right, steps, &mut sums.0) };
    }

    /// What the instructions do, in their order: the first and the second of the pairs of a step in a chain
    /// of their own, both added to the sum. (They take subnormal values for zeros.)
    pub fn add_portable(&self, rows: usize, sums: &mut Sums) {
        let half = |word: u32| [word << 16, word & 0xffff_0000].map(f32::from_bits);
        let steps = self.right.chunks_exact(SIDE * COLS);
        for (step, right) in steps.enumerate() {
            for (row, sums) in sums.0.chunks_exact_mut(COLS).take(rows).enumerate() {
                let left = &self.left[row * self.stride + step * SIDE..][..SIDE];
                for (col, sum) in sums.iter_mut().enumerate() {
                    let mut chains = [0f32; 2];
                    for (pair, left) in left.iter().enumerate() {
                        let (a, b) = (half(*left), half(right[pair * COLS + col]));
                        for (chain, (a, b)) in chains.iter_mut().zip(a.into_iter().zip(b)) {
                            *chain = a.mul_add(b, *chain);
                        }
                    }
                    *sum += chains[0] + chains[1];
                }
            }
        }
    }
}

/// Sums of a tall tile, row by row.
#[repr(align(64))]
pub struct Sums(pub [f32; TALL * COLS]);

impl Sums {
    pub fn zero() -> Self {
        Self([0.0; TALL * COLS])
    }

    /// From one of its rows on: the low tile that begins there.
    pub fn low(&mut self, first: usize) -> *mut f32 {
        assert!(first.is_multiple_of(ROWS) && first < TALL);
        self.0[first * COLS..].as_mut_ptr()
    }

    /// Sets or adds the first rows and columns to C.
    ///
    /// # Safety
    /// c points at `rows` rows of `cols` floats, `stride` apart, that nothing else uses.
    pub unsafe fn store(
        &self,
        into: Accumulate,
        (rows, cols): (usize, usize),
        c: *mut f32,
        stride: usize,
    ) {
        assert!(rows <= TALL && cols <= COLS);
        for (row, sums) in self.0.chunks_exact(COLS).take(rows).enumerate() {
            // SAFETY: inside the tile, as the caller promises.
            let c = unsafe { std::slice::from_raw_parts_mut(c.add(row * stride), cols) };
            match into {
                Accumulate::Set => c.copy_from_slice(&sums[..cols]),
                Accumulate::Add => c.iter_mut().zip(sums).for_each(|(c, s)| *c += s),
            }
        }
    }
}

/// While it lasts, the matrix registers of this thread are set up, where there are any.
pub struct Session;

impl Session {
    pub fn begin() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_fast() {
            amx::set_up();
        }
        Self
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if is_fast() {
            amx::release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a processor with such registers computes is what is written down here: small whole numbers, whose sums
    /// are exact in any order.
    #[test]
    fn some_rows_and_all_are_exact_on_whole_numbers() {
        let (stride, depth) = (SIDE * 3, SIDE * 2);
        let number = |i: usize| (i * 7 % 13) as f32 - 6.0;
        let pair = |i: usize| {
            let [low, high] = [number(2 * i), number(2 * i + 1)].map(|x| x.to_bits() >> 16);
            low | high << 16
        };
        let left: Vec<u32> = (0..TALL * stride).map(pair).collect();
        let right: Vec<u32> = (0..depth * COLS).map(|i| pair(i + 5)).collect();
        let operands = TallOperands::new(&left, stride, &right);
        for rows in [1, SIDE, SIDE + 1, TALL] {
            let _session = Session::begin();
            let (mut sums, mut portable) = (Sums::zero(), Sums::zero());
            operands.add(rows, &mut sums);
            operands.add(rows, &mut sums);
            operands.add_portable(rows, &mut portable);
            for row in 0..rows {
                for col in 0..COLS {
                    let terms = (0..2 * depth).map(|p| {
                        let (pair, half) = (p / 2, p % 2);
                        number(2 * (row * stride + pair) + half)
                            * number(2 * (pair * COLS + col + 5) + half)
                    });
                    let exact: f32 = terms.sum();
                    assert_eq!(portable.0[row * COLS + col], exact, "{row} {col}");
                    assert_eq!(sums.0[row * COLS + col], 2.0 * exact, "{row} {col}");
                }
            }
        }
    }

    /// The instructions, where the processor lacks them done by a handler of the signal that they raise: bit for bit
    /// what is written down here, for any depth and stride.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[test]
    fn registers_have_the_bits_of_what_is_written_down() {
        if !amx::is_usable() {
            amx::emulated::install();
        }
        assert!(agrees());
        for (steps, stride) in [(1, SIDE), (2, 2 * SIDE), (3, 7 * SIDE), (64, 65 * SIDE)] {
            let values = |count: usize, factor: f32| -> Vec<u32> {
                let half = |i: usize| (i as f32 * factor).sin().to_bits() >> 16;
                (0..count).map(|i| half(2 * i) | half(2 * i + 1) << 16).collect()
            };
            let (left, right) = (values(TALL * stride, 0.37), values(steps * SIDE * COLS, 0.11));
            let operands = TallOperands::new(&left, stride, &right);
            let mut sums = Sums(std::array::from_fn(|i| (i as f32 * 0.7).cos()));
            let mut portable = Sums(sums.0);
            for _ in 0..2 {
                amx::set_up();
                operands.add_by_registers(&mut sums);
                amx::release();
                operands.add_portable(TALL, &mut portable);
            }
            assert_eq!(sums.0.map(f32::to_bits), portable.0.map(f32::to_bits), "{steps} {stride}");
        }
    }
}
