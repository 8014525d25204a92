//! exp in f32 that vectorises: a few units in the last place from the exact value.

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts, the first with few bits, so that n * LN2_HIGH is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// 1.5 * 2^23: adding it rounds to a whole number that sits in the low bits.
const ROUNDER: f32 = 12_582_912.0;

/// e^x = 2^n e^r with |r| <= ln2 / 2 and a polynomial for e^r. Below -87 the
/// result is e^-87 (1.6e-38), above 88 it is e^88; NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Comparisons written so that NaN passes through.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    let e = (p * (r * r) + r) + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    e * power
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exp_is_within_three_units_in_the_last_place() {
        let mut worst = 0f64;
        for step in -870_000..880_000 {
            let x = step as f32 * 1e-4;
            let exact = f64::from(x).exp();
            worst = worst.max(((f64::from(exp(x)) - exact) / exact).abs());
        }
        assert!(worst < 2.0e-7, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }
}
