//! What alignment changed in the weights, and a projection of the adapter onto it (Safe
//! LoRA, arXiv 2405.16833).
//!
//! ```text
//! V = W_aligned - W_base,  C = V V^T / |V|
//! where cos(C B A, B A) <= threshold:  B <- C B
//! ```
//!
//! C has as many rows and columns as the matrix has outputs, so it is never formed: C B is
//! V (V^T B) / |V|, and the cosine needs products of rank x rank alone. What is kept is V in
//! f32, as much memory as the adapted matrices take. The model to compare with is loaded
//! whole, once, and let go.

use candle_core::{DType, Tensor};
use host_model::Config;
use host_model::lora::{Lora, Pair, Shape, Target};
use host_model::weights::Weights;

use crate::error::{Error, Result};

pub struct Subspaces {
    /// V [out, in] and its norm, by layer and target; none where nothing is adapted or
    /// nothing was changed.
    changes: Vec<[Option<(Tensor, f64)>; 7]>,
}

/// What alignment changed in a matrix, with the factors of its adapter.
pub(super) struct Changed<'a> {
    /// V [out, in]
    pub change: &'a Tensor,
    /// |V|
    pub norm: f64,
    pub pair: &'a Pair,
}

impl Subspaces {
    /// # Errors
    /// [`Error::Config`] if the models have different shapes, or are the same in every
    /// matrix that is adapted.
    pub fn new(aligned: &Weights, base: &Weights, shape: &Shape) -> Result<Self> {
        let wrong = |problem: &str| Err(Error::config("model.base", problem));
        if aligned.layers.len() != base.layers.len() {
            return wrong("has another number of layers than the model");
        }
        let mut changes = Vec::with_capacity(aligned.layers.len());
        for (layer, (aligned, base)) in aligned.layers.iter().zip(&base.layers).enumerate() {
            let mut row = [const { None }; 7];
            for target in Target::ALL {
                if shape.place(layer, target).is_none() {
                    continue;
                }
                let Some((aligned, base)) = aligned.linear(target).zip(base.linear(target)) else {
                    return wrong("has experts where an adapter would be");
                };
                if aligned.weight.dims2()? != base.weight.dims2()? {
                    return wrong("has matrices of other shapes than the model");
                }
                let aligned = aligned.weight.tensor()?.to_dtype(DType::F32)?;
                let base = base.weight.tensor()?.to_device(aligned.device())?;
                let base = base.to_dtype(DType::F32)?;
                let change = (aligned - base)?;
                let norm = norm(&change)?;
                row[target as usize] = (norm > 0.0).then_some((change, norm));
            }
            changes.push(row);
        }
        if changes.iter().flatten().any(Option::is_some) {
            Ok(Self { changes })
        } else {
            wrong("has the weights of the model; name the model before its alignment")
        }
    }

    /// Bytes that the changes of a model's matrices take.
    pub fn bytes(model: &Config, shape: &Shape) -> u64 {
        let one = |(_, target, _)| {
            let (out, input) = model.shape(target);
            (out * input * size_of::<f32>()) as u64
        };
        shape.adapted().map(one).sum()
    }

    /// Every adapted matrix that alignment changed, in the order of layers and targets.
    pub(super) fn changed<'a>(&'a self, adapter: &'a Lora) -> impl Iterator<Item = Changed<'a>> {
        self.changes.iter().enumerate().flat_map(move |(layer, row)| {
            Target::ALL.into_iter().filter_map(move |target| {
                let (change, norm) = row[target as usize].as_ref()?;
                let pair = adapter.pair(layer, target)?;
                Some(Changed { change, norm: *norm, pair })
            })
        })
    }

    /// Projects every adapted matrix whose cosine is at most `threshold`, and at least the
    /// `least` of lowest cosine; returns how many.
    pub fn project(
        &self,
        adapter: &Lora,
        threshold: Option<f64>,
        least: Option<u32>,
    ) -> Result<usize> {
        let mut found = Vec::new();
        for Changed { change, norm, pair: Pair { a, b: factor, .. } } in self.changed(adapter) {
            let (a, b) = (a.as_detached_tensor(), factor.as_detached_tensor());
            let aligned = projection(change, norm, &b)?;
            let outer = a.matmul(&a.t()?)?;
            if let Some(cosine) = cosine(&aligned, &b, &outer)? {
                found.push((cosine, aligned, factor));
            }
        }
        // Equal ones stay in the order of the layers.
        found.sort_by(|(one, ..), (other, ..)| one.total_cmp(other));
        let below = found.iter().filter(|(cosine, ..)| Some(*cosine) <= threshold);
        let below = if threshold.is_some() { below.count() } else { 0 };
        let count = below.max(least.unwrap_or(0) as usize).min(found.len());
        for (_, aligned, factor) in &found[..count] {
            factor.set(aligned)?;
        }
        Ok(count)
    }
}

/// C B.
pub(super) fn projection(change: &Tensor, norm: f64, b: &Tensor) -> Result<Tensor> {
    let within = change.t()?.matmul(b)?;
    Ok((change.matmul(&within)? / norm)?)
}

/// Of X A and Y A, with `outer` A A^T: <X A, Y A> = sum of (X^T Y) * (A A^T). None if Y A
/// is zero: there is nothing to project. An X A that is zero has nothing in common with it.
fn cosine(x: &Tensor, y: &Tensor, outer: &Tensor) -> Result<Option<f64>> {
    let inner = |x: &Tensor, y: &Tensor| -> Result<f64> {
        let product = (x.t()?.matmul(y)? * outer)?.sum_all()?;
        Ok(f64::from(product.to_scalar::<f32>()?))
    };
    let (xx, yy, xy) = (inner(x, x)?, inner(y, y)?, inner(x, y)?);
    if yy <= 0.0 {
        return Ok(None);
    }
    let norms = (xx.max(0.0) * yy).sqrt();
    Ok(Some(if norms > 0.0 { xy / norms } else { 0.0 }))
}

fn norm(tensor: &Tensor) -> Result<f64> {
    let square = tensor.sqr()?.sum_all()?.to_scalar::<f32>()?;
    Ok(f64::from(square).sqrt())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use host_model::lora::LoraConfig;
    use host_model::{LoadOptions, Model, Source};

    use super::*;

    const TARGETS: [Target; 2] = [Target::Q, Target::Down];

    fn tensor(rows: &[&[f32]]) -> Tensor {
        let values: Vec<f32> = rows.concat();
        let shape = (rows.len(), rows[0].len());
        Tensor::from_vec(values, shape, &Device::Cpu).expect("shaped")
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        let flat = tensor.flatten_all().and_then(|flat| flat.to_vec1());
        flat.expect("values")
    }

    /// V = [[2, 0], [0, 0]]: V V^T / |V| = [[2, 0], [0, 0]].
    #[test]
    fn golden_values_of_the_projection_and_its_cosine() {
        let change = tensor(&[&[2.0, 0.0], &[0.0, 0.0]]);
        let of = |b: &Tensor, a: &Tensor| {
            let projected = projection(&change, norm(&change).expect("norm"), b).expect("C B");
            let outer = a.matmul(&a.t().expect("A^T")).expect("A A^T");
            let cosine = cosine(&projected, b, &outer).expect("cosine");
            (values(&projected), cosine)
        };
        let a = tensor(&[&[1.0, 2.0, 2.0]]);
        let (projected, cosine) = of(&tensor(&[&[3.0], &[4.0]]), &a);
        assert_eq!(projected, [6.0, 0.0]);
        assert!((cosine.expect("defined") - 0.6).abs() < 1e-6, "{cosine:?}");
        // Within the subspace, across it, and nothing at all.
        assert_eq!(of(&tensor(&[&[3.0], &[0.0]]), &a).1, Some(1.0));
        assert_eq!(of(&tensor(&[&[0.0], &[4.0]]), &a).1, Some(0.0));
        assert_eq!(of(&tensor(&[&[0.0], &[0.0]]), &a).1, None);
    }

    fn model() -> Model {
        let embedded = Source::Embedded(host_data::demo::MODEL);
        host_model::load(&embedded, &LoadOptions::default()).expect("embedded")
    }

    /// The model without what "alignment" did to the last layer's q.
    fn base(model: &Model) -> Weights {
        let mut weights = model.decoder.weights.clone();
        let last = weights.layers.last_mut().expect("a layer");
        let shape = last.q.weight.dims2().expect("a matrix");
        let change = (0..shape.0 * shape.1).map(|i| ((i * i) as f32).sin() * 0.01);
        let change = Tensor::from_vec(change.collect(), shape, &Device::Cpu).expect("shaped");
        let before = last.q.weight.tensor().expect("dense");
        last.q.weight = (before + change).expect("sum").into();
        weights
    }

    fn shape(model: &Model) -> Shape {
        LoraConfig::new(2, 4.0, &TARGETS).shape(&model.config).expect("fits")
    }

    fn adapter(model: &Model) -> Lora {
        let shape = LoraConfig::new(2, 4.0, &TARGETS);
        let adapter = Lora::new(&model.config, shape, 3, &Device::Cpu).expect("fits");
        for (name, var) in adapter.named().filter(|(name, _)| name.contains("lora_B")) {
            let phase = name.len() as f32;
            let filled = (0..var.elem_count()).map(|i| (i as f32 + phase).cos());
            let filled = Tensor::from_vec(filled.collect(), var.shape(), &Device::Cpu);
            var.set(&filled.expect("shaped")).expect("same shape");
        }
        adapter
    }

    #[test]
    fn only_what_alignment_changed_and_the_update_leaves_is_projected() {
        let model = model();
        let (aligned, base) = (&model.decoder.weights, base(&model));
        let subspaces = Subspaces::new(aligned, &base, &shape(&model)).expect("differ");
        let adapter = adapter(&model);
        let before: Vec<Vec<f32>> = adapter.named().map(|(_, var)| values(var)).collect();
        assert_eq!(subspaces.project(&adapter, Some(-1.0), None).expect("projected"), 0);
        let after: Vec<Vec<f32>> = adapter.named().map(|(_, var)| values(var)).collect();
        assert_eq!(before, after);

        assert_eq!(subspaces.project(&adapter, None, Some(0)).expect("projected"), 0);
        // There is one matrix that alignment changed, however many are asked for.
        assert_eq!(subspaces.project(&adapter, None, Some(10)).expect("projected"), 1);
        let last = model.config.num_layers - 1;
        let q = |weights: &Weights| weights.layers[last].q.weight.tensor().expect("dense");
        let change = (q(aligned) - q(&base)).expect("V");
        for ((name, var), before) in adapter.named().zip(&before) {
            let is_changed = name.contains(&format!("layers.{last}.")) && name.contains("q_proj");
            if !(is_changed && name.contains("lora_B")) {
                assert_eq!(&values(var), before, "{name}");
                continue;
            }
            // The dense C B.
            let dense = change.matmul(&change.t().expect("V^T")).expect("V V^T");
            let b = Tensor::from_slice(before, var.shape(), &Device::Cpu).expect("shaped");
            let expected = dense.matmul(&b).expect("product");
            let expected = (expected / norm(&change).expect("norm")).expect("C B");
            for (found, expected) in values(var).iter().zip(values(&expected)) {
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            }
        }
    }

    #[test]
    fn a_base_that_is_no_base_is_refused() {
        let model = model();
        let weights = &model.decoder.weights;
        let refused = |base: &Weights| match Subspaces::new(weights, base, &shape(&model)) {
            Ok(_) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(refused(weights).contains("before its alignment"));
        let mut short = weights.clone();
        short.layers.pop();
        assert!(refused(&short).contains("number of layers"));
        let mut other = base(&model);
        other.layers[0].q =
            other.layers[0].linear(Target::Down).expect("the block is dense").clone();
        assert!(refused(&other).contains("other shapes"));
    }
}
