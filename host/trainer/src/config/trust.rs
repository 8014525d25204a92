//! What a run does when a policy or a judge fails, whose policies it accepts, and what it records.

use std::path::PathBuf;

use host_audit::journal::Mode;
use host_contract::Guardrails;
use host_sandbox::{PolicyKey, Revocations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrustConfig {
    /// stop: a policy that fails ends the run before the update. strict: it is
    /// replaced by the most restrictive assessment for that step.
    pub on_fault: FaultMode,
    /// With strict: how many steps in a row a policy may fail before the run ends.
    pub strict_steps: u64,
    /// Only policies with a valid signature by this key: a public key file of minisign's format or,
    /// for policies of registries, of cosign's, or the key itself.
    pub require_signature: Option<String>,
    /// Policies and keys that are refused whoever signed them: a file of lines `policy SHA256 WHY`
    /// and `key ID WHY`.
    pub revoked: Option<PathBuf>,
    /// Largest share of a judge's judgements that may be no score before the command ends. With
    /// 1 it never ends for it; such samples count as the worst in any case.
    pub judge_failures: f64,
    /// Judges that are not asked at the start whether they tell a harmless pair from a harmful
    /// one.
    pub unchecked_judges: Vec<String>,
    /// Rules that every assessment of every policy must keep, such as "monotone",
    /// "kl_weight >= 0.5 * risk", "task_weight <= 0.2 if risk >= 0.8" or "without ratio-clip". One
    /// that breaks a rule counts as failed.
    pub require: Vec<String>,
    /// Each policy runs in a process of its own that has neither files nor a network, so that
    /// not even a flaw of the WebAssembly engine lets it out. Costs time at every step, more of
    /// it for more activations.
    pub isolate: bool,
}

impl Default for TrustConfig {
    fn default() -> Self {
        Self {
            on_fault: FaultMode::Stop,
            strict_steps: 3,
            require_signature: None,
            revoked: None,
            judge_failures: 0.05,
            unchecked_judges: Vec::new(),
            require: Vec::new(),
            isolate: false,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FaultMode {
    #[default]
    Stop,
    Strict,
}

/// `on_fault` and `strict_steps` in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFault {
    Stop,
    /// At most this many steps in a row.
    Strict(u64),
}

impl TrustConfig {
    /// The key that must have signed every policy.
    pub fn signed_by(&self) -> Result<Option<PolicyKey>> {
        let key = self.require_signature.as_deref();
        Ok(key.map(PolicyKey::read).transpose()?)
    }

    /// The rules of [`require`](Self::require).
    ///
    /// # Errors
    /// A text that is no rule.
    pub fn guardrails(&self) -> Result<Guardrails> {
        Guardrails::parse(&self.require).map_err(|(i, problem)| {
            let rule = host_files::text::brief(&self.require[i], 80);
            Error::config(format!("trust.require[{i}]"), format!("`{rule}`: it {problem}"))
        })
    }

    /// What is refused whoever signed it.
    pub fn revoked(&self) -> Result<Option<Revocations>> {
        let list = self.revoked.as_deref();
        Ok(list.map(Revocations::read).transpose()?)
    }

    pub fn on_fault(&self) -> OnFault {
        match self.on_fault {
            FaultMode::Stop => OnFault::Stop,
            FaultMode::Strict => OnFault::Strict(self.strict_steps),
        }
    }
}

impl std::fmt::Display for OnFault {
    /// As it is given on the command line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stop => f.write_str("stop"),
            Self::Strict(steps) => write!(f, "strict={steps}"),
        }
    }
}

impl OnFault {
    /// Faults in a row that a run survives.
    pub fn strict_steps(self) -> u64 {
        match self {
            Self::Stop => 0,
            Self::Strict(steps) => steps,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// full: with all arguments, so that every assessment can be replayed. light:
    /// their digests only.
    pub mode: Mode,
    /// Most that the stored tensors may take, in MiB; later ones keep their digest.
    pub budget_mib: u64,
    /// Secret key that signs the journal. Default: the user's own, made on first use.
    pub key: Option<PathBuf>,
    /// Whether the folder of a run alone names the key, and not who uses it.
    #[serde(skip)]
    #[schemars(skip)]
    pub key_is_of_run: bool,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { mode: Mode::Full, budget_mib: 4096, key: None, key_is_of_run: false }
    }
}
