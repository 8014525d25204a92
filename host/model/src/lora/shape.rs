//! Which projections an adapter sits on, each with its rank and alpha.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::modules::Modules;
use super::named::{Numbers, modules, unreadable};
use crate::config::{Config, Target};
use crate::error::{Error, Result};

/// The highest rank of a projection.
const MOST: usize = 4096;

/// Modules: a list of names, or an expression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// Names of modules, or the ends of them after a point: `q_proj`, `layers.3.mlp.up_proj`.
    List(Vec<String>),
    /// `all-linear`, or a regular expression that whole names match
    /// (`model.layers.3.self_attn.q_proj`).
    Text(String),
}

impl Names {
    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::List(names) => names.is_empty(),
            Self::Text(text) => text.is_empty(),
        }
    }

    fn modules(&self, key: &str) -> Result<Modules> {
        match self {
            Self::List(names) => Ok(Modules::Ends(names.clone())),
            Self::Text(text) => {
                Modules::of_text(text).map_err(|error| unreadable(key, text, &error))
            }
        }
    }

    /// Names of a list that are no module's are slips.
    fn refuse_unknown(&self, key: &str, model: &Config) -> Result<()> {
        let Self::List(names) = self else {
            return Ok(());
        };
        let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
        if let Some((_, name)) = twice {
            return Err(Error::adapter(format!("{key}: {name:?} is named twice"), "name it once"));
        }
        let stranger = names.iter().find(|name| !modules(model).any(|module| module.is(name)));
        stranger.map_or(Ok(()), |name| {
            let known: Vec<&str> = model.targets().iter().map(|target| target.name()).collect();
            let experts = model.experts.as_ref().map_or("", |_| "; its experts are frozen");
            Err(Error::adapter(
                format!("{key}: no linear layer of the model's blocks is called {name:?}{experts}"),
                format!(
                    "use {}, or more of a name, such as layers.0.self_attn.q_proj",
                    known.join(", ")
                ),
            ))
        })
    }
}

impl From<&[Target]> for Names {
    fn from(targets: &[Target]) -> Self {
        Self::List(targets.iter().map(|target| target.name().to_owned()).collect())
    }
}

/// What the factors of a fresh adapter are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// A uniform, B zero, as LoRA and peft have it.
    #[default]
    Kaiming,
    /// The largest singular values of the weight (PiSSA). The start is taken off again, so the
    /// model is the same at first; the adapter has twice the rank, half of which is not trained.
    Pissa,
}

/// What an adapter should look like; [`LoraConfig::shape`] finds what that is in a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rows of A, columns of B, where no pattern says otherwise.
    pub rank: usize,
    /// Numerator of the scaling, where no pattern says otherwise.
    pub alpha: f64,
    /// The scaling is alpha / sqrt(rank) instead of alpha / rank (rsLoRA, arXiv 2312.03732).
    #[serde(default)]
    pub rank_stabilized: bool,
    /// Every row of an adapted weight has a length of its own that is trained (DoRA, arXiv 2402.09353).
    #[serde(default)]
    pub magnitudes: bool,
    /// What the factors are at first.
    #[serde(default)]
    pub init: Init,
    /// The modules that are adapted.
    pub targets: Names,
    /// Modules among them that aren't.
    #[serde(default)]
    pub exclude: Option<Names>,
    /// The layers that are adapted; empty: all.
    #[serde(default)]
    pub layers: Vec<usize>,
    /// Ranks by module; a key is an expression that the end of a name matches.
    #[serde(default)]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Alphas by module, likewise.
    #[serde(default)]
    pub alpha_pattern: BTreeMap<String, f64>,
}

impl LoraConfig {
    /// One rank and alpha, in all layers.
    pub fn new(rank: usize, alpha: f64, targets: &[Target]) -> Self {
        Self {
            rank,
            alpha,
            rank_stabilized: false,
            magnitudes: false,
            init: Init::default(),
            targets: targets.into(),
            exclude: None,
            layers: Vec::new(),
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
        }
    }

    /// The projections of `model` that are meant, with rank and alpha of each.
    ///
    /// # Errors
    /// [`Error::Adapter`] that names the field: a name, pattern or layer that the model doesn't
    /// have, an expression that can't be read, two patterns that contradict each other, a rank
    /// or alpha out of range, or nothing to adapt.
    pub fn shape(&self, model: &Config) -> Result<Shape> {
        self.targets.refuse_unknown("targets", model)?;
        if let Some(exclude) = &self.exclude {
            exclude.refuse_unknown("exclude", model)?;
        }
        if let Some(layer) = self.layers.iter().find(|layer| **layer >= model.num_layers) {
            return Err(Error::adapter(
                format!("layers: there is no layer {layer}"),
                format!("the model's layers are 0 to {}", model.num_layers - 1),
            ));
        }
        let targets = self.targets.modules("targets")?;
        let exclude = self.exclude.as_ref().map(|names| names.modules("exclude")).transpose()?;
        let mut ranks = Numbers::new("rank_pattern", &self.rank_pattern)?;
        let mut alphas = Numbers::new("alpha_pattern", &self.alpha_pattern)?;
        // Behind the factors that are trained stand those that they start from, negative.
        let stacked = |rank, alpha| match self.init {
            Init::Kaiming => Place { rank, alpha },
            Init::Pissa => Place { rank, alpha }.stacked(2, self.rank_stabilized),
        };
        let mut places = vec![[None; 7]; model.num_layers];
        for module in modules(model) {
            let held = |modules: &Modules| module.names().iter().any(|name| modules.hold(name));
            let chosen = self.layers.is_empty() || self.layers.contains(&module.layer);
            if chosen && held(&targets) && !exclude.as_ref().is_some_and(held) {
                let rank = ranks.of(&module)?.unwrap_or(self.rank);
                let alpha = alphas.of(&module)?.unwrap_or(self.alpha);
                self.check_start(model, module.target, rank)?;
                places[module.layer][module.target as usize] = Some(stacked(rank, alpha));
            }
        }
        ranks.refuse_unused()?;
        alphas.refuse_unused()?;
        let Place { rank, alpha } = stacked(self.rank, self.alpha);
        let shape = Shape {
            rank,
            alpha,
            rank_stabilized: self.rank_stabilized,
            magnitudes: self.magnitudes,
            places,
        };
        shape.check(model)?;
        Ok(shape)
    }

    /// A matrix has as many singular values as its shorter side is long.
    fn check_start(&self, model: &Config, target: Target, rank: usize) -> Result<()> {
        let (out, input) = model.shape(target);
        let values = out.min(input);
        if self.init == Init::Kaiming || rank <= values {
            return Ok(());
        }
        Err(Error::adapter(
            format!("{} has {values} singular values, fewer than rank {rank}", target.name()),
            "choose a lower rank, or the usual start",
        ))
    }
}

/// Rank and alpha of one adapted projection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Rows of A, columns of B.
    pub rank: usize,
    /// Numerator of the scaling.
    pub alpha: f64,
}

impl Place {
    /// With n such factors behind each other: the same scaling for n times the rank.
    pub(crate) fn stacked(self, n: usize, rank_stabilized: bool) -> Self {
        Self { rank: self.rank * n, alpha: self.alpha * Self::ratio(n, rank_stabilized) }
    }

    /// What B A is multiplied by.
    pub(crate) fn scaling(self, rank_stabilized: bool) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if rank_stabilized { rank.sqrt() } else { rank }
    }

    /// How much more alpha n times the rank needs for the same scaling.
    pub(crate) fn ratio(n: usize, rank_stabilized: bool) -> f64 {
        if rank_stabilized { (n as f64).sqrt() } else { n as f64 }
    }
}

/// The adapted projections of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// What most projections have; a file of peft's states it once.
    pub rank: usize,
    /// Likewise.
    pub alpha: f64,
    /// The scaling is alpha / sqrt(rank) instead of alpha / rank.
    pub rank_stabilized: bool,
    /// Whether every row of an adapted weight has a length of its own (DoRA).
    pub magnitudes: bool,
    /// By layer and target.
    pub places: Vec<[Option<Place>; 7]>,
}

impl Shape {
    /// Of one projection, if it is adapted.
    pub fn place(&self, layer: usize, target: Target) -> Option<Place> {
        self.places.get(layer)?[target as usize]
    }

    /// What B A is multiplied by.
    pub fn scaling(&self, place: Place) -> f64 {
        place.scaling(self.rank_stabilized)
    }

    /// Every adapted projection, by layer.
    pub fn adapted(&self) -> impl Iterator<Item = (usize, Target, Place)> {
        self.places.iter().enumerate().flat_map(|(layer, row)| {
            Target::ALL
                .into_iter()
                .filter_map(move |target| Some((layer, target, row[target as usize]?)))
        })
    }

    /// # Errors
    /// [`Error::Adapter`] for ranks and alphas out of range, or no place at all.
    pub(crate) fn check(&self, model: &Config) -> Result<()> {
        if self.adapted().next().is_none() {
            return Err(Error::adapter(
                "no projection is adapted",
                "name at least one in targets, and exclude fewer",
            ));
        }
        for (layer, target, Place { rank, alpha }) in self.adapted() {
            let at = || format!("of layer {layer}'s {}", target.name());
            if rank == 0 || rank > MOST {
                return Err(Error::adapter(
                    format!("the rank {} is {rank}", at()),
                    format!("choose 1 to {MOST}"),
                ));
            }
            if !(alpha.is_finite() && alpha > 0.0) {
                return Err(Error::adapter(
                    format!("the alpha {} is {alpha}", at()),
                    "choose a positive number",
                ));
            }
        }
        for layer in 0..model.num_layers {
            for module in model.family.modules() {
                let places = module.parts.iter().filter_map(|part| self.place(layer, *part));
                let places: Vec<Place> = places.collect();
                if self.magnitudes && !places.is_empty() && places.len() < module.parts.len() {
                    return Err(Error::adapter(
                        format!(
                            "some projections of layer {layer}'s {} are adapted and others aren't, which with magnitudes \
                             (DoRA) can't be one module",
                            module.name()
                        ),
                        "adapt all of them or none",
                    ));
                }
                if places.windows(2).any(|two| two[0] != two[1]) {
                    return Err(Error::adapter(
                        format!(
                            "projections of layer {layer}'s {} differ in rank or alpha, and the model keeps them in one module",
                            module.name()
                        ),
                        "give them the same",
                    ));
                }
            }
        }
        Ok(())
    }
}
