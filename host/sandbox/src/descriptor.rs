//! Checks what a policy says of itself.

use crate::{
    call_site::CallSite,
    engine::Engine,
    error::{Error, Result},
    limits::Limit,
};
use host_contract::{Descriptor, Invalid};
use host_files::text::{clean, is_word};

/// The descriptor with a clean summary.
///
/// # Errors
/// A name, version or schema that the interface does not allow.
pub(crate) fn checked(mut d: Descriptor, engine: &Engine, at: &CallSite) -> Result<Descriptor> {
    let invalid = |field: &str, problem: String| {
        Err(Error::Invalid { at: Box::new(at.clone()), invalid: Invalid::new(field, problem) })
    };
    engine.within(Limit::Schema, d.settings_schema.len(), at)?;
    if !is_word(&d.name, "-", 64) || d.name.contains(|c: char| c.is_ascii_uppercase()) {
        let problem = format!(
            "is {:?}; it must be 1 to 64 characters of a-z, 0-9 and '-'",
            clean(&d.name, 64)
        );
        return invalid("name", problem);
    }
    let numbers = d.version.split(['-', '+']).next().unwrap_or_default();
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_word(&d.version, ".-+", 64)
        || numbers.split('.').count() != 3
        || !numbers.split('.').all(numeric)
    {
        let problem =
            format!("is {:?}; it must be a semantic version such as 1.0.0", clean(&d.version, 64));
        return invalid("version", problem);
    }
    match serde_json::from_str::<serde_json::Value>(&d.settings_schema) {
        Ok(serde_json::Value::Object(_)) => {}
        Ok(_) => return invalid("settings-schema", "is no JSON object".into()),
        Err(e) => return invalid("settings-schema", format!("is no JSON: {e}")),
    }
    d.summary = clean(&d.summary, engine.limits.text_characters as usize);
    Ok(d)
}
