//! The frozen matrices of a decoder: dense, or in the blocks of a quantized file.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Result, Tensor, bail};
use host_kernels::packed_lhs::Format;
use host_kernels::right::Blocks;

pub use host_kernels::blocks::BlockFormat;

/// A frozen matrix [out, in].
#[derive(Debug, Clone)]
pub enum Matrix {
    /// Every value in the type of the decoder.
    Dense(Tensor),
    /// As blocks, which are widened to the type of the decoder where they are multiplied.
    Quantized(Quantized),
}

/// A matrix [out, in] in blocks along its lines.
#[derive(Debug, Clone)]
pub struct Quantized {
    held: Arc<Place>,
    format: BlockFormat,
    shape: (usize, usize),
    wide: DType,
}

#[derive(Debug)]
enum Place {
    /// On the CPU, line by line.
    Host(Vec<u8>),
    Device(QTensor),
}

impl From<Tensor> for Matrix {
    fn from(tensor: Tensor) -> Self {
        Self::Dense(tensor)
    }
}

impl Matrix {
    /// [out, in]
    ///
    /// # Errors
    /// A tensor that is no matrix.
    pub fn dims2(&self) -> Result<(usize, usize)> {
        match self {
            Self::Dense(tensor) => tensor.dims2(),
            Self::Quantized(quantized) => Ok(quantized.shape),
        }
    }

    /// The type of its values where they are multiplied.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Dense(tensor) => tensor.dtype(),
            Self::Quantized(quantized) => quantized.wide,
        }
    }

    /// Where it is.
    pub fn device(&self) -> Device {
        match self {
            Self::Dense(tensor) => tensor.device().clone(),
            Self::Quantized(quantized) => match &*quantized.held {
                Place::Host(_) => Device::Cpu,
                Place::Device(tensor) => tensor.device(),
            },
        }
    }

    /// How its values are held.
    pub fn format(&self) -> Option<BlockFormat> {
        match self {
            Self::Dense(_) => None,
            Self::Quantized(quantized) => Some(quantized.format),
        }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Dense(tensor) => tensor.elem_count() * tensor.dtype().size_in_bytes(),
            Self::Quantized(quantized) => {
                quantized.format.size(quantized.shape.0 * quantized.shape.1)
            }
        }
    }

    /// All values in [`Matrix::dtype`]: the tensor itself where it is dense.
    ///
    /// # Errors
    /// Those of the device.
    pub fn tensor(&self) -> Result<Tensor> {
        match self {
            Self::Dense(tensor) => Ok(tensor.clone()),
            Self::Quantized(quantized) => quantized.tensor(),
        }
    }

    /// The squared length of every line [out], summed in double precision in one order.
    ///
    /// # Errors
    /// Those of the device.
    pub fn square_lengths(&self) -> Result<Vec<f64>> {
        let lines =
            self.tensor()?.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        let square = |line: &Vec<f32>| line.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        Ok(lines.iter().map(square).collect())
    }

    /// Lines by number, in [`Matrix::dtype`]: [numbers, in].
    ///
    /// # Errors
    /// A number that is no line, and those of the device.
    pub fn select(&self, lines: &[u32]) -> Result<Tensor> {
        let ids = |device: &Device| Tensor::new(lines, device);
        match self {
            Self::Dense(tensor) => tensor.index_select(&ids(tensor.device())?, 0),
            Self::Quantized(quantized) => match &*quantized.held {
                Place::Device(tensor) => {
                    tensor.embedding(&ids(&tensor.device())?)?.to_dtype(quantized.wide)
                }
                Place::Host(bytes) => {
                    let (count, input) = quantized.shape;
                    let mut values = vec![0f32; lines.len() * input];
                    for (line, values) in lines.iter().zip(values.chunks_exact_mut(input)) {
                        let line = *line as usize;
                        if line >= count {
                            bail!("line {line} of a matrix of {count}");
                        }
                        let size = quantized.format.size(input);
                        let line = &bytes[line * size..(line + 1) * size];
                        quantized.format.widen(line, 0, values);
                    }
                    let values = Tensor::from_vec(values, (lines.len(), input), &Device::Cpu)?;
                    values.to_dtype(quantized.wide)
                }
            },
        }
    }

    /// The `count` lines from `first` on, copied: a slice would keep the whole alive.
    ///
    /// # Errors
    /// Lines that aren't there; a matrix in blocks that is on a device already.
    pub fn lines(&self, first: usize, count: usize) -> Result<Self> {
        match self {
            Self::Dense(tensor) => Ok(tensor.narrow(0, first, count)?.force_contiguous()?.into()),
            Self::Quantized(quantized) => {
                Ok(Self::Quantized(quantized.pick(first..first + count)?))
            }
        }
    }

    /// The same, laid out line by line in memory.
    ///
    /// # Errors
    /// Those of the device.
    pub fn contiguous(&self) -> Result<Self> {
        match self {
            Self::Dense(tensor) => Ok(Self::Dense(tensor.contiguous()?)),
            Self::Quantized(_) => Ok(self.clone()),
        }
    }

    /// The same in blocks of a format, on its device.
    ///
    /// # Errors
    /// A line that isn't made of whole blocks.
    pub fn quantize(&self, format: BlockFormat) -> Result<Self> {
        let (shape, wide, device) = (self.dims2()?, self.dtype(), self.device());
        let tensor = self.tensor()?.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
        let blocks = QTensor::quantize(&tensor, ggml(format))?;
        let quantized = Quantized::new(blocks.data()?.into_owned(), format, shape, wide)?;
        quantized.to_device(&device)
    }
}

impl Quantized {
    /// `bytes` are the lines of a matrix [out, in] on the CPU.
    ///
    /// # Errors
    /// Bytes that aren't as many as the shape says, or lines that aren't made of whole blocks.
    pub fn new(
        bytes: Vec<u8>,
        format: BlockFormat,
        shape: (usize, usize),
        wide: DType,
    ) -> Result<Self> {
        let (out, input) = shape;
        if input % format.values() != 0 || bytes.len() != out * format.size(input) {
            bail!("{} bytes are no {format:?} of {out} lines of {input} values", bytes.len());
        }
        Ok(Self { held: Arc::new(Place::Host(bytes)), format, shape, wide })
    }

    /// [out, in]
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// On a device, where candle's own kernels widen it.
    ///
    /// # Errors
    /// Those of the device.
    pub fn to_device(self, device: &Device) -> Result<Matrix> {
        let Place::Host(bytes) = &*self.held else {
            bail!("a matrix in blocks is moved to a device once");
        };
        if device.is_cpu() {
            return Ok(Matrix::Quantized(self));
        }
        let storage = QStorage::from_data(Cow::Borrowed(bytes), device, ggml(self.format))?;
        let held = Arc::new(Place::Device(QTensor::new(storage, self.shape)?));
        Ok(Matrix::Quantized(Self { held, ..self }))
    }

    /// Lines in another order, or some of them.
    ///
    /// # Errors
    /// Lines that aren't there; a matrix that is on a device already.
    pub fn pick(&self, lines: impl IntoIterator<Item = usize>) -> Result<Self> {
        let Place::Host(bytes) = &*self.held else {
            bail!("lines of a matrix in blocks are picked on the CPU");
        };
        let size = self.format.size(self.shape.1);
        let mut picked = Vec::new();
        for line in lines {
            let Some(line) = bytes.get(line * size..(line + 1) * size) else {
                bail!("line {line} of a matrix of {}", self.shape.0);
            };
            picked.extend_from_slice(line);
        }
        let shape = (picked.len() / size, self.shape.1);
        Self::new(picked, self.format, shape, self.wide)
    }

    fn tensor(&self) -> Result<Tensor> {
        match &*self.held {
            Place::Device(tensor) => tensor.dequantize(&tensor.device())?.to_dtype(self.wide),
            Place::Host(bytes) => {
                let mut values = vec![0f32; self.shape.0 * self.shape.1];
                self.format.widen(bytes, 0, &mut values);
                Tensor::from_vec(values, self.shape, &Device::Cpu)?.to_dtype(self.wide)
            }
        }
    }

    /// For the kernels; none where it isn't on the CPU.
    pub(crate) fn blocks(&self) -> Option<Blocks<'_>> {
        match &*self.held {
            Place::Device(_) => None,
            Place::Host(bytes) => {
                let wide = if self.wide == DType::BF16 { Format::Bf16 } else { Format::F32 };
                Some(Blocks { format: self.format, bytes, wide })
            }
        }
    }
}

/// The name of a format in candle.
pub(crate) fn ggml(format: BlockFormat) -> GgmlDType {
    match format {
        BlockFormat::Q4_0 => GgmlDType::Q4_0,
        BlockFormat::Q4_1 => GgmlDType::Q4_1,
        BlockFormat::Q5_0 => GgmlDType::Q5_0,
        BlockFormat::Q5_1 => GgmlDType::Q5_1,
        BlockFormat::Q8_0 => GgmlDType::Q8_0,
        BlockFormat::Q4K => GgmlDType::Q4K,
        BlockFormat::Q5K => GgmlDType::Q5K,
        BlockFormat::Q6K => GgmlDType::Q6K,
    }
}

/// The format of a type of candle, where the kernels know it.
pub(crate) fn block_format(dtype: GgmlDType) -> Option<BlockFormat> {
    BlockFormat::ALL.into_iter().find(|format| ggml(*format) == dtype)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bits(tensor: &Tensor) -> Vec<u32> {
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn every_format_is_widened_to_the_bits_of_candle() {
        let values: Vec<f32> =
            (0..6 * 512).map(|i| (i as f32 * 0.37).sin() * (1.0 + i as f32 * 1e-3)).collect();
        let exact = Tensor::from_vec(values, (6, 512), &Device::Cpu).unwrap();
        for format in BlockFormat::ALL {
            let theirs = QTensor::quantize(&exact, ggml(format)).unwrap();
            let theirs = theirs.dequantize(&Device::Cpu).unwrap();
            let ours = Matrix::Dense(exact.clone()).quantize(format).unwrap();
            assert_eq!(bits(&ours.tensor().unwrap()), bits(&theirs), "{format:?}");
            assert_eq!(ours.bytes(), format.size(6 * 512));
            assert_eq!(block_format(ggml(format)), Some(format));
            let some = ours.select(&[4, 0]).unwrap();
            let rows = |list: &[u32]| {
                theirs.index_select(&Tensor::new(list, &Device::Cpu).unwrap(), 0).unwrap()
            };
            assert_eq!(bits(&some), bits(&rows(&[4, 0])), "{format:?}");
            let lines = ours.lines(2, 3).unwrap();
            assert_eq!(lines.dims2().unwrap(), (3, 512));
            assert_eq!(bits(&lines.tensor().unwrap()), bits(&rows(&[2, 3, 4])), "{format:?}");
            assert!(ours.select(&[6]).is_err() && ours.lines(5, 2).is_err());
        }
    }

    #[test]
    fn a_line_is_made_of_whole_blocks() {
        let narrow = Matrix::Dense(Tensor::zeros((2, 96), DType::F32, &Device::Cpu).unwrap());
        assert!(narrow.quantize(BlockFormat::Q4K).is_err());
        assert!(narrow.quantize(BlockFormat::Q8_0).is_ok());
        assert!(Quantized::new(vec![0; 33], BlockFormat::Q8_0, (1, 32), DType::F32).is_err());
        assert!(Quantized::new(vec![0; 68], BlockFormat::Q8_0, (1, 48), DType::F32).is_err());
    }
}
