//! Labelled examples, and what a policy makes of them.

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::{
    signals::{Activations, JudgeScores, Needs, activations_bytes, judges_bytes},
    types::Metric,
};

/// Which part of the examples one belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum Split {
    /// To fit on.
    #[component(name = "training")]
    Training,
    /// To choose on.
    #[component(name = "validation")]
    Validation,
    /// To report on, and never to choose on.
    #[component(name = "test")]
    Test,
}

/// One labelled prompt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct Example {
    /// True: a harmful prompt.
    pub harmful: bool,
    /// Its part.
    pub split: Split,
}

/// Labelled examples, measured as `configure` asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct Examples {
    /// Labels.
    pub examples: Vec<Example>,
    /// Per tap, in the order of `examples`.
    pub activations: Vec<Activations>,
    /// Per judge, in the order of `examples`.
    pub judges: Vec<JudgeScores>,
    /// Per tap, of task samples of the run, unlabelled.
    #[component(name = "row-activations")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub row_activations: Vec<Activations>,
    /// Per judge, of the same samples.
    #[component(name = "row-judges")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub row_judges: Vec<JudgeScores>,
}

/// One thing that was tried: a row of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct Candidate {
    /// For people.
    pub name: String,
    /// The layer it looks at, if it looks at one.
    pub layer: Option<u32>,
    /// Such as `test.auroc`.
    pub metrics: Vec<Metric>,
    /// Whether it is what the parameters hold.
    pub chosen: bool,
}

/// What a policy made of the examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
pub struct Calibration {
    /// What `assess` gets as `parameters`.
    pub parameters: Vec<u8>,
    /// What `assess` needs; at most what `configure` said.
    pub needs: Needs,
    /// Rows of the report.
    pub candidates: Vec<Candidate>,
    /// One sentence for a person.
    pub summary: String,
}

/// Bytes of labelled examples.
pub fn examples_bytes(examples: &Examples) -> usize {
    size_of_val(&examples.examples[..])
        + activations_bytes(&examples.activations)
        + judges_bytes(&examples.judges)
        + activations_bytes(&examples.row_activations)
        + judges_bytes(&examples.row_judges)
}
