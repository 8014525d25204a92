//! How far the adapter has moved the weights from the reference.

use candle_core::Tensor;
use host_model::lora::{Lora, Target};

use crate::error::Result;

/// L2 norm of the update scale * B A over all adapted matrices.
///
/// |B A|^2 = trace((B^T B)(A A^T)), so only rank x rank products are formed.
pub fn update_norm(adapter: &Lora) -> Result<f64> {
    let mut squares = Vec::new();
    for layer in 0..adapter.num_layers() {
        for target in Target::ALL {
            let Some((a, b)) = adapter.pair(layer, target) else {
                continue;
            };
            let (a, b) = (a.as_tensor().detach(), b.as_tensor().detach());
            let outer = a.matmul(&a.t()?)?;
            let inner = b.t()?.matmul(&b)?;
            squares.push((inner * outer)?.sum_all()?);
        }
    }
    // One transfer from the device for all of them.
    let squares = Tensor::stack(&squares, 0)?.to_vec1::<f32>()?;
    let sum: f64 = squares.into_iter().map(f64::from).sum();
    Ok(adapter.scaling() * sum.max(0.0).sqrt())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use host_model::lora::LoraConfig;
    use host_model::{LoadOptions, Source};

    use super::*;

    #[test]
    fn equals_the_norm_of_the_dense_updates() {
        let model = host_model::load(
            &Source::Embedded(crate::demo::MODEL),
            &LoadOptions::default(),
        );
        let config = model.expect("embedded").config;
        let shape = LoraConfig {
            rank: 4,
            alpha: 6.0,
            targets: vec![Target::Q, Target::Down],
        };
        let adapter = Lora::new(&config, shape, 3, &Device::Cpu).expect("fits");
        assert_eq!(update_norm(&adapter).expect("computed"), 0.0);

        for (name, var) in adapter.named().filter(|(name, _)| name.contains("lora_B")) {
            let scale = if name.contains("q_proj") { 0.3 } else { 0.1 };
            let count = var.elem_count();
            let values: Vec<f32> = (0..count).map(|i| scale * (i as f32).sin()).collect();
            let tensor = Tensor::from_vec(values, var.shape(), &Device::Cpu).expect("shaped");
            var.set(&tensor).expect("same shape");
        }
        let mut sum = 0.0;
        for layer in 0..adapter.num_layers() {
            for target in [Target::Q, Target::Down] {
                let (a, b) = adapter.pair(layer, target).expect("adapted");
                let update = b.matmul(a.as_tensor()).expect("product");
                let square = update.sqr().and_then(|x| x.sum_all()).expect("sum");
                sum += 1.5 * 1.5 * f64::from(square.to_scalar::<f32>().expect("scalar"));
            }
        }
        let norm = update_norm(&adapter).expect("computed");
        assert!(
            sum > 1.0 && (norm / sum.sqrt() - 1.0).abs() < 1e-4,
            "{norm} {}",
            sum.sqrt()
        );
    }
}
