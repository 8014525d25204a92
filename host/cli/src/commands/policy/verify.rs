use std::path::PathBuf;

use clap::Args;
use host_sandbox::{PublicKey, check_signature};
use host_trainer::Error;
use host_trainer::records::Ending;
use serde_json::json;

use crate::exit::Failed;
use crate::out::{print_json, print_line};

/// Check the signature of a policy.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The policy's .wasm; its signature lies beside it.
    pub file: PathBuf,
    /// Public key: a file, or the key itself.
    #[arg(long, value_name = "KEY")]
    pub key: String,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// A signature that doesn't fit is a failed audit; a file that can't be read an error.
pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let file = &arguments.file;
    let key = PublicKey::read(&arguments.key)?;
    let bytes = std::fs::read(file).map_err(|source| Error::read(file, source))?;
    let result = check_signature(file, &bytes, &key);
    match (&result, arguments.json) {
        (Ok(comment), true) => print_json(&json!({
            "file": file, "valid": true, "key_id": key.id(), "comment": comment,
        }))?,
        (Err(problem), true) => print_json(&json!({
            "file": file, "valid": false, "key_id": key.id(), "problem": problem.to_string(),
        }))?,
        (Ok(comment), false) => {
            print_line(format!("{}: signed by key {} ({comment})", file.display(), key.id()))?;
        }
        (Err(_), false) => {}
    }
    match result {
        Ok(_) => Ok(Ending::Finished),
        Err(problem) => Err(Failed::Audit(problem.to_string()).into()),
    }
}
