//! Files of a run that carry the signature of its owner: JSON objects with one in them, so that
//! content and signature are replaced as one.

use std::path::Path;

use host_files::{own, sha256};
use host_sandbox::{PublicKey, Signer, Statement};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Where the signature stands.
const FIELD: &str = "signature";
/// Most bytes of such a file.
pub const FILE_BYTES: u64 = 64 << 20;

/// Signs the files of one run.
#[derive(Debug, Clone, Copy)]
pub struct Notary<'a> {
    pub signer: &'a Signer,
    /// The run's name, [`crate::journal::Identity::run`].
    pub run: &'a str,
}

impl Notary<'_> {
    /// The object with its signature.
    ///
    /// # Errors
    /// One line on what has no JSON or can't be signed.
    pub fn sign(&self, what: Statement, value: &impl Serialize) -> Result<Value, String> {
        let mut value = serde_json::to_value(value).map_err(|error| error.to_string())?;
        let text = text(what, &value);
        let signature = self.signer.sign(what, text.as_bytes(), &text);
        value[FIELD] = signature.map_err(|error| error.to_string())?.into();
        Ok(value)
    }
}

/// Reads an object, and checks its signature if there is a key.
///
/// # Errors
/// One line on a file that can't be read, that isn't what it should be, or that the key did not
/// sign.
pub fn read<T: DeserializeOwned>(
    path: &Path,
    what: Statement,
    key: Option<&PublicKey>,
) -> Result<T, String> {
    let bytes = own::read(path, FILE_BYTES).map_err(|error| format!("can't be read ({error})"))?;
    let mut value: Value =
        serde_json::from_slice(&bytes).map_err(|error| format!("is damaged ({error})"))?;
    let signature = value.as_object_mut().and_then(|object| object.shift_remove(FIELD));
    if let Some(key) = key {
        let Some(Value::String(signature)) = signature else {
            return Err("carries no signature".into());
        };
        let verified = key.verify(what, text(what, &value).as_bytes(), &signature);
        verified.map_err(|why| format!("carries a signature that {why}"))?;
    }
    serde_json::from_value(value).map_err(|error| format!("is damaged ({error})"))
}

/// What is signed: the digest of the object without its signature.
fn text(what: Statement, value: &Value) -> String {
    let digest = sha256::hex(value.to_string());
    match what {
        Statement::Checkpoint => format!("risk-checkpoint 1 {digest}"),
        _ => format!("risk-run 1 {digest}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_signed_whole_and_changes_are_found() {
        let here = tempfile::tempdir().expect("temp");
        let (signer, _) = Signer::open_or_create(&here.path().join("a.key")).expect("made");
        let (other, _) = Signer::open_or_create(&here.path().join("b.key")).expect("made");
        let notary = Notary { signer: &signer, run: "r" };
        let value = json!({"z": 0.1f32, "a": [1, -0.0, 1e300, null, "\u{1b}"], "b": {"c": true}});
        let signed = notary.sign(Statement::Run, &value).expect("signed");
        let path = here.path().join("x.json");
        let found = |value: &Value, key: &Signer, what| {
            host_files::json::write(&path, value).expect("written");
            read::<Value>(&path, what, Some(key.public()))
        };
        assert_eq!(found(&signed, &signer, Statement::Run).expect("genuine"), value);
        let told = |found: Result<Value, String>, part: &str| {
            let problem = found.expect_err("refused");
            assert!(problem.contains(part), "{problem}");
        };
        told(found(&signed, &other, Statement::Run), "is by key");
        told(found(&signed, &signer, Statement::Checkpoint), "does not fit");
        told(found(&value, &signer, Statement::Run), "no signature");
        for (pointer, changed) in [("/z", json!(0.2)), ("/a/3", json!(0)), ("/b/c", json!(false))] {
            let mut forged = signed.clone();
            *forged.pointer_mut(pointer).expect("there") = changed;
            told(found(&forged, &signer, Statement::Run), "does not fit");
        }
        let mut more = signed.clone();
        more["more"] = json!(1);
        told(found(&more, &signer, Statement::Run), "does not fit");
    }
}
