//! How far the adapter has moved the weights from the reference.

use host_model::lora::{Lora, Target};

use crate::error::Result;

/// L2 norm of the update scale * B A over all adapted matrices.
///
/// |B A|^2 = trace((B^T B)(A A^T)), so only rank x rank products are formed.
pub fn update_norm(adapter: &Lora) -> Result<f64> {
    let mut sum = 0.0;
    for layer in 0..adapter.num_layers() {
        for target in Target::ALL {
            let Some((a, b)) = adapter.pair(layer, target) else {
                continue;
            };
            let (a, b) = (a.as_tensor().detach(), b.as_tensor().detach());
            let outer = a.matmul(&a.t()?)?;
            let inner = b.t()?.matmul(&b)?;
            sum += f64::from((inner * outer)?.sum_all()?.to_scalar::<f32>()?);
        }
    }
    Ok(adapter.scaling() * sum.max(0.0).sqrt())
}
