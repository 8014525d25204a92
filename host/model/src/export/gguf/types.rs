//! Which format a tensor of a GGUF file is written in.

use candle_core::quantized::GgmlDType;

/// Number format of the matrices of a GGUF file; vectors are f32 in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgufType {
    /// 32 bits a value.
    F32,
    /// 16 bits.
    F16,
    /// 16 bits with the range of 32.
    Bf16,
    /// 8.5 bits.
    Q8_0,
    /// 6.6 bits, in blocks of 256.
    Q6K,
    /// 5.5 bits, in blocks of 256.
    Q5K,
    /// 4.5 bits, in blocks of 256.
    Q4K,
}

impl GgufType {
    /// The format of candle.
    fn dtype(self) -> GgmlDType {
        match self {
            Self::F32 => GgmlDType::F32,
            Self::F16 => GgmlDType::F16,
            Self::Bf16 => GgmlDType::BF16,
            Self::Q8_0 => GgmlDType::Q8_0,
            Self::Q6K => GgmlDType::Q6K,
            Self::Q5K => GgmlDType::Q5K,
            Self::Q4K => GgmlDType::Q4K,
        }
    }

    /// `general.file_type`, as llama.cpp numbers what most tensors are.
    pub fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Bf16 => 32,
            Self::Q8_0 => 7,
            Self::Q6K => 18,
            Self::Q5K => 16,
            Self::Q4K => 14,
        }
    }

    /// `--quantize`
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q6K => "q6_k",
            Self::Q5K => "q5_k",
            Self::Q4K => "q4_k",
        }
    }

    fn is_k(self) -> bool {
        matches!(self, Self::Q6K | Self::Q5K | Self::Q4K)
    }

    /// Whether a matrix in `dtype` is in the format that was asked for.
    pub fn is_meant(self, dtype: GgmlDType) -> bool {
        dtype == self.dtype() || (self.is_k() && dtype == GgmlDType::Q6K)
    }

    /// The format of a tensor of this shape, as llama.cpp's simple mixes have it: the head in 6.6 bits where others have
    /// fewer, lines that aren't made of whole blocks in a format with smaller blocks.
    pub fn of(self, shape: &[usize], is_head: bool) -> GgmlDType {
        let &[.., _, columns] = shape else { return GgmlDType::F32 };
        let wanted = if self.is_k() && is_head { GgmlDType::Q6K } else { self.dtype() };
        let fits = |kind: &GgmlDType| columns.is_multiple_of(kind.block_size());
        [wanted, GgmlDType::Q8_0, GgmlDType::F16].into_iter().find(fits).unwrap_or(GgmlDType::F16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_whole_blocks_get_smaller_ones() {
        let kinds = |columns: usize| {
            let kind = |wanted: GgufType| wanted.of(&[8, columns], false);
            [GgufType::Q4K, GgufType::Q8_0, GgufType::F16, GgufType::F32].map(kind)
        };
        use GgmlDType::{F16, F32, Q4K, Q8_0};
        assert_eq!(kinds(512), [Q4K, Q8_0, F16, F32]);
        assert_eq!(kinds(576), [Q8_0, Q8_0, F16, F32]);
        assert_eq!(kinds(40), [F16, F16, F16, F32]);
        assert_eq!(GgufType::Q4K.of(&[512], false), F32);
        assert_eq!(GgufType::Q4K.of(&[4, 8, 512], false), Q4K);
        assert_eq!(GgufType::Q4K.of(&[8, 512], true), GgmlDType::Q6K);
        assert_eq!(GgufType::Q8_0.of(&[8, 512], true), Q8_0);
    }
}
