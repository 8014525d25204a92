use host_policy::{PublicKey, check_signature};
use host_trainer::Error;
use host_trainer::records::Ending;
use serde_json::json;

use super::super::{print_json, print_text};
use crate::arguments::VerifyArguments;
use crate::exit::Failed;

/// A signature that doesn't fit is a failed audit; a file that can't be read an error.
pub fn verify(arguments: &VerifyArguments) -> anyhow::Result<Ending> {
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
            print_text(&format!("{}: signed by key {} ({comment})", file.display(), key.id()))?
        }
        (Err(_), false) => {}
    }
    match result {
        Ok(_) => Ok(Ending::Finished),
        Err(problem) => Err(Failed::Audit(problem.to_string()).into()),
    }
}
