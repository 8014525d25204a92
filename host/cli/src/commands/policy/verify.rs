use std::path::PathBuf;

use clap::Args;
use host_sandbox::{Limits, Policy, PolicyKey, Revocations, Trust, check_revoked, check_signature};
use host_trainer::records::Ending;
use serde_json::json;

use crate::commands::registry::RegistryFlags;
use crate::exit::Failed;
use crate::out::{print_json, print_line};

/// Check the signature of a policy.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The policy's .wasm, beside which its signature lies, or oci://REGISTRY/NAME:TAG.
    pub file: PathBuf,
    #[command(flatten)]
    pub registry: RegistryFlags,
    /// Public key, of minisign or cosign: a file, or the key itself.
    #[arg(long, value_name = "KEY")]
    pub key: String,
    /// List of policies and keys that are no longer trusted.
    #[arg(long, value_name = "FILE")]
    pub revoked: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// A signature that doesn't fit is a failed audit; a file that can't be read an error.
pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let limits = Limits::default();
    let file = &arguments.registry.pin(&arguments.file, &limits)?;
    let key = PolicyKey::read(&arguments.key)?;
    let revoked = arguments.revoked.as_deref().map(Revocations::read).transpose()?;
    let engine = arguments.registry.engine(&limits)?;
    let bytes = host_sandbox::read(&engine, file)?;
    let named = file.display().to_string();
    let result = check_signature(&engine, file, &bytes, &key).and_then(|said| {
        if let Some(revoked) = &revoked {
            check_revoked(revoked, &named, said.sha256(), Some(&key))?;
        }
        // Also what it calls itself.
        let trust = Trust { signed_by: Some(&key), ..Trust::default() };
        Policy::load_trusted(&engine, file, &trust).map(|_| said)
    });
    match (&result, arguments.json) {
        (Ok(said), true) => print_json(&json!({
            "file": file, "valid": true, "key_id": key.id(), "comment": said.to_string(),
            "name": said.policy().map(|said| &said.name),
            "version": said.policy().map(|said| &said.version),
            "sha256": said.sha256(),
            "expires": said.policy().and_then(|said| said.expires.as_ref()),
        }))?,
        (Err(problem), true) => print_json(&json!({
            "file": file, "valid": false, "key_id": key.id(), "problem": problem.to_string(),
        }))?,
        (Ok(said), false) => {
            print_line(format!("{named}: signed by key {}: {said}", key.id()))?;
        }
        (Err(_), false) => {}
    }
    match result {
        Ok(_) => Ok(Ending::Finished),
        Err(problem) => Err(Failed::Audit(problem.to_string()).into()),
    }
}
