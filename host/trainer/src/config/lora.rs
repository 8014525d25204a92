//! `[lora]`: the adapter that is trained.

use std::collections::BTreeMap;
use std::path::PathBuf;

use host_model::Names;
use host_model::lora::{Init, LoraConfig, Target};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoraSection {
    /// Rank of the two low-rank matrices.
    pub rank: usize,
    /// The update is scaled by alpha / rank.
    pub alpha: f64,
    /// Scale by alpha / sqrt(rank) instead (rsLoRA).
    pub rank_stabilized: bool,
    /// Train a length for every row of an adapted weight as well (DoRA).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dora: bool,
    /// What the adapter starts from: "kaiming" (A drawn, B zero) or "pissa" (the largest singular
    /// values of each weight, taken off again so that nothing changes at first).
    #[serde(skip_serializing_if = "is_usual")]
    pub init: Init,
    /// Chance that a value which the adapter takes becomes 0 in a training pass; the others are
    /// scaled up. Projections that share their input share what is dropped.
    pub dropout: f64,
    /// The modules that are adapted: a list of names or ends of names (q_proj,
    /// layers.3.mlp.up_proj), "all-linear", or a regular expression that whole names
    /// match (model.layers.3.self_attn.q_proj).
    pub targets: Names,
    /// Modules among them that aren't adapted, written alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Names>,
    /// The layers that are adapted, from 0. Empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<usize>,
    /// An adapter in peft's format that training goes on from. It brings its own ranks,
    /// alphas and targets. The reference is the model without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<PathBuf>,
    /// Ranks by module; a key is a regular expression that the end of a name matches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Alphas by module, likewise.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub alpha_pattern: BTreeMap<String, f64>,
}

fn is_usual(init: &Init) -> bool {
    *init == Init::default()
}

impl Default for LoraSection {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 32.0,
            rank_stabilized: false,
            dora: false,
            init: Init::default(),
            dropout: 0.0,
            targets: Target::ALL.as_slice().into(),
            exclude: None,
            layers: Vec::new(),
            start: None,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
        }
    }
}

impl LoraSection {
    /// What a fresh adapter should look like.
    pub fn resolve(&self) -> LoraConfig {
        LoraConfig {
            rank: self.rank,
            alpha: self.alpha,
            rank_stabilized: self.rank_stabilized,
            magnitudes: self.dora,
            init: self.init,
            targets: self.targets.clone(),
            exclude: self.exclude.clone(),
            layers: self.layers.clone(),
            rank_pattern: self.rank_pattern.clone(),
            alpha_pattern: self.alpha_pattern.clone(),
        }
    }

    /// Which key, if any, says how an adapter looks that brings its looks with it.
    pub(super) fn against_start(&self) -> Option<&'static str> {
        self.start.as_ref()?;
        let plain = Self::default();
        let said = [
            ("lora.rank", self.rank != plain.rank),
            ("lora.alpha", self.alpha != plain.alpha),
            ("lora.rank_stabilized", self.rank_stabilized),
            ("lora.dora", self.dora),
            ("lora.init", !is_usual(&self.init)),
            ("lora.targets", self.targets != plain.targets),
            ("lora.exclude", self.exclude.is_some()),
            ("lora.layers", !self.layers.is_empty()),
            ("lora.rank_pattern", !self.rank_pattern.is_empty()),
            ("lora.alpha_pattern", !self.alpha_pattern.is_empty()),
        ];
        said.into_iter().find_map(|(key, said)| said.then_some(key))
    }
}
