//! A mixture of experts. Router and experts are frozen, so all of it is one operation with its own
//! backward pass; which experts a row goes to is read from the device, once per block.

use std::sync::Arc;

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::gated::{gated, slopes};
use super::linear::frozen;
use crate::config::{Activation, Experts};
use crate::operation::{binary, unary, wide};
use crate::weights::{ExpertWeights, GatedWeights};

/// The experts' sum [rows, hidden] of x [rows, hidden].
pub(super) fn mixture(
    x: &Tensor,
    activation: Activation,
    config: &Experts,
    weights: &ExpertWeights,
) -> Result<Tensor> {
    let probabilities = probabilities(x, &weights.router)?;
    let order = Arc::new(Order::new(&probabilities.detach(), config)?);
    let mut scales = probabilities.gather(&order.chosen, 1)?;
    if config.normalize {
        scales = scales.broadcast_div(&scales.sum_keepdim(1)?)?;
    }
    let run = Run { activation, order, experts: weights.experts.clone() };
    run.apply(x, &scales)
}

/// softmax of the router's logits [rows, experts], in at least single precision.
fn probabilities(x: &Tensor, router: &Tensor) -> Result<Tensor> {
    let (router, dtype) = (wide(router)?, x.dtype());
    let logits = wide(&x.detach())?.matmul(&router.t()?)?;
    unary(x, softmax_last_dim(&logits)?, move |_, probabilities, g| {
        let pulled = (g * probabilities)?;
        let total = pulled.sum_keepdim(D::Minus1)?;
        let slopes = (pulled - probabilities.broadcast_mul(&total)?)?;
        slopes.matmul(&router)?.to_dtype(dtype)
    })
}

/// Rows in the order of their experts.
struct Order {
    /// [rows, experts per token], the likeliest first.
    chosen: Tensor,
    per_token: usize,
    /// By expert: its rows, if it has any.
    rows: Vec<Option<Tensor>>,
    /// By row and rank: where it is among the rows of all experts.
    places: Tensor,
    /// What is at such a place: row * experts per token + rank.
    picks: Tensor,
}

impl Order {
    fn new(probabilities: &Tensor, config: &Experts) -> Result<Self> {
        let device = probabilities.device();
        let values = probabilities.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        let per_token = config.per_token;
        let mut chosen = Vec::with_capacity(values.len() * per_token);
        for row in &values {
            let mut experts: Vec<u32> = (0..config.count as u32).collect();
            // Stable: of equal ones the first.
            experts.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
            chosen.extend_from_slice(&experts[..per_token]);
        }
        let mut picks: Vec<u32> = (0..chosen.len() as u32).collect();
        picks.sort_by_key(|pick| chosen[*pick as usize]);
        let mut places = vec![0u32; picks.len()];
        let mut rows = vec![Vec::new(); config.count];
        for (place, pick) in picks.iter().enumerate() {
            places[*pick as usize] = place as u32;
            rows[chosen[*pick as usize] as usize].push(pick / per_token as u32);
        }
        let tensor = |list: Vec<u32>| Tensor::new(list, device);
        let rows = rows
            .into_iter()
            .map(|rows| if rows.is_empty() { Ok(None) } else { tensor(rows).map(Some) });
        Ok(Self {
            rows: rows.collect::<Result<_>>()?,
            places: tensor(places)?,
            picks: tensor(picks)?,
            chosen: Tensor::from_vec(chosen, (values.len(), per_token), device)?,
            per_token,
        })
    }

    /// From the rows of all experts [places, columns] to the sum over each row's.
    fn sum(&self, parts: &[Tensor]) -> Result<Tensor> {
        let all = Tensor::cat(parts, 0)?;
        let columns = all.dim(1)?;
        let rows = all.dim(0)? / self.per_token;
        let ranked = all.index_select(&self.places, 0)?;
        let ranked = wide(&ranked.reshape((rows, self.per_token, columns))?)?;
        ranked.sum(1)?.to_dtype(all.dtype())
    }
}

/// One pass of some rows through their experts.
struct Run {
    activation: Activation,
    order: Arc<Order>,
    experts: Vec<GatedWeights>,
}

/// What an expert computed between gate and down.
struct Kept {
    gate: Tensor,
    up: Tensor,
}

impl Run {
    fn apply(self, x: &Tensor, scales: &Tensor) -> Result<Tensor> {
        let (mut outputs, mut kept) = (Vec::new(), Vec::new());
        let constant = x.detach();
        let by_place = self.by_place(&scales.detach(), x.dtype())?;
        let mut place = 0;
        for (expert, rows) in self.at_work() {
            let rows = constant.index_select(rows, 0)?;
            let (gate, up) = (frozen(&rows, &expert.gate)?, frozen(&rows, &expert.up)?);
            let inner = gated(self.activation, &gate, &up, x.dtype())?;
            let output = frozen(&inner, &expert.down)?;
            let scale = by_place.narrow(0, place, rows.dim(0)?)?;
            place += rows.dim(0)?;
            outputs.push(output.broadcast_mul(&scale)?);
            kept.push(Kept { gate, up });
        }
        let value = self.order.sum(&outputs)?;
        binary(x, scales, value, move |_, scales, g| self.backward(&kept, scales, g))
    }

    /// The gradients of x and of the scales.
    fn backward(&self, kept: &[Kept], scales: &Tensor, g: &Tensor) -> Result<(Tensor, Tensor)> {
        let (by_place, g) = (self.by_place(scales, g.dtype())?, g.contiguous()?);
        let (mut inputs, mut weights) = (Vec::new(), Vec::new());
        let mut place = 0;
        for ((expert, rows), Kept { gate, up }) in self.at_work().zip(kept) {
            let g = g.index_select(rows, 0)?;
            // As if every weight was one.
            let inner = g.matmul(&expert.down.weight.tensor()?)?;
            let activated = gated(self.activation, gate, up, g.dtype())?;
            weights.push((wide(&inner)? * wide(&activated)?)?.sum_keepdim(1)?);
            let scale = by_place.narrow(0, place, g.dim(0)?)?;
            place += g.dim(0)?;
            let (dgate, dup) = slopes(self.activation, gate, up, &inner.broadcast_mul(&scale)?)?;
            let dgate = dgate.matmul(&expert.gate.weight.tensor()?)?;
            inputs.push((dgate + dup.matmul(&expert.up.weight.tensor()?)?)?);
        }
        let weights = Tensor::cat(&weights, 0)?.index_select(&self.order.places, 0)?;
        let weights = weights.reshape(scales.shape())?.to_dtype(scales.dtype())?;
        Ok((self.order.sum(&inputs)?, weights))
    }

    /// The experts that have rows, with them.
    fn at_work(&self) -> impl Iterator<Item = (&GatedWeights, &Tensor)> {
        let experts = self.experts.iter().zip(&self.order.rows);
        experts.filter_map(|(expert, rows)| Some((expert, rows.as_ref()?)))
    }

    /// [places, 1] of what is [rows, experts per token].
    fn by_place(&self, scales: &Tensor, dtype: DType) -> Result<Tensor> {
        scales.reshape(((), 1))?.index_select(&self.order.picks, 0)?.to_dtype(dtype)
    }
}
