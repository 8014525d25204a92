//! Weights in the block formats of GGUF, which stay as they are in memory and are widened where they are multiplied.
//!
//! A block holds 32 or 256 neighbours of a line with scales of their own. Every format can be widened 32 values at a
//! time, so a piece of a line costs no more than itself. The values are, bit for bit, those that candle gives.

use half::f16;

/// Values that are widened at a time.
pub const UNIT: usize = 32;

/// How a block of values is stored; names and layouts are ggml's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockFormat {
    /// 4.5 bits a value.
    Q4_0,
    /// 5 bits a value.
    Q4_1,
    /// 5.5 bits a value.
    Q5_0,
    /// 6 bits a value.
    Q5_1,
    /// 8.5 bits a value.
    Q8_0,
    /// 4.5 bits a value, blocks of 256.
    Q4K,
    /// 5.5 bits a value, blocks of 256.
    Q5K,
    /// 6.6 bits a value, blocks of 256.
    Q6K,
}

impl BlockFormat {
    /// Every format.
    pub const ALL: [Self; 8] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// Values of a block.
    pub const fn values(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of a block.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// Bytes of `values` values, which are whole blocks.
    pub const fn size(self, values: usize) -> usize {
        values / self.values() * self.bytes()
    }

    /// The values of a line from `first` on, as many as there is room for: both whole units.
    ///
    /// # Panics
    /// If they are no whole units, or outside of the line.
    pub fn widen(self, line: &[u8], first: usize, values: &mut [f32]) {
        assert!(first.is_multiple_of(UNIT) && values.len().is_multiple_of(UNIT));
        widen(self, line, first / UNIT, values);
    }
}

/// A block of some format.
trait Layout {
    const UNITS: usize;
    const BYTES: usize;

    /// The values of a unit of the block.
    fn unit(block: &[u8], unit: usize, values: &mut [f32; UNIT]);
}

simd! {
fn widen(format: BlockFormat, line: &[u8], first: usize, values: &mut [f32]) {
    match format {
        BlockFormat::Q4_0 => units::<Q4_0>(line, first, values),
        BlockFormat::Q4_1 => units::<Q4_1>(line, first, values),
        BlockFormat::Q5_0 => units::<Q5_0>(line, first, values),
        BlockFormat::Q5_1 => units::<Q5_1>(line, first, values),
        BlockFormat::Q8_0 => units::<Q8_0>(line, first, values),
        BlockFormat::Q4K => units::<Q4K>(line, first, values),
        BlockFormat::Q5K => units::<Q5K>(line, first, values),
        BlockFormat::Q6K => units::<Q6K>(line, first, values),
    }
}
}

#[inline(always)]
fn units<L: Layout>(line: &[u8], first: usize, values: &mut [f32]) {
    let (values, _) = values.as_chunks_mut::<UNIT>();
    for (unit, values) in (first..).zip(values) {
        let at = unit / L::UNITS * L::BYTES;
        L::unit(&line[at..at + L::BYTES], unit % L::UNITS, values);
    }
}

#[inline(always)]
fn half(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// The low half of each byte, then the high half.
#[inline(always)]
fn nibbles(bytes: &[u8], values: &mut [f32; UNIT], value: impl Fn(usize, u8) -> f32) {
    let bytes: &[u8; UNIT / 2] = bytes.first_chunk().expect("half a unit");
    for (i, byte) in bytes.iter().enumerate() {
        values[i] = value(i, byte & 0xf);
        values[i + UNIT / 2] = value(i + UNIT / 2, byte >> 4);
    }
}

struct Q4_0;
impl Layout for Q4_0 {
    const UNITS: usize = 1;
    const BYTES: usize = BlockFormat::Q4_0.bytes();

    #[inline(always)]
    fn unit(block: &[u8], _: usize, values: &mut [f32; UNIT]) {
        let scale = half(block, 0);
        nibbles(&block[2..], values, |_, q| f32::from(i16::from(q) - 8) * scale);
    }
}

struct Q4_1;
impl Layout for Q4_1 {
    const UNITS: usize = 1;
    const BYTES: usize = BlockFormat::Q4_1.bytes();

    #[inline(always)]
    fn unit(block: &[u8], _: usize, values: &mut [f32; UNIT]) {
        let (scale, least) = (half(block, 0), half(block, 2));
        nibbles(&block[4..], values, |_, q| f32::from(q) * scale + least);
    }
}

/// Bit i of a word, as the fifth bit of a value.
#[inline(always)]
fn fifth(word: u32, i: usize) -> u8 {
    ((word >> i & 1) << 4) as u8
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

struct Q5_0;
impl Layout for Q5_0 {
    const UNITS: usize = 1;
    const BYTES: usize = BlockFormat::Q5_0.bytes();

    #[inline(always)]
    fn unit(block: &[u8], _: usize, values: &mut [f32; UNIT]) {
        let (scale, high) = (half(block, 0), word(block, 2));
        let value = |i, q| f32::from(i16::from(q | fifth(high, i)) - 16) * scale;
        nibbles(&block[6..], values, value);
    }
}

struct Q5_1;
impl Layout for Q5_1 {
    const UNITS: usize = 1;
    const BYTES: usize = BlockFormat::Q5_1.bytes();

    #[inline(always)]
    fn unit(block: &[u8], _: usize, values: &mut [f32; UNIT]) {
        let (scale, least, high) = (half(block, 0), half(block, 2), word(block, 4));
        nibbles(&block[8..], values, |i, q| f32::from(q | fifth(high, i)) * scale + least);
    }
}

struct Q8_0;
impl Layout for Q8_0 {
    const UNITS: usize = 1;
    const BYTES: usize = BlockFormat::Q8_0.bytes();

    #[inline(always)]
    fn unit(block: &[u8], _: usize, values: &mut [f32; UNIT]) {
        let scale = half(block, 0);
        let bytes: &[u8; UNIT] = block[2..].first_chunk().expect("a unit");
        for (value, byte) in values.iter_mut().zip(bytes) {
            *value = f32::from(byte.cast_signed()) * scale;
        }
    }
}

/// Scale and least value of a unit, of 6 bits each, out of twelve bytes.
#[inline(always)]
fn scale_and_least(packed: &[u8], unit: usize) -> (u8, u8) {
    if unit < 4 {
        return (packed[unit] & 63, packed[unit + 4] & 63);
    }
    let (low, scale, least) = (packed[unit + 4], packed[unit - 4], packed[unit]);
    (low & 0xf | (scale >> 6) << 4, low >> 4 | (least >> 6) << 4)
}

/// What Q4K and Q5K begin with: the scale and the least value of a unit.
#[inline(always)]
fn head(block: &[u8], unit: usize) -> (f32, f32) {
    let (scale, least) = scale_and_least(&block[4..16], unit);
    (half(block, 0) * f32::from(scale), half(block, 2) * f32::from(least))
}

/// The four low bits of value i: two units share 32 bytes.
#[inline(always)]
fn low(bytes: &[u8; UNIT], unit: usize, i: usize) -> u8 {
    bytes[i] >> (4 * (unit % 2)) & 0xf
}

#[inline(always)]
fn bytes(block: &[u8], at: usize) -> &[u8; UNIT] {
    block[at..].first_chunk().expect("a unit")
}

struct Q4K;
impl Layout for Q4K {
    const UNITS: usize = 8;
    const BYTES: usize = BlockFormat::Q4K.bytes();

    #[inline(always)]
    fn unit(block: &[u8], unit: usize, values: &mut [f32; UNIT]) {
        let (scale, least) = head(block, unit);
        let four = bytes(block, 16 + unit / 2 * UNIT);
        for (i, value) in values.iter_mut().enumerate() {
            *value = scale * f32::from(low(four, unit, i)) - least;
        }
    }
}

struct Q5K;
impl Layout for Q5K {
    const UNITS: usize = 8;
    const BYTES: usize = BlockFormat::Q5K.bytes();

    #[inline(always)]
    fn unit(block: &[u8], unit: usize, values: &mut [f32; UNIT]) {
        let (scale, least) = head(block, unit);
        let (high, four) = (bytes(block, 16), bytes(block, 48 + unit / 2 * UNIT));
        for (i, value) in values.iter_mut().enumerate() {
            let five = low(four, unit, i) | (high[i] >> unit & 1) << 4;
            *value = scale * f32::from(five) - least;
        }
    }
}

struct Q6K;
impl Layout for Q6K {
    const UNITS: usize = 8;
    const BYTES: usize = BlockFormat::Q6K.bytes();

    #[inline(always)]
    fn unit(block: &[u8], unit: usize, values: &mut [f32; UNIT]) {
        // Units 0 to 3 are the first half of the block.
        let (half_at, quarter) = (unit / 4, unit % 4);
        let four = bytes(block, half_at * 64 + quarter % 2 * UNIT);
        let two = bytes(block, 128 + half_at * UNIT);
        let whole = half(block, 208);
        for part in 0..2 {
            let scale = block[192 + half_at * 8 + quarter * 2 + part].cast_signed();
            let scale = whole * f32::from(scale);
            for i in part * 16..(part + 1) * 16 {
                let low = four[i] >> (4 * (quarter / 2)) & 0xf;
                let six = low | (two[i] >> (2 * quarter) & 3) << 4;
                values[i] = scale * f32::from(six.cast_signed() - 32);
            }
        }
    }
}
