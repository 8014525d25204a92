//! How far the adapter has moved the weights from the reference, and the way back.
//!
//! The reference is the adapter switched off, which no single point of its parameters is:
//! B A is zero wherever B or A is. So the distance is that of the weights, the norm of
//! scale * B A over all adapted matrices. |B A|^2 = trace((B^T B)(A A^T)), so only
//! rank x rank products are formed. Plain loops in a fixed order: every rank of a run gets
//! the same bits, whatever its processor. An adapter with magnitudes changes more than that
//! ([`lengths`]).

use host_model::Weights;
use host_model::lora::Lora;

use crate::error::Result;
use crate::parameters::{Layout, Pair, lengths};

/// L2 norm of what the adapter changes in all adapted matrices of these weights.
pub fn update_norm(adapter: &Lora, weights: &Weights) -> Result<f64> {
    if adapter.shape().magnitudes {
        return lengths::update_norm(adapter, weights);
    }
    let layout = Layout::new(adapter);
    let parameters = layout.read()?;
    let squares = layout.pairs().map(|pair| pair.scaling.powi(2) * square(pair, &parameters));
    Ok(squares.sum::<f64>().max(0.0).sqrt())
}

/// Adds the gradient of strength / 2 * distance^2 and returns its value.
pub fn pull(layout: &Layout, strength: f64, parameters: &[f32], gradient: &mut [f32]) -> f64 {
    let mut value = 0.0;
    for pair in layout.pairs() {
        let strength = strength * pair.scaling * pair.scaling;
        value += strength / 2.0 * square(pair, parameters);
        let (inner, outer) = grams(pair, parameters);
        let rank = pair.rank;
        // d |B A|^2 / 2 is B (A A^T) by B, and (B^T B) A by A.
        let b = &parameters[pair.b.clone()];
        let rows = b.chunks_exact(rank);
        for (row, gradient) in rows.zip(gradient[pair.b.clone()].chunks_exact_mut(rank)) {
            for (j, gradient) in gradient.iter_mut().enumerate() {
                let products = row.iter().enumerate();
                let sum: f64 =
                    products.map(|(i, value)| f64::from(*value) * outer[i * rank + j]).sum();
                *gradient += (strength * sum) as f32;
            }
        }
        let width = pair.a.len() / rank;
        let a = &parameters[pair.a.clone()];
        let rows = gradient[pair.a.clone()].chunks_exact_mut(width);
        for (i, gradient) in rows.enumerate() {
            for (j, row) in a.chunks_exact(width).enumerate() {
                let factor = (strength * inner[i * rank + j]) as f32;
                for (gradient, value) in gradient.iter_mut().zip(row) {
                    *gradient += factor * value;
                }
            }
        }
    }
    value
}

/// |B A|^2 of one adapted matrix.
fn square(pair: &Pair, parameters: &[f32]) -> f64 {
    let (inner, outer) = grams(pair, parameters);
    inner.iter().zip(&outer).map(|(x, y)| x * y).sum()
}

/// B^T B and A A^T, [rank, rank].
pub fn grams(pair: &Pair, parameters: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let rank = pair.rank;
    let mut inner = vec![0.0; rank * rank];
    for row in parameters[pair.b.clone()].chunks_exact(rank) {
        for (sums, one) in inner.chunks_exact_mut(rank).zip(row) {
            for (sum, other) in sums.iter_mut().zip(row) {
                *sum += f64::from(*one) * f64::from(*other);
            }
        }
    }
    let a = &parameters[pair.a.clone()];
    let rows: Vec<&[f32]> = a.chunks_exact(a.len() / rank).collect();
    let dot = |one: &[f32], other: &[f32]| -> f64 {
        let products = one.iter().zip(other);
        products.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    let pairs = rows.iter().flat_map(|one| rows.iter().map(move |other| (one, other)));
    let outer = pairs.map(|(one, other)| dot(one, other)).collect();
    (inner, outer)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use host_model::lora::{LoraConfig, Target};
    use host_model::{LoadOptions, Model, Source};

    use super::*;

    fn scaling(target: Target) -> f64 {
        if target == Target::Q { 0.75 } else { 1.5 }
    }

    fn model() -> Model {
        let embedded = Source::Embedded(host_data::demo::MODEL);
        host_model::load(&embedded, &LoadOptions::default()).expect("embedded")
    }

    fn adapter() -> Lora {
        let config = model().config;
        let mut shape = LoraConfig::new(4, 6.0, &[Target::Q, Target::Down]);
        shape.alpha_pattern.insert("q_proj".into(), 3.0);
        Lora::new(&config, shape, 3, &Device::Cpu).expect("fits")
    }

    fn fill(adapter: &Lora) {
        for (name, var) in adapter.named().filter(|(name, _)| name.contains("lora_B")) {
            let scale = if name.contains("q_proj") { 0.3 } else { 0.1 };
            let count = var.elem_count();
            let values: Vec<f32> = (0..count).map(|i| scale * (i as f32).sin()).collect();
            let tensor = Tensor::from_vec(values, var.shape(), &Device::Cpu).expect("shaped");
            var.set(&tensor).expect("same shape");
        }
    }

    #[test]
    fn equals_the_norm_of_the_dense_updates() {
        let adapter = adapter();
        assert_eq!(update_norm(&adapter, &model().decoder.weights).expect("computed"), 0.0);
        fill(&adapter);
        let mut sum = 0.0;
        for layer in 0..adapter.num_layers() {
            for target in [Target::Q, Target::Down] {
                let pair = adapter.pair(layer, target).expect("adapted");
                let update = pair.b.matmul(pair.a.as_tensor()).expect("product");
                let square = update.sqr().and_then(|x| x.sum_all()).expect("sum");
                sum +=
                    scaling(target).powi(2) * f64::from(square.to_scalar::<f32>().expect("scalar"));
            }
        }
        let norm = update_norm(&adapter, &model().decoder.weights).expect("computed");
        assert!(sum > 1.0 && (norm / sum.sqrt() - 1.0).abs() < 1e-4, "{norm} {}", sum.sqrt());
    }

    #[test]
    fn the_pull_is_the_gradient_of_the_squared_distance() {
        let adapter = adapter();
        fill(&adapter);
        let layout = Layout::new(&adapter);
        let parameters = layout.read().expect("values");
        let mut gradient = vec![1.0; parameters.len()];
        let value = pull(&layout, 3.0, &parameters, &mut gradient);
        let norm = update_norm(&adapter, &model().decoder.weights).expect("computed");
        assert!((value / (1.5 * norm * norm) - 1.0).abs() < 1e-9);
        let value_at = |parameters: &[f32]| {
            let mut ignored = vec![0.0; parameters.len()];
            pull(&layout, 3.0, parameters, &mut ignored)
        };
        for at in (0..parameters.len()).step_by(parameters.len() / 40) {
            let (mut above, mut below) = (parameters.clone(), parameters.clone());
            above[at] += 1e-2;
            below[at] -= 1e-2;
            let change = f64::from(above[at]) - f64::from(below[at]);
            let slope = (value_at(&above) - value_at(&below)) / change;
            // What was in the gradient stays.
            let found = f64::from(gradient[at]) - 1.0;
            assert!((slope - found).abs() < 1e-3 * slope.abs().max(0.1), "{at}: {slope} {found}");
        }
    }

    #[test]
    fn at_the_reference_nothing_pulls() {
        let adapter = adapter();
        let layout = Layout::new(&adapter);
        let parameters = layout.read().expect("values");
        let mut gradient = vec![0.0; parameters.len()];
        assert_eq!(pull(&layout, 3.0, &parameters, &mut gradient), 0.0);
        assert!(gradient.iter().all(|value| *value == 0.0));
    }
}
