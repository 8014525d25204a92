//! An adapter as llama.cpp loads it beside its base: `NAME.lora_a` [rank, in] and `NAME.lora_b` [out, rank].
//!
//! llama.cpp scales a product by `adapter.lora.alpha` / rank, the rank being that of the tensor: modules may differ in it.
//! Where a module is scaled otherwise than the first one (an alpha of its own, alpha / sqrt(rank)), B takes the quotient
//! in.

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use candle_core::{DType, Device, Tensor};

use super::Names;
use super::file::{Make, Metadata, PlannedTensor};
use crate::error::{Error, Result};
use crate::lora::Lora;
use crate::peft::{self, AdaptedModule};

/// # Errors
/// [`Error::Adapter`] for an adapter that GGUF has no form for.
pub fn check(adapter: &Lora) -> Result<()> {
    if adapter.shape().magnitudes {
        return Err(Error::adapter(
            "GGUF has no place for the magnitudes of DoRA",
            "write the merged model with --gguf FILE",
        ));
    }
    Ok(())
}

/// The tensors, and the alpha in the metadata.
pub fn tensors<'a>(
    adapter: &Lora,
    names: &Names,
    metadata: &mut Metadata,
) -> Result<Vec<PlannedTensor<'a>>> {
    check(adapter)?;
    let modules = peft::modules(adapter, &names.config)?;
    let numerator = |module: &AdaptedModule| module.scaling * rank(module) as f64;
    let alpha = modules.first().map_or(1.0, numerator) as f32;
    metadata.insert("adapter.lora.alpha".to_owned(), Value::F32(alpha));
    let mut planned = Vec::new();
    for module in modules {
        let name = format!("{}.weight", module.name);
        let own = names.name(&name)?;
        let b = names.laid_out(&name, module.b.to_device(&Device::Cpu)?)?;
        let b = match numerator(&module) / f64::from(alpha) {
            same if (same - 1.0).abs() < 1e-7 => b,
            quotient => (b * quotient)?,
        };
        planned.push(plan(format!("{own}.lora_a"), module.a.to_device(&Device::Cpu)?)?);
        planned.push(plan(format!("{own}.lora_b"), b)?);
    }
    Ok(planned)
}

/// Rows of A.
fn rank(module: &AdaptedModule) -> usize {
    module.a.dims().first().copied().unwrap_or(1)
}

fn plan<'a>(name: String, tensor: Tensor) -> Result<PlannedTensor<'a>> {
    let tensor = tensor.to_dtype(DType::F32)?.contiguous()?;
    let shape = tensor.dims().to_vec();
    let make: Make<'a> = Box::new(move || Ok(tensor.clone()));
    Ok(PlannedTensor { name, shape, kind: GgmlDType::F32, parts: vec![make] })
}
