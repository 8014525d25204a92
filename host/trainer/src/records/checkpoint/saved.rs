//! What a checkpoint holds, and its two files.

use std::collections::HashMap;

use host_contract::{AnchorSignals, GradientConflict, Outcome};
use host_data::{Extra, Mix};
use host_eval::report::SteeringState;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};

use crate::policies::PolicyState;
use crate::records::run_dir::RecordsMark;
use crate::records::{LossTrend, Totals};

pub const FORMAT: u32 = 2;

/// All that changes from step to step and is no tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    pub format: u32,
    /// The optimizer step that comes next.
    pub step: u64,
    /// Updates that the moments have seen, and those of the way back.
    pub updates: u64,
    pub updates_before: Option<u64>,
    /// Whether there is a moving average.
    pub averaged: bool,
    /// Whether the parameters of the last switch of the alignment share are kept.
    pub switched: bool,
    /// Where the streams of task and alignment data stand, if a policy mixes them.
    pub mix: Option<Mix>,
    /// Where the alignment samples beyond the batch stand, if a policy may add some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Extra>,
    /// Of the step before.
    pub gradient_conflict: Option<GradientConflict>,
    /// Visits of safety anchors so far, and what the last one showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchors: Option<(u64, Option<AnchorSignals>)>,
    /// One per policy.
    pub policies: Vec<PolicyState>,
    pub previous: Option<Outcome>,
    /// Steps in a row that were not applied because a number was not finite.
    pub not_finite: u64,
    pub totals: Totals,
    /// What the policies had in force at the best evaluation, whose adapter is `best`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_steering: Option<SteeringState>,
    #[serde(default)]
    pub loss_trend: LossTrend,
    pub records: RecordsMark,
}

/// Flat tensors by name; see [`crate::parameters`] for their order.
pub type Tensors<'a> = Vec<(&'a str, &'a [f32])>;

/// A checkpoint that was read and found whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    pub progress: Progress,
    pub tensors: HashMap<String, Vec<f32>>,
}

impl Saved {
    /// Takes a tensor of `len` values out.
    pub fn take(&mut self, name: &str, len: usize) -> Result<Vec<f32>, String> {
        match self.tensors.remove(name) {
            Some(values) if values.len() == len => Ok(values),
            Some(values) => {
                Err(format!("holds {} values of {name}, and this adapter has {len}", values.len()))
            }
            None => Err(format!("holds no {name}")),
        }
    }
}

/// In safetensors format.
pub fn to_bytes(tensors: &Tensors) -> Result<Vec<u8>, String> {
    let bytes: Vec<(&str, Vec<u8>)> = tensors
        .iter()
        .map(|(name, values)| (*name, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = bytes
        .iter()
        .map(|(name, bytes)| Ok((*name, view(bytes)?)))
        .collect::<Result<Vec<_>, String>>()?;
    serialize(views, None).map_err(|error| error.to_string())
}

fn view(bytes: &[u8]) -> Result<TensorView<'_>, String> {
    TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).map_err(|error| error.to_string())
}

/// Every tensor of a file that [`to_bytes`] made.
pub fn from_bytes(bytes: &[u8]) -> Result<HashMap<String, Vec<f32>>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensors = file.iter().map(|(name, view)| {
        if view.dtype() != Dtype::F32 {
            return Err(format!("{name} is not f32"));
        }
        let (values, _) = view.data().as_chunks::<4>();
        let values = values.iter().map(|value| f32::from_le_bytes(*value));
        Ok((name.to_owned(), values.collect()))
    });
    tensors.collect()
}
