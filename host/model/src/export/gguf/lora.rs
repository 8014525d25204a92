//! An adapter as llama.cpp loads it beside its base: `NAME.lora_a` [rank, in] and `NAME.lora_b` [out, rank].
//!
//! llama.cpp scales a product by `adapter.lora.alpha` / rank, the rank being that of the tensor. Where a module is scaled
//! otherwise, B takes the quotient in.

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use candle_core::{DType, Device, Tensor};

use super::Names;
use super::file::{Metadata, PlannedTensor};
use crate::config::Config;
use crate::error::Result;
use crate::lora::Lora;
use crate::peft;

/// The tensors, and the alpha in the metadata.
pub fn tensors<'a>(
    adapter: &Lora,
    config: &Config,
    names: &Names<'_>,
    metadata: &mut Metadata,
) -> Result<Vec<PlannedTensor<'a>>> {
    let alpha = adapter.shape().alpha as f32;
    metadata.insert("adapter.lora.alpha".to_owned(), Value::F32(alpha));
    let mut planned = Vec::new();
    for module in peft::modules(adapter, config)? {
        let name = format!("{}.weight", module.name);
        let own = names.name(&name)?;
        let rank = module.a.dims().first().copied().unwrap_or(1);
        let b = names.laid_out(&name, module.b.to_device(&Device::Cpu)?)?;
        let b = match module.scaling / (f64::from(alpha) / rank as f64) {
            same if (same - 1.0).abs() < 1e-9 => b,
            quotient => (b * quotient)?,
        };
        planned.push(plan(format!("{own}.lora_a"), module.a.to_device(&Device::Cpu)?)?);
        planned.push(plan(format!("{own}.lora_b"), b)?);
    }
    Ok(planned)
}

fn plan<'a>(name: String, tensor: Tensor) -> Result<PlannedTensor<'a>> {
    let tensor = tensor.to_dtype(DType::F32)?.contiguous()?;
    let shape = tensor.dims().to_vec();
    let make = Box::new(move || Ok(tensor.clone()));
    Ok(PlannedTensor { name, shape, kind: GgmlDType::F32, make })
}
