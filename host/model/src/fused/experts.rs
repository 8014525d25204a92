//! The MLP of a block that is a mixture of experts: both passes, and decoding.
//!
//! Rows lie in the order of their experts, so that an expert is one product over its rows. A row's result
//! doesn't depend on which rows share its experts, and its experts are added up by rank: no
//! company and no number of threads changes a bit of it. Router and experts have no adapter.

use rayon::prelude::*;

use super::ends::{Entry, start};
use super::routes::{Order, Panel, Routes};
use super::scratch::Scratch;
use super::shape::BLOCK;
use super::tape::{Tape, blocks_mut, fit};
use crate::config::{Activation, Config, Experts};
use crate::slices::{MatrixValues, Values};
use host_kernels::low_rank::Narrow;
use host_kernels::packed_lhs::PackedLhs;
use host_kernels::product::{self, Product, Summand};
use host_kernels::right::Weight;
use host_kernels::view::{Accumulate, Mat};
use host_kernels::{gated, route, skinny};

/// Up to so many rows of an expert, streaming its weights beats packing them.
const FEW: usize = 16;

/// Router and experts of one block.
pub(super) struct ExpertMlp<'a> {
    config: &'a Experts,
    hidden: usize,
    activation: Activation,
    /// Their sum is normed or scaled before it joins the stream.
    is_finished: bool,
    /// [experts, hidden]
    router: &'a [f32],
    /// Gate, up [intermediate, hidden] and down [hidden, intermediate] of every expert.
    experts: Vec<[Weight<'a>; 3]>,
}

/// Buffers of a pass through the experts.
struct Room<'r> {
    left: &'r mut PackedLhs,
    gate: &'r mut [f32],
    up: &'r mut [f32],
    /// What every expert gives for its rows [places, hidden].
    outputs: &'r mut [f32],
}

impl<'a> ExpertMlp<'a> {
    pub fn new(
        config: &Config,
        experts: &'a Experts,
        is_finished: bool,
        router: &'a Values<'_>,
        weights: &'a [[MatrixValues<'_>; 3]],
    ) -> Self {
        let weights = weights.iter().map(|parts| parts.each_ref().map(MatrixValues::weight));
        Self {
            config: experts,
            hidden: config.hidden_size,
            activation: config.activation,
            is_finished,
            router,
            experts: weights.collect(),
        }
    }

    /// out [rows, hidden] = mid + the experts' sum of norm(mid), without mid where that is finished; what the
    /// backward pass needs stays in `tape`, `left` and `outputs` are scratch.
    pub fn forward(
        &self,
        entry: Entry,
        tape: &mut Tape,
        out: &mut [f32],
        left: &mut PackedLhs,
        outputs: &mut Vec<f32>,
    ) {
        let (hidden, per_token) = (self.hidden, self.config.per_token);
        // The normed rows lie where the result will.
        self.route(entry, &tape.mid, out, &mut tape.routes);
        let order = Order::new(&tape.routes.chosen, self.config);
        fit(outputs, order.picks.len() * hidden);
        let room = Room { left, gate: &mut tape.gate, up: &mut tape.up, outputs };
        self.multiply(out, &order, room);
        let (weights, mid) = (&tape.routes.weights, &tape.mid);
        out.par_chunks_mut(BLOCK * hidden).enumerate().for_each(|(block, out)| {
            let first = block * BLOCK;
            start(self.is_finished, &mid[first * hidden..first * hidden + out.len()], out);
            for (row, out) in out.chunks_exact_mut(hidden).enumerate() {
                let picks = (first + row) * per_token..(first + row + 1) * per_token;
                order.add(outputs, hidden, picks, |pick| weights[pick], out);
            }
        });
    }

    /// The normed rows, and where they go.
    fn route(&self, entry: Entry, mid: &[f32], normed: &mut [f32], routes: &mut Routes) {
        let Experts { count, per_token, normalize, .. } = *self.config;
        let hidden = self.hidden;
        let router = Narrow::pack(Mat::rows(self.router, hidden).t(), hidden, count);
        let mut normed = blocks_mut(normed, BLOCK * hidden);
        let mut weights = blocks_mut(&mut routes.weights, BLOCK * per_token);
        let mut probabilities = blocks_mut(&mut routes.probabilities, BLOCK * count);
        let chosen = routes.chosen.chunks_mut(BLOCK * per_token);
        let work: Vec<_> = mid
            .chunks(BLOCK * hidden)
            .zip(chosen)
            .map(|(mid, chosen)| (mid, chosen, normed.next(), probabilities.next(), weights.next()))
            .collect();
        work.into_par_iter().for_each(|(mid, chosen, normed, probabilities, weights)| {
            entry.forward(mid, normed);
            router.multiply(normed, probabilities);
            choose(probabilities, (count, per_token, normalize), chosen, weights);
        });
    }

    /// Gate, up and down of every expert on its rows of `normed`.
    fn multiply(&self, normed: &[f32], order: &Order, room: Room) {
        let (hidden, inner) = (self.hidden, self.config.intermediate_size);
        let format = self.experts[0][0].format();
        let Room { left, gate, up, outputs } = room;
        let work = packed_blocks(left.shape(format, order.rows(), hidden), &order.panels);
        work.into_par_iter().for_each(|(panel, mut packed)| {
            let rows = order.gather(normed, hidden, panel.places.clone());
            packed.pack(&rows, panel.places.len(), hidden);
        });
        let mut products = Vec::new();
        let outs = order.cut(gate, inner).into_iter().zip(order.cut(up, inner));
        for (span, (gate, up)) in order.spans.iter().zip(outs) {
            for (part, c) in [gate, up].into_iter().enumerate() {
                let right = self.experts[span.expert][part].transposed(hidden);
                products.push(set(c, inner, vec![Summand::Panels(left, span.packed(), right)]));
            }
        }
        product::run(&mut products);
        let (gate, up) = (&*gate, &*up);
        let work = packed_blocks(left.shape(format, order.rows(), inner), &order.panels);
        work.into_par_iter().for_each(|(panel, mut packed)| {
            let values = panel.places.start * inner..panel.places.end * inner;
            let mut activated = vec![0f32; values.len()];
            gated::forward(self.activation, &gate[values.clone()], &up[values], &mut activated);
            packed.pack(&activated, panel.places.len(), inner);
        });
        let outs = order.spans.iter().zip(order.cut(outputs, hidden));
        let mut products: Vec<Product> = outs
            .map(|(span, c)| {
                let right = self.experts[span.expert][2].transposed(inner);
                set(c, hidden, vec![Summand::Panels(left, span.packed(), right)])
            })
            .collect();
        product::run(&mut products);
    }

    /// Turns the gradient of the block's output in `scratch.g` into that of the normed rows, in `dx`.
    pub fn backward(&self, tape: &Tape, scratch: &mut Scratch) {
        let hidden = self.hidden;
        let order = Order::new(&tape.routes.chosen, self.config);
        let slopes = self.enter_back(tape, &order, scratch);
        let Experts { count, per_token, normalize, .. } = *self.config;
        let rows = scratch.g.len() / hidden;
        let mut dlogits = vec![0f32; rows * count];
        dlogits.par_chunks_mut(count).enumerate().for_each(|(row, dlogits)| {
            let picks = row * per_token..(row + 1) * per_token;
            let places = order.places[picks].iter();
            let dweights: Vec<f32> = places.map(|place| slopes[*place as usize]).collect();
            route::slopes(tape.routes.choice(row, self.config), normalize, &dweights, dlogits);
        });
        let router = Mat::rows(self.router, hidden);
        product::run(&mut [set(
            &mut scratch.dx,
            hidden,
            vec![Summand::Rows(&dlogits, count, router)],
        )]);
        let outputs = &scratch.outputs;
        scratch.dx.par_chunks_mut(hidden).enumerate().for_each(|(row, dx)| {
            let picks = row * per_token..(row + 1) * per_token;
            order.add(outputs, hidden, picks, |_| 1.0, dx);
        });
    }

    /// Leaves the gradient of every expert's input in `outputs`, and gives that of its weight [places].
    fn enter_back(&self, tape: &Tape, order: &Order, scratch: &mut Scratch) -> Vec<f32> {
        let (hidden, inner) = (self.hidden, self.config.intermediate_size);
        let format = self.experts[0][0].format();
        let [left_gate, left_up, _] = &mut scratch.left;
        let g = &scratch.g;
        let work = packed_blocks(left_gate.shape(format, order.rows(), hidden), &order.panels);
        work.into_par_iter().for_each(|(panel, mut packed)| {
            let rows = order.gather(g, hidden, panel.places.clone());
            packed.pack(&rows, panel.places.len(), hidden);
        });
        // The gradient of the inner values as if every weight was one.
        let outs = order.spans.iter().zip(order.cut(&mut scratch.dup, inner));
        let mut products: Vec<Product> = outs
            .map(|(span, c)| {
                let right = self.experts[span.expert][2].right(inner, 0);
                set(c, inner, vec![Summand::Panels(left_gate, span.packed(), right)])
            })
            .collect();
        product::run(&mut products);
        let mut slopes = vec![0f32; order.picks.len()];
        let packed_gate =
            packed_blocks(left_gate.shape(format, order.rows(), inner), &order.panels);
        let packed_up = packed_blocks(left_up.shape(format, order.rows(), inner), &order.panels);
        let sides = packed_gate.into_iter().zip(packed_up).zip(order.cut_panels(&mut slopes, 1));
        let sides = sides.zip(order.cut_panels(&mut scratch.dgate, inner));
        let work: Vec<_> = sides.zip(order.cut_panels(&mut scratch.dup, inner)).collect();
        work.into_par_iter().for_each(|((((gate, up), slopes), dgate), dup)| {
            let ((panel, mut packed_gate), (_, mut packed_up)) = (gate, up);
            let values = panel.places.start * inner..panel.places.end * inner;
            let (gate, up) = (&tape.gate[values.clone()], &tape.up[values]);
            let mut activated = vec![0f32; gate.len()];
            gated::forward(self.activation, gate, up, &mut activated);
            let mut dinner = dup.to_vec();
            let rows = activated.chunks_exact(inner).zip(dinner.chunks_exact_mut(inner));
            for ((place, (activated, dinner)), slope) in panel.places.clone().zip(rows).zip(slopes)
            {
                *slope = route::dot(activated, dinner);
                let weight = tape.routes.weights[order.picks[place] as usize];
                host_kernels::softmax::scale(dinner, weight);
            }
            gated::backward(self.activation, gate, up, &dinner, dgate, dup);
            packed_gate.pack(dgate, panel.places.len(), inner);
            packed_up.pack(dup, panel.places.len(), inner);
        });
        let (left_gate, left_up) = (&*left_gate, &*left_up);
        let outs = order.spans.iter().zip(order.cut(&mut scratch.outputs, hidden));
        let mut products: Vec<Product> = outs
            .map(|(span, c)| {
                let [gate, up, _] = self.experts[span.expert].map(|part| part.right(hidden, 0));
                let sides = [(left_gate, gate), (left_up, up)];
                let sides = sides.map(|(left, right)| Summand::Panels(left, span.packed(), right));
                set(c, hidden, sides.to_vec())
            })
            .collect();
        product::run(&mut products);
        slopes
    }

    /// Adds the experts' sum of a few normed rows to the stream.
    pub fn decode(&self, normed: &[f32], stream: &mut [f32]) {
        let Experts { count, per_token, normalize, intermediate_size: inner, .. } = *self.config;
        let hidden = self.hidden;
        let rows = normed.len() / hidden;
        let mut routes = Routes::default();
        routes.fit(self.config, rows);
        let Routes { probabilities, chosen, weights } = &mut routes;
        skinny::matmul(normed, hidden, Weight::F32(self.router), probabilities, count);
        choose(probabilities, (count, per_token, normalize), chosen, weights);
        let order = Order::new(chosen, self.config);
        let places = order.picks.len();
        let (mut gate, mut up) = (vec![0f32; places * inner], vec![0f32; places * inner]);
        let mut outputs = vec![0f32; places * hidden];
        if order.spans.iter().any(|span| span.places.len() > FEW) {
            let (gate, up, outputs) = (&mut gate[..], &mut up[..], &mut outputs[..]);
            let left = &mut PackedLhs::default();
            self.multiply(normed, &order, Room { left, gate, up, outputs });
        } else {
            let x = order.gather(normed, hidden, 0..places);
            self.stream(&order, &x, [0, 1], [&mut gate, &mut up]);
            let mut inner = vec![0f32; gate.len()];
            gated::forward(self.activation, &gate, &up, &mut inner);
            self.stream(&order, &inner, [2], [&mut outputs]);
        }
        for (row, stream) in stream.chunks_exact_mut(hidden).enumerate() {
            let picks = row * per_token..(row + 1) * per_token;
            order.add(&outputs, hidden, picks, |pick| weights[pick], stream);
        }
    }

    /// y = x W^T of parts of the experts, [places, out] each: weights are read once, their lines split over the
    /// threads.
    fn stream<const N: usize>(
        &self,
        order: &Order,
        x: &[f32],
        parts: [usize; N],
        outs: [&mut Vec<f32>; N],
    ) {
        let input = x.len() / order.picks.len();
        let widths = outs.each_ref().map(|out| out.len() / order.picks.len());
        let total: usize = widths.iter().sum::<usize>() * order.spans.len();
        let shard = total.div_ceil(4 * rayon::current_num_threads()).max(16);
        let mut work = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            for span in &order.spans {
                for first in (0..widths[index]).step_by(shard) {
                    let lines = first..widths[index].min(first + shard);
                    work.push((index, part, span, lines));
                }
            }
        }
        let found: Vec<Vec<f32>> = work
            .par_iter()
            .map(|(_, part, span, lines)| {
                let weight = self.experts[span.expert][*part].lines(lines.clone(), input);
                let mut y = vec![0f32; span.places.len() * lines.len()];
                let x = &x[span.places.start * input..span.places.end * input];
                skinny::matmul(x, input, weight, &mut y, lines.len());
                y
            })
            .collect();
        for ((index, _, span, lines), found) in work.iter().zip(found) {
            for (place, found) in span.places.clone().zip(found.chunks_exact(lines.len())) {
                let start = place * widths[*index] + lines.start;
                outs[*index][start..start + lines.len()].copy_from_slice(found);
            }
        }
    }
}

/// Probabilities instead of logits, and the experts, of every row.
fn choose(
    probabilities: &mut [f32],
    (count, per_token, normalize): (usize, usize, bool),
    chosen: &mut [u32],
    weights: &mut [f32],
) {
    let picks = chosen.chunks_exact_mut(per_token).zip(weights.chunks_exact_mut(per_token));
    for (row, (chosen, weights)) in probabilities.chunks_exact_mut(count).zip(picks) {
        route::choose(row, normalize, chosen, weights);
    }
}

fn set<'p>(c: &'p mut [f32], cols: usize, summands: Vec<Summand<'p>>) -> Product<'p> {
    Product { into: Accumulate::Set, c, cols, bias: None, summands }
}

/// Every panel with its room in the packed rows.
fn packed_blocks<'p>(
    left: &'p mut PackedLhs,
    panels: &'p [Panel],
) -> Vec<(&'p Panel, host_kernels::packed_lhs::Block<'p>)> {
    let mut blocks = left.blocks(Order::PANEL);
    panels.iter().map(|panel| (panel, blocks.next_block())).collect()
}
