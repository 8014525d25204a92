//! The policies of a configuration: `[policy]` for one, `[[policy]]` for several.
//!
//! While layers are put on each other they are a table by number, so that
//! `policy.1.settings.b_max` reaches the second one; without a number it is the first.

use toml::{Table, Value};

use crate::error::{Error, Result};

const KEY: &str = "policy";

/// Puts a file's `policy`, in either form, into the form by number.
pub(super) fn number(table: &mut Table) {
    let numbered = match table.remove(KEY) {
        None => return,
        Some(Value::Array(list)) => list
            .into_iter()
            .enumerate()
            .map(|(number, policy)| (number.to_string(), policy))
            .collect(),
        Some(Value::Table(one)) => Table::from_iter([("0".to_owned(), Value::Table(one))]),
        // Of a wrong type; the message about that comes from reading the file.
        Some(other) => Table::from_iter([("0".to_owned(), other)]),
    };
    table.insert(KEY.to_owned(), Value::Table(numbered));
}

/// `policy.path` is `policy.0.path`; other keys are left as they are.
pub(super) fn numbered_key(key: &str) -> String {
    match key.strip_prefix("policy.") {
        Some(rest) if !rest.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("policy.0.{rest}")
        }
        _ => key.to_owned(),
    }
}

/// Names the policy files, in order; policies beyond them are dropped.
pub(super) fn set_paths(table: &mut Table, paths: &[String]) {
    let policies = table.entry(KEY).or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(policies) = policies else {
        return;
    };
    policies.retain(|number, policy| {
        let named = policy.get("path").is_some();
        !named || number.parse().is_ok_and(|number: usize| number < paths.len())
    });
    for (number, path) in paths.iter().enumerate() {
        let policy =
            policies.entry(number.to_string()).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(policy) = policy {
            policy.insert("path".to_owned(), Value::String(path.clone()));
        }
    }
}

/// The table as the configuration's types read it: policies as a list.
///
/// # Errors
/// A number that is left out.
pub(super) fn list(table: &Table) -> Result<Table> {
    let mut table = table.clone();
    let Some(Value::Table(mut numbered)) = table.remove(KEY) else {
        return Ok(table);
    };
    let mut policies = Vec::with_capacity(numbered.len());
    for number in 0..numbered.len() {
        if let Some(policy) = numbered.remove(&number.to_string()) {
            policies.push(policy);
        } else {
            let other = numbered.keys().next().cloned().unwrap_or_default();
            return Err(Error::config(
                format!("policy.{other}"),
                format!("there is no policy {number}; policies are numbered from 0"),
            ));
        }
    }
    table.insert(KEY.to_owned(), Value::Array(policies));
    Ok(table)
}
