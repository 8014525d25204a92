//! What can be said of a policy without letting it assess anything: its file, what is
//! in it, who signed it, and what it says of itself.

mod settings;
mod structure;

pub use settings::Setting;
pub use structure::{CustomSection, Memory, Producer, Structure, Table};

pub(crate) use settings::{defaults, is_closed, properties};

use std::path::Path;

use serde::Serialize;

use host_contract::{Needs, actuators_summary, signals_summary};
use host_files::text::clean;
use host_sandbox::{
    Claim, Engine, Error, Job, Policy, PolicyKey, Result, check_signature, claimed, digest, read,
};

/// A policy, described.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    pub file: String,
    pub bytes: u64,
    pub sha256: String,
    pub signature: Signature,
    /// What the policy calls itself; checked and clean.
    pub name: String,
    pub version: String,
    pub summary: String,
    /// The contract that it was built for.
    pub interface: &'static str,
    pub structure: Structure,
    pub settings: Vec<Setting>,
    /// What it asks for in a given run, in words.
    pub needs: Vec<String>,
    /// What it may steer beyond the loss weights, in words.
    pub actuators: Vec<String>,
    /// What both follow from.
    pub asks: Option<Needs>,
    /// Its interfaces as text; absent where no worker process can decode them.
    pub wit: Option<String>,
}

/// What is known of a policy's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Signature {
    /// No signature lies beside the file, and the registry has none.
    Absent,
    /// There is one, and no key was given to check it.
    Unchecked {
        claims: Option<String>,
    },
    /// There is one of cosign, and no key was given to check it.
    UncheckedCosign,
    Valid {
        key: String,
        comment: String,
    },
    Invalid {
        problem: String,
    },
}

impl Signature {
    /// Looks for `FILE.minisig`, or in the registry, and checks what is there if there is a key.
    pub fn of(engine: &Engine, path: &Path, bytes: &[u8], signed_by: Option<&PolicyKey>) -> Self {
        if let Some(key) = signed_by {
            return match check_signature(engine, path, bytes, key) {
                Ok(said) => Self::Valid { key: key.id(), comment: said.to_string() },
                Err(error) => Self::Invalid { problem: error.to_string() },
            };
        }
        match claimed(engine, path) {
            Some(Claim::Minisign(key)) => Self::Unchecked { claims: Some(key) },
            Some(Claim::Nothing) => Self::Unchecked { claims: None },
            Some(Claim::Cosign) => Self::UncheckedCosign,
            None => Self::Absent,
        }
    }
}

impl std::fmt::Display for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::Unchecked { claims: Some(key) } => {
                write!(f, "not checked; it says it is by key {key} (give --signed-by KEY to check)")
            }
            Self::Unchecked { claims: None } => {
                f.write_str("there is a file, and it is no signature")
            }
            Self::UncheckedCosign => f.write_str(
                "not checked; there is one of cosign (give --signed-by cosign.pub to check)",
            ),
            Self::Valid { key, comment } => write!(f, "valid, by key {key}: {comment}"),
            Self::Invalid { problem } => f.write_str(problem),
        }
    }
}

/// Describes a policy that was loaded from the file `path`. `needs` are those of one
/// run; without them that part stays empty.
///
/// # Errors
/// A file that can't be read, or that is no longer what was loaded.
pub fn inspect(
    policy: &Policy,
    path: &Path,
    signed_by: Option<&PolicyKey>,
    needs: Option<&Needs>,
) -> Result<Inspection> {
    let bytes = &bytes_of(policy, path)?;
    let descriptor = policy.descriptor();
    Ok(Inspection {
        file: policy.path().to_owned(),
        bytes: bytes.len() as u64,
        sha256: policy.digest().to_owned(),
        signature: Signature::of(policy.engine(), path, bytes, signed_by),
        name: descriptor.name.clone(),
        version: descriptor.version.clone(),
        summary: descriptor.summary.clone(),
        interface: policy.version().interface(),
        structure: Structure::of(bytes, policy.path())?,
        settings: settings::settings(&descriptor.settings_schema),
        needs: needs.map(signals_summary).unwrap_or_default(),
        actuators: needs.map(actuators_summary).unwrap_or_default(),
        asks: needs.cloned(),
        wit: wit(policy.engine(), bytes, policy.path()),
    })
}

/// The bytes that a policy was loaded from.
pub(crate) fn bytes_of(policy: &Policy, path: &Path) -> Result<Vec<u8>> {
    let bytes = read(policy.engine(), path)?;
    let actual = digest(&bytes);
    if actual == policy.digest() {
        Ok(bytes)
    } else {
        Err(Error::Digest {
            file: policy.path().to_owned(),
            expected: policy.digest().to_owned(),
            actual,
        })
    }
}

/// Decoding hostile bytes can end the process that does it, so it is done in another.
fn wit(engine: &Engine, bytes: &[u8], file: &str) -> Option<String> {
    let worker = engine.worker()?;
    let text = worker.run(Job::Decode, bytes, engine.limits(), file);
    let text = text.inspect_err(|error| tracing::warn!("{error}")).ok()?;
    let text = String::from_utf8(text).ok()?;
    // Line by line, since the cleaning makes one line of everything.
    let line = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        " ".repeat(indent.min(40)) + &clean(line, 500)
    };
    Some(text.lines().map(line).collect::<Vec<_>>().join("\n"))
}
