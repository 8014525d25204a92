use std::path::{Path, PathBuf};

use clap::Args;
use host_files::{capped, shell};
use host_registry::Pulled;
use host_sandbox::{Claim, Policy, PolicyKey, Revocations, Statement, Trust, signature_path};
use host_trainer::Error;
use host_trainer::config::Layers;
use host_trainer::records::Ending;
use host_trainer::run_dir::write_atomically;
use serde::Serialize;

use crate::commands::registry::{RegistryFlags, of_registry, reference};
use crate::out::{print, say, say_words};

/// Fetch a policy from an OCI registry, check it, and keep it for commands that name it so.
#[derive(Debug, Args)]
pub struct Arguments {
    /// oci://REGISTRY/NAME:TAG, or oci://REGISTRY/NAME@sha256:DIGEST.
    #[arg(value_name = "OCI")]
    pub name: PathBuf,
    /// Also write it to this file, and its signature beside it.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Public key that must have signed it, of minisign or cosign: a file, or the key itself. Default:
    /// trust.require_signature of the configuration.
    #[arg(long, value_name = "KEY")]
    pub signed_by: Option<String>,
    /// TOML file whose [trust] says what is accepted.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub registry: RegistryFlags,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Got {
    /// By its digest: what other commands and configurations name.
    reference: String,
    name: String,
    version: String,
    sha256: String,
    bytes: usize,
    /// Signatures that refer to it.
    signatures: usize,
    /// Number of the key that was asked for, and whose signature holds.
    signed_by: Option<String>,
    file: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let reference = reference(&arguments.name)?;
    let mut layers = Layers::default();
    if let Some(file) = &arguments.config {
        layers.add_file(file)?;
    }
    let config = layers.resolve()?;
    let key = match &arguments.signed_by {
        Some(key) => Some(PolicyKey::read(key)?),
        None => config.trust.signed_by()?,
    };
    let revoked: Option<Revocations> = config.trust.revoked()?;
    if let Some(file) = &arguments.output {
        check_free(file, None)?;
    }
    let registry = arguments.registry.registry();
    let pulled = registry.pull(&reference, config.limits.component_bytes).map_err(of_registry)?;
    pulled.notes.iter().for_each(|note| say_words(format!("note: {note}")));
    // From the cache: checked as it is when it is used.
    let engine = arguments.registry.engine(&config.limits)?;
    let path = PathBuf::from(pulled.reference.to_string());
    let trust = Trust { signed_by: key.as_ref(), revoked: revoked.as_ref(), ..Trust::default() };
    let policy = Policy::load_trusted(&engine, &path, &trust)?;
    if let Some(file) = &arguments.output {
        write(file, &pulled, key.as_ref())?;
    }
    let got = Got {
        reference: pulled.reference.to_string(),
        name: policy.name().to_owned(),
        version: policy.descriptor().version.clone(),
        sha256: policy.digest().to_owned(),
        bytes: pulled.bytes.len(),
        signatures: pulled.signatures.len() + pulled.cosign.len(),
        signed_by: key.as_ref().map(PolicyKey::id),
        file: arguments.output.clone(),
    };
    print(arguments.json, &got, |_| {
        let Got { reference, name, version, bytes, .. } = &got;
        let signed = match (&got.signed_by, claim(&pulled)) {
            (Some(key), _) => format!("signed by key {key}"),
            (None, None) => "not signed".to_owned(),
            (None, Some(Claim::Minisign(key))) => {
                format!("says it is signed by key {key}; not checked (--signed-by KEY)")
            }
            (None, Some(Claim::Cosign)) => {
                "says it is signed by cosign; not checked (--signed-by cosign.pub)".to_owned()
            }
            (None, Some(Claim::Nothing)) => "what is attached is no signature".to_owned(),
        };
        [reference.clone(), format!("{name} {version}, {bytes} bytes, {signed}")]
            .into_iter()
            .collect()
    })?;
    if let (Some(file), false) = (&arguments.output, arguments.json) {
        say(format!("wrote {}", shell::path(file)));
        if key.as_ref().is_some_and(|key| key.minisign().is_none()) {
            say(
                "note: cosign's signature is of the policy in its registry, so none lies beside the file",
            );
        }
    }
    Ok(Ending::Finished)
}

/// What the first of its signatures says of itself.
fn claim(pulled: &Pulled) -> Option<Claim> {
    let first = pulled.signatures.first().map(|text| Claim::of(text));
    first.or_else(|| pulled.cosign.first().map(|_| Claim::Cosign))
}

/// Refuses a file that is there, unless it has these bytes already.
fn check_free(file: &Path, bytes: Option<&[u8]>) -> Result<(), Error> {
    if std::fs::symlink_metadata(file).is_err() || bytes.is_none() && file.is_file() {
        return Ok(());
    }
    let is_same = bytes.is_some_and(|bytes| {
        capped::read(file, bytes.len() as u64).is_ok_and(|found| found == bytes)
    });
    if is_same {
        return Ok(());
    }
    Err(Error::file(file, "exists already, with something else in it; give another name"))
}

/// The policy, and the signature that holds or, where no key was named, the first one.
fn write(file: &Path, pulled: &Pulled, key: Option<&PolicyKey>) -> Result<(), Error> {
    check_free(file, Some(&pulled.bytes))?;
    let holds = |text: &&String| {
        key.is_none_or(|key| {
            let key = key.minisign();
            key.is_some_and(|key| key.verify(Statement::Policy, &pulled.bytes, text).is_ok())
        })
    };
    if let Some(text) = pulled.signatures.iter().find(holds) {
        write_atomically(&signature_path(file), text.as_bytes())?;
    }
    write_atomically(file, &pulled.bytes)
}
