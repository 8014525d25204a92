//! Activations of the model in training or of the reference.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

use super::{
    Journalled, Missing, Needs, Recorded, Signal, Signals, layers,
    lists::{Lists, ListsWriter, join},
    synthetic::{Damage, Row, Step, Stream, Synthetic},
};
use crate::{invalid::Invalid, types::RunInfo};

/// Whose activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum Source {
    /// The frozen reference's.
    #[component(name = "reference")]
    Reference,
    /// Those of the model in training.
    #[component(name = "current")]
    Current,
}

/// Where in a sample an activation is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum Position {
    /// The last token of the rendered prompt.
    #[component(name = "last-prompt-token")]
    LastPromptToken,
    /// The mean over all prompt tokens.
    #[component(name = "prompt-mean")]
    PromptMean,
    /// The mean over all answer tokens.
    #[component(name = "answer-mean")]
    AnswerMean,
}

/// A place where activations are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
pub struct Tap {
    /// Whose.
    pub source: Source,
    /// Where in a sample.
    pub position: Position,
    /// Ascending, without repeats.
    pub layers: Vec<u32>,
}

/// Activations of one tap: samples x layers x units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct Activations {
    /// Where they were read.
    pub tap: Tap,
    /// Number of samples.
    pub samples: u32,
    /// Number of layers of the tap.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Row by row.
    pub values: Vec<f32>,
}

/// Activations as a journal holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ActivationRows {
    tap: Tap,
    layers: u32,
    hidden: u32,
    /// SHA-256 of the little-endian f32 of each sample.
    samples: Vec<String>,
}

/// Bytes of activations.
pub(crate) fn bytes(activations: &[Activations]) -> usize {
    activations.iter().map(|one| size_of_val(&one.values[..])).sum()
}

pub(super) struct ActivationsSignal;

impl Signal for ActivationsSignal {
    fn name(&self) -> &'static str {
        "activations"
    }

    fn need(&self) -> Option<&'static str> {
        Some("needs.taps")
    }

    fn meaning(&self) -> &'static str {
        "activations of the reference or the model in training, per sample and layer"
    }

    fn asked(&self, needs: &Needs) -> bool {
        !needs.taps.is_empty()
    }

    fn example(&self, needs: &mut Needs) {
        let (source, position) = (Source::Reference, Position::LastPromptToken);
        needs.taps.push(Tap { source, position, layers: vec![0, 1] });
    }

    fn entries(&self, needs: &Needs) -> usize {
        needs.taps.len()
    }

    fn check(&self, needs: &Needs, run: &RunInfo) -> Result<(), Invalid> {
        let mut taps = needs.taps.iter().enumerate();
        taps.try_for_each(|(i, tap)| {
            layers::check(&format!("needs.taps[{i}].layers"), &tap.layers, run)
        })
    }

    fn exceeds(&self, narrow: &Needs, wide: &Needs) -> Option<String> {
        let beyond = |tap: &Tap| !wide.taps.iter().any(|other| covers(other, tap));
        narrow.taps.iter().position(beyond).map(|i| format!("needs.taps[{i}]"))
    }

    fn summary(&self, needs: &Needs) -> Vec<String> {
        needs.taps.iter().map(in_words).collect()
    }

    fn given(&self, signals: &Signals) -> bool {
        !signals.activations.is_empty()
    }

    fn copy(&self, from: &Signals, to: &mut Signals) {
        to.activations.clone_from(&from.activations);
    }

    fn bytes(&self, signals: &Signals) -> usize {
        bytes(&signals.activations)
    }

    fn record(&self, from: &Signals, to: &mut Recorded, lists: &mut dyn ListsWriter) {
        let rows = from.activations.iter().map(|one| {
            let per_sample = (one.layers * one.hidden).max(1) as usize;
            ActivationRows {
                tap: one.tap.clone(),
                layers: one.layers,
                hidden: one.hidden,
                samples: one.values.chunks(per_sample).map(|row| lists.put(row)).collect(),
            }
        });
        to.activations = rows.collect();
    }

    fn restore(&self, from: &Recorded, to: &mut Signals, lists: &dyn Lists) -> Result<(), String> {
        for rows in &from.activations {
            to.activations.push(Activations {
                tap: rows.tap.clone(),
                samples: rows.samples.len() as u32,
                layers: rows.layers,
                hidden: rows.hidden,
                values: join(&rows.samples, lists)?,
            });
        }
        Ok(())
    }

    fn digests<'a>(&self, recorded: &'a Recorded) -> Vec<&'a str> {
        let rows = recorded.activations.iter().flat_map(|rows| &rows.samples);
        rows.map(String::as_str).collect()
    }

    fn offer(&self, needs: &Needs, from: Journalled<'_>, to: &mut Signals) -> Result<(), Missing> {
        for tap in &needs.taps {
            let mut given = from.signals.iter().flat_map(|one| &one.activations);
            let found = given.find(|one| one.tap == *tap);
            let missing = || Missing { field: "needs.taps", what: in_words(tap) };
            to.activations.push(found.ok_or_else(missing)?.clone());
        }
        Ok(())
    }

    fn synthesize(&self, made: &Synthetic<'_>, step: &Step, to: &mut Signals) {
        to.activations = made.activations(&step.rows);
    }

    fn reached_by(&self, damage: Damage) -> bool {
        matches!(damage, Damage::Activations(_))
    }

    fn damage(&self, signals: &mut Signals, damage: Damage) {
        if let Damage::Activations(value) = damage {
            signals.activations.iter_mut().for_each(|one| one.values.fill(value));
        }
    }
}

fn covers(wide: &Tap, narrow: &Tap) -> bool {
    let layers = narrow.layers.iter().all(|layer| wide.layers.contains(layer));
    wide.source == narrow.source && wide.position == narrow.position && layers
}

fn in_words(tap: &Tap) -> String {
    let source = match tap.source {
        Source::Reference => "reference",
        Source::Current => "current model",
    };
    let position = match tap.position {
        Position::LastPromptToken => "at the last prompt token",
        Position::PromptMean => "averaged over the prompt",
        Position::AnswerMean => "averaged over the answer",
    };
    format!("activations of the {source} {position}, {}", layers::in_words(&tap.layers))
}

/// Distance of the clusters in standard deviations of one unit, whatever the width: far
/// enough apart for a classifier that was fitted on a few dozen examples.
const DISTANCE: f64 = 12.0;

/// The centre of the harmless cluster and the way to the harmful one.
struct Clusters {
    centre: Vec<f64>,
    way: Vec<f64>,
}

impl Synthetic<'_> {
    /// Activations of two clusters per layer, and of all that lies between them, for every
    /// tap.
    pub fn activations(&self, rows: &[Row]) -> Vec<Activations> {
        let taps = self.needs.taps.iter();
        let activations = taps.map(|tap| Activations {
            tap: tap.clone(),
            samples: rows.len() as u32,
            layers: tap.layers.len() as u32,
            hidden: self.hidden,
            values: self.activation_values(tap, rows),
        });
        activations.collect()
    }

    fn activation_values(&self, tap: &Tap, rows: &[Row]) -> Vec<f32> {
        let places = tap.layers.iter().map(|layer| place(tap, *layer));
        let places: Vec<[u64; 3]> = places.collect();
        let clusters: Vec<Clusters> = places.iter().map(|at| self.clusters(at)).collect();
        let mut values = Vec::with_capacity(rows.len() * tap.layers.len() * self.hidden as usize);
        for row in rows {
            for ([source, position, layer], clusters) in places.iter().zip(&clusters) {
                let at = [*source, *position, *layer, row.key];
                let mut noise = Stream::new(self.seed, "activation", &at);
                let units = clusters.centre.iter().zip(&clusters.way);
                values.extend(
                    units.map(|(centre, way)| (centre + row.level * way + noise.centred()) as f32),
                );
            }
        }
        values
    }

    fn clusters(&self, place: &[u64; 3]) -> Clusters {
        let mut stream = Stream::new(self.seed, "clusters", place);
        let step = DISTANCE / f64::from(self.hidden.max(1)).sqrt();
        let centre = (0..self.hidden).map(|_| stream.centred()).collect();
        let way = (0..self.hidden).map(|_| step * stream.sign()).collect();
        Clusters { centre, way }
    }
}

fn place(tap: &Tap, layer: u32) -> [u64; 3] {
    let source = match tap.source {
        Source::Reference => 0,
        Source::Current => 1,
    };
    let position = match tap.position {
        Position::LastPromptToken => 0,
        Position::PromptMean => 1,
        Position::AnswerMean => 2,
    };
    [source, position, layer.into()]
}
