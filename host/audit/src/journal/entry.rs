//! What the records of a journal hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use host_contract::{Assessment, Needs, Outcome, Recorded, RunInfo, fail_closed};
use host_sandbox::Limits;

/// One record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Entry {
    /// The first: what the run is made of.
    Run(Box<Run>),
    /// What one policy was asked, and what it answered.
    Assessment(Box<Record>),
    /// Of several policies, what all of them amount to; this is what the step did.
    Combined { step: u64, assessment: Value },
    /// The last: how the run ended. What became of a step is in the signals of the
    /// next one, and here for the last.
    End {
        /// finished, interrupted, stopped or failed.
        ending: String,
        last: Option<Outcome>,
        /// Assessments whose tensors didn't fit into the journal.
        unrecorded: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub format: u32,
    /// Version of the host.
    pub host: String,
    pub interface: String,
    pub mode: Mode,
    /// stop, or strict with the most faults in a row.
    pub on_fault: String,
    pub limits: Limits,
    pub run: RunInfo,
    pub policies: Vec<PolicySlot>,
    /// Which rules combined the assessments of several policies; 0, and left out, for one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub combination: u32,
    /// Rules that every assessment had to keep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<String>,
    /// What else it is made of; absent in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

/// What a run is made of besides its policies, by SHA-256: configuration, program, model,
/// tokenizer, data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Digest of all parts: the run's own name, by which its files are told from those of others.
    pub run: String,
    /// Digests by what they are of, such as `config` and `data.0`.
    pub parts: BTreeMap<String, String>,
}

impl Identity {
    /// The identity of a run that is made of these parts.
    pub fn new(parts: BTreeMap<String, String>) -> Self {
        Self { run: Self::name(&parts), parts }
    }

    /// Whether the name is that of the parts.
    pub fn fits(&self) -> bool {
        self.run == Self::name(&self.parts)
    }

    fn name(parts: &BTreeMap<String, String>) -> String {
        // With lengths, so that no two lists of parts give the same bytes.
        let parts = parts
            .iter()
            .map(|(name, digest)| format!("{} {name} {} {digest}\n", name.len(), digest.len()));
        host_files::sha256::hex_of(parts)
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A policy of the run. Records name it by its position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySlot {
    pub name: String,
    pub version: String,
    /// The file as it was given.
    pub file: String,
    pub sha256: String,
    /// JSON, as the policy got it.
    pub settings: String,
    pub needs: Needs,
    /// SHA-256 of the parameters.
    pub parameters: String,
}

#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// With all arguments, so that every assessment can be replayed.
    #[default]
    Full,
    /// Of tensors only their SHA-256.
    Light,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub step: u64,
    /// Position in `Run::policies`.
    pub policy: usize,
    pub signals: Recorded,
    /// SHA-256 of the state that the policy was given.
    pub state: String,
    pub answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// As [`assessment`] writes it.
    Assessment { assessment: Value, fuel: u64, memory_bytes: u64 },
    /// The policy failed. `stands_in` is the strictest assessment that replaced its
    /// own; absent where the fault ended the run.
    Fault { error: String, stands_in: Option<Value> },
}

/// An assessment as a record holds it: of the state only its SHA-256.
///
/// # Errors
/// None for an assessment that was validated; a NaN or an infinity has no JSON.
pub(super) fn assessment(assessment: &Assessment) -> serde_json::Result<Value> {
    let stateless = Assessment { state: Vec::new(), ..assessment.clone() };
    let mut value = serde_json::to_value(stateless)?;
    value["state"] = Value::String(host_files::sha256::hex(&assessment.state));
    value.sort_all_objects();
    Ok(value)
}

/// What takes the place of the assessment of a policy that failed: the most restrictive one.
pub fn stand_in(samples: usize, fault: &str, state: &[u8]) -> Assessment {
    fail_closed(samples, "policy-fault", fault, state)
}

/// The assessment of a record, without its state.
///
/// # Errors
/// If the value is not an assessment.
pub(super) fn without_state(value: &Value) -> serde_json::Result<Assessment> {
    let mut value = value.clone();
    value["state"] = Value::Array(Vec::new());
    serde_json::from_value(value)
}
