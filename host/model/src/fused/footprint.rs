//! Memory of a training step, counted on the structures that it fills.

use rayon::current_num_threads;

use super::adapter::{Extent, Flat};
use super::frozen::Frozen;
use super::scratch::{Scratch, mlp_depth, packed_rows};
use super::shape::BLOCK;
use super::tape::Tape;
use crate::head;
use crate::lora::Lora;
use crate::pass::{MicroBatchShape, StepMemory};
use host_kernels::packed_lhs::PackedLhs;
use host_kernels::{attention, matmul, product};

impl Frozen {
    /// In values of f32 throughout; `StepMemory` has bytes.
    pub fn step_memory(
        &self,
        adapter: &Lora,
        work: &MicroBatchShape,
        recompute: bool,
    ) -> StepMemory {
        let config = &self.config;
        let flat = Flat::new(adapter);
        // Layers may differ in the ranks of their projections.
        let extents: Vec<Extent> = (0..config.num_layers).map(|layer| flat.extent(layer)).collect();
        let rows: usize = work.lengths.iter().sum();
        let longest = work.lengths.iter().copied().max().unwrap_or(0);
        let stream = rows * config.hidden_size;
        let selected = work.answer_tokens * config.hidden_size;
        let mixed = rows * config.q_size();
        let threads = current_num_threads();
        let layers = 0..config.num_layers;
        let most = |of: &dyn Fn(usize) -> usize| layers.clone().map(of).max().unwrap_or(0);
        // The normed rows or the MLP's inner ones of the blocks at work, and rows as the
        // deepest product takes them.
        let deepest = most(&|layer| mlp_depth(config, layer)).max(config.hidden_size);
        let at_work = rows.min(threads * BLOCK) * deepest;
        let format = self.format();
        let attention = PackedLhs::values(format, rows, config.hidden_size.max(config.q_size()));
        let packed = most(&|layer| {
            let depth = mlp_depth(config, layer).max(config.hidden_size);
            PackedLhs::values(format, packed_rows(config, layer, rows), depth)
        });
        let packed = packed.max(attention);

        let tape = |layer: usize| {
            let row = Tape::new(config, layer, 1, extents[layer]).values() + config.num_heads;
            rows * row + stream
        };
        let kept =
            if recompute { config.num_layers * stream } else { layers.clone().map(tape).sum() };
        let again = if recompute { most(&tape) + stream } else { 0 };
        // What experts give, before it is added up.
        let outputs =
            most(&|layer| config.experts(layer).map_or(0, |experts| experts.per_token * stream));
        let ropes = 1 + usize::from(config.local_rope.is_some());
        let angles = ropes * rows * config.rotary_dim();
        // The adapter as one vector, the stream after the last block, the hidden rows.
        let left = flat.size() + kept + 2 * stream;
        let forward = left + again + angles + packed + outputs + mixed.max(at_work);
        // A tape that blocks are computed again with waits meanwhile.
        let head = left + again + selected + head::fused::values(work, config, format);

        // The gradients of the answer rows, of the hidden rows (old and new), of the adapter.
        let slopes = 2 * selected + 2 * stream + flat.size();
        let scratch = most(&|layer| {
            let mut row = Scratch::new(config, vec![0.0; config.hidden_size]);
            row.fit(config, layer, extents[layer]);
            rows * row.values()
        });
        let scratch = scratch + Scratch::packed_values(config, format, rows);
        let heads = attention::gradient_values(mixed, longest, threads);
        // What comes back through the adapters on one input, and attention's output as it was dropped.
        let dropped = if work.has_dropout { rows * deepest.max(config.q_size()) } else { 0 };
        let at_once = heads.max(at_work).max(dropped);
        let backward = left + slopes + again + angles + scratch + at_once;
        // The adapter's gradient is cut up twice on its way to the variables.
        let end = left + slopes + 2 * flat.size();

        let panels = threads * (matmul::panel_values() + product::panel_values());
        let bytes = |values: usize| (values * size_of::<f32>()) as u64;
        StepMemory {
            activations: bytes(left),
            head: bytes(head - left),
            backward: bytes(backward.max(end) - left),
            panels: bytes(panels),
            peak: bytes(panels + forward.max(head).max(backward).max(end)),
        }
    }
}
