//! How far an adapter with magnitudes (DoRA, arXiv 2402.09353) has moved the weights.
//!
//! ```text
//! V = W + s B A,  n = |V|,  g = m / n of every row,  D = g V - W
//! d |D|^2 / 2:  by V  g D - g (D . V) / n^2 V,  by m  (D . V) / n
//! ```
//!
//! One adapted matrix is formed at a time.

use candle_core::{DType, Tensor};
use host_model::Weights;
use host_model::lora::{self, Lora, Pair, Target};

use crate::error::Result;
use crate::parameters::Layout;

/// L2 norm of D over all adapted matrices.
pub fn update_norm(adapter: &Lora, weights: &Weights) -> Result<f64> {
    let mut square = 0.0;
    for (layer, target, pair) in adapter.pairs() {
        if let Some(change) = Change::of(pair, weights, layer, target)? {
            square += sum(&change.moved.sqr()?)?;
        }
    }
    Ok(square.sqrt())
}

/// Adds the gradient of strength / 2 * distance^2 and returns its value.
pub fn pull(
    adapter: &Lora,
    weights: &Weights,
    layout: &Layout,
    strength: f64,
    gradient: &mut [f32],
) -> Result<f64> {
    let mut value = 0.0;
    for (layer, target, pair) in adapter.pairs() {
        let Some(Change { sum: v, lengths, gain, moved }) =
            Change::of(pair, weights, layer, target)?
        else {
            continue;
        };
        value += strength / 2.0 * sum(&moved.sqr()?)?;
        let along = (&moved * &v)?.sum_keepdim(1)?;
        let turned = ((&along * &gain)? / lengths.sqr()?)?;
        let by_v = (moved.broadcast_mul(&gain)? - v.broadcast_mul(&turned)?)?;
        let (a, b) = (detached(&pair.a)?, detached(&pair.b)?);
        let by_b = (by_v.matmul(&a.t()?)? * pair.scaling)?;
        let by_a = (b.t()?.matmul(&by_v)? * pair.scaling)?;
        let by_m = (along / lengths)?;
        let parts = [(&pair.a, by_a), (&pair.b, by_b)].into_iter();
        for (var, part) in parts.chain(pair.magnitude.as_ref().map(|m| (m, by_m))) {
            let Some(place) = layout.range(var) else { continue };
            let part = part.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            for (gradient, value) in gradient[place].iter_mut().zip(part) {
                *gradient += (strength * f64::from(value)) as f32;
            }
        }
    }
    Ok(value)
}

/// What becomes of one adapted matrix.
struct Change {
    /// V [out, in]
    sum: Tensor,
    /// n [out, 1]; never 0.
    lengths: Tensor,
    /// g [out, 1]
    gain: Tensor,
    /// D [out, in]
    moved: Tensor,
}

impl Change {
    fn of(pair: &Pair, weights: &Weights, layer: usize, target: Target) -> Result<Option<Self>> {
        let linear = weights.layers.get(layer).and_then(|layer| layer.linear(target));
        let (Some(linear), Some(magnitude)) = (linear, &pair.magnitude) else {
            return Ok(None);
        };
        let weight = linear.weight.tensor()?.to_dtype(DType::F32)?;
        let sum = lora::updated(&weight, [&pair.a, &pair.b], pair.scaling)?;
        let lengths = lora::lengths(&sum)?.unsqueeze(1)?;
        let gain = (detached(magnitude)?.unsqueeze(1)? / &lengths)?;
        let moved = (sum.broadcast_mul(&gain)? - weight)?;
        Ok(Some(Self { sum, lengths, gain, moved }))
    }
}

fn detached(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.detach().to_dtype(DType::F32)?)
}

/// Of squares; rows in single precision, their sums in double.
fn sum(squares: &Tensor) -> Result<f64> {
    let rows = squares.sum(1)?.to_vec1::<f32>()?;
    Ok(rows.into_iter().map(f64::from).sum())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use host_model::lora::LoraConfig;
    use host_model::{LoadOptions, Model, Source};

    use super::*;

    fn model() -> Model {
        let embedded = Source::Embedded(host_data::demo::MODEL);
        host_model::load(&embedded, &LoadOptions::default()).expect("embedded")
    }

    fn adapter(model: &Model) -> Lora {
        let mut config = LoraConfig::new(4, 6.0, &[Target::Q, Target::Down]);
        config.magnitudes = true;
        Lora::for_weights(&model.config, &model.decoder.weights, config, 3).expect("fits")
    }

    #[test]
    fn the_pull_is_the_gradient_of_the_squared_distance() {
        let model = model();
        let weights = &model.decoder.weights;
        let adapter = adapter(&model);
        let layout = Layout::new(&adapter);
        assert!(update_norm(&adapter, weights).expect("computed") < 1e-4, "it starts at 0");
        for (name, var) in adapter.named() {
            let scale = if name.contains("magnitude") { 0.02 } else { 0.1 };
            let noise: Vec<f32> = (0..var.elem_count())
                .map(|i| scale * (i as f32 + name.len() as f32).sin())
                .collect();
            let noise = Tensor::from_vec(noise, var.shape(), &Device::Cpu).expect("shaped");
            var.set(&(var.as_detached_tensor() + noise).expect("sum")).expect("same shape");
        }
        let parameters = layout.read().expect("values");
        let mut gradient = vec![1.0; parameters.len()];
        let value = pull(&adapter, weights, &layout, 3.0, &mut gradient).expect("computed");
        let norm = update_norm(&adapter, weights).expect("computed");
        assert!(norm > 1.0 && (value / (1.5 * norm * norm) - 1.0).abs() < 1e-9, "{value} {norm}");
        // Along random directions, of all parameters and of each kind.
        for kind in ["lora_A", "lora_B", "magnitude", ""] {
            let mut direction = vec![0f32; parameters.len()];
            for (_, var) in adapter.named().filter(|(name, _)| name.contains(kind)) {
                let place = layout.range(var).expect("a place");
                place.for_each(|at| direction[at] = ((at * at) as f32).cos());
            }
            let at = |step: f32| {
                let moved = parameters.iter().zip(&direction).map(|(x, d)| x + step * d);
                layout.write(&moved.collect::<Vec<f32>>()).expect("written");
                let norm = update_norm(&adapter, weights).expect("computed");
                1.5 * norm * norm
            };
            let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
            at(0.0);
            let products = gradient.iter().zip(&direction);
            // What was in the gradient stays.
            let found: f64 = products.map(|(g, d)| (f64::from(*g) - 1.0) * f64::from(*d)).sum();
            assert!((slope / found - 1.0).abs() < 2e-2, "{kind}: {slope} {found}");
        }
    }
}
