//! The experts of a layer, in the three ways in which files hold them.

use super::reader::{Reader, TensorSource};
use crate::config::{Config, ExpertNames, Experts};
use crate::error::Result;
use crate::matrix::Matrix;
use crate::weights::{ExpertWeights, GatedWeights, Linear};

/// How a file holds the experts of a layer.
#[derive(Clone, Copy)]
enum Layout {
    /// Every matrix of every expert as a tensor, as the models are published.
    Separate(&'static ExpertNames),
    /// Gate and up of all experts as one tensor [experts, 2 * intermediate, hidden], and down as another: the
    /// parameters of transformers 5.
    Fused,
    /// A tensor of all experts for each of gate, up and down: GGUF.
    Stacked,
}

/// Gate, up and down.
pub(super) const STACKS: [&str; 3] = ["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"];
pub(super) const ROUTER: &str = "ffn_gate_inp";
const FUSED: [&str; 2] = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"];

/// The layout of a layer; none where the family has no experts.
fn layout(
    config: &Config,
    source: &dyn TensorSource,
    prefix: &str,
    layer: usize,
) -> Option<Layout> {
    let names = config.family.expert_names()?;
    let is_there = |name: &str| source.shape(name).is_some();
    Some(if is_there(&format!("blk.{layer}.{}.weight", STACKS[0])) {
        Layout::Stacked
    } else if is_there(&format!("{prefix}layers.{layer}.{}", FUSED[0])) {
        Layout::Fused
    } else {
        Layout::Separate(names)
    })
}

/// The names of the tensors of a layer's router and experts in the file; empty where its MLP is dense.
pub(super) fn tensor_names(
    config: &Config,
    source: &dyn TensorSource,
    prefix: &str,
    layer: usize,
) -> Vec<String> {
    let Some((experts, layout)) = config.experts(layer).zip(layout(config, source, prefix, layer))
    else {
        return Vec::new();
    };
    let names = Names { layout, prefix, layer };
    let mut all = vec![names.router()];
    match layout {
        Layout::Stacked => all.extend(STACKS.map(|stack| names.stack(stack))),
        Layout::Fused => all.extend(FUSED.map(|stack| names.inner(stack))),
        Layout::Separate(_) => {
            let parts = 0..STACKS.len();
            all.extend((0..experts.count).flat_map(|expert| {
                let names = &names;
                parts.clone().map(move |part| names.part(expert, part))
            }));
        }
    }
    all
}

struct Names<'a> {
    layout: Layout,
    prefix: &'a str,
    layer: usize,
}

impl Names<'_> {
    fn inner(&self, name: &str) -> String {
        format!("{}layers.{}.{name}", self.prefix, self.layer)
    }

    fn stack(&self, name: &str) -> String {
        format!("blk.{}.{name}.weight", self.layer)
    }

    fn router(&self) -> String {
        match self.layout {
            Layout::Separate(names) => self.inner(&format!("{}.weight", names.router)),
            Layout::Fused => self.inner("mlp.gate.weight"),
            Layout::Stacked => self.stack(ROUTER),
        }
    }

    /// A matrix that is a tensor.
    fn part(&self, expert: usize, part: usize) -> String {
        let Layout::Separate(names) = self.layout else { return String::new() };
        self.inner(&format!("{}.weight", names.module(expert, part)))
    }
}

/// Reads router and experts of a layer.
///
/// # Errors
/// [`Error::File`](crate::Error::File) for a tensor that is missing or has another shape.
pub(super) fn read(reader: &Reader, experts: &Experts, layer: usize) -> Result<ExpertWeights> {
    let layout = layout(reader.config, reader.source, reader.prefix, layer);
    let layout = layout.unwrap_or(Layout::Fused);
    let names = Names { layout, prefix: reader.prefix, layer };
    let (inner, hidden) = (experts.intermediate_size, reader.config.hidden_size);
    let router = reader.named(&names.router(), &[experts.count, hidden])?;
    let stack = |name: &str, shape: [usize; 2]| reader.stack(name, experts.count, shape);
    let all = match layout {
        Layout::Separate(_) => {
            let one = |expert: usize| {
                let part = |part, shape| reader.matrix(&names.part(expert, part), shape);
                let [gate, up] = [0, 1].map(|index| part(index, [inner, hidden]));
                Ok([gate?, up?, part(2, [hidden, inner])?])
            };
            (0..experts.count).map(one).collect::<Result<Vec<_>>>()?
        }
        Layout::Fused => {
            let both = stack(&names.inner(FUSED[0]), [2 * inner, hidden])?;
            let down = stack(&names.inner(FUSED[1]), [hidden, inner])?;
            let one = |(both, down): (Matrix, Matrix)| {
                Ok([both.lines(0, inner)?, both.lines(inner, inner)?, down])
            };
            both.into_iter().zip(down).map(one).collect::<Result<Vec<_>>>()?
        }
        Layout::Stacked => {
            let [gate, up] = [0, 1].map(|at| stack(&names.stack(STACKS[at]), [inner, hidden]));
            let down = stack(&names.stack(STACKS[2]), [hidden, inner])?;
            let pairs = gate?.into_iter().zip(up?).zip(down);
            pairs.map(|((gate, up), down)| [gate, up, down]).collect()
        }
    };
    let held = |matrix: Matrix| -> Result<Linear> {
        Ok(Linear { weight: reader.held.hold(matrix, false)?, bias: None })
    };
    let gated = |[gate, up, down]: [Matrix; 3]| {
        Ok(GatedWeights { gate: held(gate)?, up: held(up)?, down: held(down)? })
    };
    let experts = all.into_iter().map(gated).collect::<Result<_>>()?;
    Ok(ExpertWeights { router, experts })
}
