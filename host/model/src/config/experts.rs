//! Mixtures of experts: a router sends every row to a few of many MLPs.

use super::{Config, Target};

/// The experts of the MLPs of a model (Shazeer et al. 2017, arXiv 1701.06538; Fedus et al. 2022,
/// arXiv 2101.03961). Router and experts are frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experts {
    /// Experts of a block.
    pub count: usize,
    /// Experts that a row goes to.
    pub per_token: usize,
    /// Values of a row inside an expert.
    pub intermediate_size: usize,
    /// Whether the weights of a row's experts sum to one; else they are their probabilities among
    /// all experts.
    pub normalize: bool,
    /// Per layer whether its MLP is made of experts; none: in all of them.
    pub layers: Option<Vec<bool>>,
}

/// How the files of a family name the parts of a block's experts, below the layer.
#[derive(Debug)]
pub struct ExpertNames {
    /// The router, [experts, hidden].
    pub router: &'static str,
    /// What stands before the number of an expert.
    pub experts: &'static str,
    /// Gate, up and down of an expert.
    pub parts: [&'static str; 3],
}

impl ExpertNames {
    /// The module of gate (0), up (1) or down (2) of an expert.
    pub fn module(&self, expert: usize, part: usize) -> String {
        format!("{}.{expert}.{}", self.experts, self.parts[part])
    }
}

/// Most experts of a block.
const MOST: usize = 4096;

impl Experts {
    /// What no model can have: the field as transformers names it most often, and what is wrong.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let Self { count, per_token, intermediate_size, .. } = self;
        if *count == 0 || *count > MOST {
            return Some(("num_experts", format!("is {count}, outside 1 to {MOST}")));
        }
        if *per_token == 0 || per_token > count {
            let problem = format!("is {per_token}, outside 1 to the {count} experts");
            return Some(("num_experts_per_tok", problem));
        }
        if *intermediate_size == 0 || *intermediate_size > 1 << 28 {
            let problem = format!("is {intermediate_size}, outside 1 to {}", 1u32 << 28);
            return Some(("moe_intermediate_size", problem));
        }
        None
    }
}

impl Config {
    /// The experts that the MLP of a layer is made of; none: it is one dense MLP.
    pub fn experts(&self, layer: usize) -> Option<&Experts> {
        self.experts.as_ref().filter(|experts| {
            experts.layers.as_ref().is_none_or(|layers| layers.get(layer) == Some(&true))
        })
    }

    /// Values of a row inside the MLP of a layer, in all experts that it goes to together.
    pub fn inner_size(&self, layer: usize) -> usize {
        match self.experts(layer) {
            None => self.intermediate_size,
            Some(experts) => experts.per_token * experts.intermediate_size,
        }
    }

    /// The projections that an adapter can sit on in some layer: all, or those of attention alone in a
    /// model whose layers all have experts.
    pub fn targets(&self) -> &'static [Target] {
        const ALL: &[Target] = &Target::ALL;
        let dense = (0..self.num_layers).any(|layer| self.experts(layer).is_none());
        if dense { ALL } else { &ALL[..4] }
    }
}
