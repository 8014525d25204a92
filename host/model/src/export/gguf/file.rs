//! A GGUF file of version 3, written tensor by tensor: candle's writer takes all of them at once.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use candle_core::quantized::gguf_file::Value;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use host_files::atomic::NewFile;
use rayon::prelude::*;

use crate::error::{Error, Result};

const MAGIC: &[u8; 4] = b"GGUF";
const VERSION: u32 = 3;
/// Of the first byte of every tensor.
const ALIGNMENT: usize = 32;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
/// Values that one thread rounds at a time.
const PART: usize = 1 << 20;

/// Keys and values; written in the order of the keys.
pub type Metadata = BTreeMap<String, Value>;

/// Makes a tensor, or a matrix of it.
pub type Make<'a> = Box<dyn Fn() -> Result<Tensor> + 'a>;

/// A tensor that is made when it is written.
pub struct PlannedTensor<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub kind: GgmlDType,
    /// All of it, or its matrices one after the other: the experts of a layer are never in memory together.
    pub parts: Vec<Make<'a>>,
}

impl PlannedTensor<'_> {
    /// # Errors
    /// [`Error::Tensor`] for a part that isn't what the header says.
    fn check(&self, part: &Tensor) -> Result<()> {
        let whole = self.parts.len() == 1 && part.dims() == self.shape;
        let one_of =
            self.shape.first() == Some(&self.parts.len()) && part.dims() == &self.shape[1..];
        if whole || one_of {
            return Ok(());
        }
        let parts = self.parts.len();
        let problem = format!("has {parts} parts of shape {:?}, not {:?}", part.dims(), self.shape);
        Err(Error::weight(&self.name, problem))
    }

    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() / self.kind.block_size() * self.kind.type_size()
    }
}

/// Bytes of the file.
pub fn size(metadata: &Metadata, tensors: &[PlannedTensor<'_>]) -> Result<usize> {
    let data: usize = tensors.iter().map(|one| padded(one.bytes())).sum();
    Ok(header(metadata, tensors)?.len() + data)
}

/// Writes the file under a temporary name and hands it to `check`, which may refuse it; then it gets its own name.
///
/// # Errors
/// [`Error::File`] when there is such a file, or no room for it; [`Error::Io`]; what `check` says.
pub fn write(
    path: &Path,
    metadata: &Metadata,
    tensors: &[PlannedTensor<'_>],
    check: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let header = header(metadata, tensors)?;
    let size = size(metadata, tensors)?;
    let failed = |error: io::Error| no_room(path, size, error);
    let mut file = NewFile::begin(path, size as u64).map_err(|error| match error {
        host_files::Error::Exists { .. } => {
            Error::file(path, "exists already", "name another file, or remove this one")
        }
        host_files::Error::Io { source, .. } => failed(source),
        other => other.into(),
    })?;
    file.write_all(&header).map_err(failed)?;
    for tensor in tensors {
        for make in &tensor.parts {
            let values = make()?;
            tensor.check(&values)?;
            file.write_all(&encode(&values, tensor.kind)?).map_err(failed)?;
        }
        let bytes = tensor.bytes();
        file.write_all(&vec![0; padded(bytes) - bytes]).map_err(failed)?;
    }
    check(file.path())?;
    file.finish().map_err(|error| match error {
        host_files::Error::Io { source, .. } => failed(source),
        other => other.into(),
    })
}

fn no_room(path: &Path, size: usize, error: io::Error) -> Error {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | FileTooLarge | QuotaExceeded => Error::file(
            path,
            format!("takes {} MiB, for which its file system has no room", (size >> 20) + 1),
            "make room, name another place, or choose a smaller --quantize",
        ),
        _ => Error::io(path, error),
    }
}

/// The bytes of a tensor in a format, rounded by several threads.
fn encode(values: &Tensor, kind: GgmlDType) -> Result<Vec<u8>> {
    let values = values.to_device(&Device::Cpu)?;
    // candle rounds the memory that a tensor is a view of, so each part gets its own.
    let whole = |values: &Tensor| {
        let values = values.force_contiguous()?;
        Ok::<_, Error>(QTensor::quantize(&values, kind)?.data()?.into_owned())
    };
    let Ok((rows, columns)) = values.dims2() else { return whole(&values) };
    let rows_of_part = (PART / columns.max(1)).max(1);
    let parts: Vec<usize> = (0..rows).step_by(rows_of_part).collect();
    let part = |first: usize| {
        let rows = rows_of_part.min(rows - first);
        whole(&values.narrow(0, first, rows)?)
    };
    Ok(parts.into_par_iter().map(part).collect::<Result<Vec<_>>>()?.concat())
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

fn header(metadata: &Metadata, tensors: &[PlannedTensor<'_>]) -> Result<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(&mut bytes, key);
        bytes.extend(type_of(value).to_le_bytes());
        put(&mut bytes, value)?;
    }
    let mut offset = 0;
    for tensor in tensors {
        text(&mut bytes, &tensor.name);
        bytes.extend((tensor.shape.len() as u32).to_le_bytes());
        for size in tensor.shape.iter().rev() {
            bytes.extend((*size as u64).to_le_bytes());
        }
        bytes.extend(number_of(tensor.kind).to_le_bytes());
        bytes.extend((offset as u64).to_le_bytes());
        offset += padded(tensor.bytes());
    }
    bytes.resize(padded(bytes.len()), 0);
    Ok(bytes)
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn type_of(value: &Value) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => STRING,
        Value::Array(_) => ARRAY,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

fn put(bytes: &mut Vec<u8>, value: &Value) -> Result<()> {
    match value {
        Value::U8(number) => bytes.push(*number),
        Value::I8(number) => bytes.extend(number.to_le_bytes()),
        Value::U16(number) => bytes.extend(number.to_le_bytes()),
        Value::I16(number) => bytes.extend(number.to_le_bytes()),
        Value::U32(number) => bytes.extend(number.to_le_bytes()),
        Value::I32(number) => bytes.extend(number.to_le_bytes()),
        Value::F32(number) => bytes.extend(number.to_le_bytes()),
        Value::Bool(flag) => bytes.push(u8::from(*flag)),
        Value::String(string) => text(bytes, string),
        Value::U64(number) => bytes.extend(number.to_le_bytes()),
        Value::I64(number) => bytes.extend(number.to_le_bytes()),
        Value::F64(number) => bytes.extend(number.to_le_bytes()),
        Value::Array(list) => {
            // The lists that may be empty are lists of strings, and llama.cpp asks for their type.
            let kind = list.first().map_or(STRING, type_of);
            if list.iter().any(|value| type_of(value) != kind) {
                return Err(Error::tokenizer(
                    "a list of the GGUF metadata holds values of several types",
                    "report this as a bug",
                ));
            }
            bytes.extend(kind.to_le_bytes());
            bytes.extend((list.len() as u64).to_le_bytes());
            list.iter().try_for_each(|value| put(bytes, value))?;
        }
    }
    Ok(())
}

/// Of ggml.
fn number_of(kind: GgmlDType) -> u32 {
    match kind {
        GgmlDType::F32 => 0,
        GgmlDType::F16 => 1,
        GgmlDType::Q4_0 => 2,
        GgmlDType::Q4_1 => 3,
        GgmlDType::Q5_0 => 6,
        GgmlDType::Q5_1 => 7,
        GgmlDType::Q8_0 => 8,
        GgmlDType::Q8_1 => 9,
        GgmlDType::Q2K => 10,
        GgmlDType::Q3K => 11,
        GgmlDType::Q4K => 12,
        GgmlDType::Q5K => 13,
        GgmlDType::Q6K => 14,
        GgmlDType::Q8K => 15,
        GgmlDType::BF16 => 30,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_matrix_of_several_parts_and_a_view_are_written_line_by_line() {
        let (rows, columns) = (2 * PART / 64 + 100, 64);
        let values: Vec<f32> = (0..rows * columns).map(|at| (at % 8191) as f32).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
        assert_eq!(encode(&tensor, GgmlDType::F32).unwrap(), bytes);
        let last = tensor.narrow(0, rows - 3, 3).unwrap();
        assert_eq!(encode(&last, GgmlDType::F32).unwrap(), bytes[bytes.len() - 3 * 4 * columns..]);
        let rounded = encode(&tensor, GgmlDType::Q8_0).unwrap();
        let of_last = encode(&last, GgmlDType::Q8_0).unwrap();
        assert_eq!(rounded[rounded.len() - of_last.len()..], of_last);
        let vector = tensor.get(rows - 1).unwrap();
        assert_eq!(encode(&vector, GgmlDType::F32).unwrap(), bytes[bytes.len() - 4 * columns..]);
    }
}
