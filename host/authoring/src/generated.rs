//! Sources that a build makes: the settings schema as a constant.
//!
//! The schema is a file of its own, since a host, an editor and a person read it
//! too. A component has no files, so each language gets it as a constant; in Rust
//! `include_str!` does that.

use std::fs;
use std::path::{Path, PathBuf};

use host_files::atomic;
use serde_json::Value;

use crate::{Error, Language, Result};

/// Writes the constant `SETTINGS_SCHEMA` and returns the folder that it lies in.
pub(crate) fn settings_schema(folder: &Path, language: Language) -> Result<PathBuf> {
    let path = folder.join("settings.schema.json");
    let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
    if !serde_json::from_str::<Value>(&text).is_ok_and(|schema| schema.is_object()) {
        return Err(Error::Product {
            path,
            problem: "is no JSON object: it has to be the JSON Schema of the settings".into(),
        });
    }
    let into = workshop(folder)?.join("generated");
    fs::create_dir_all(&into).map_err(Error::io(&into))?;
    let (file, source) = constant(&text, language);
    let file = into.join(file);
    atomic::write(&file, source.as_bytes())?;
    Ok(into)
}

/// Where a build puts what it makes on the way.
pub(crate) fn workshop(folder: &Path) -> Result<PathBuf> {
    let workshop = folder.join(".build");
    fs::create_dir_all(&workshop).map_err(Error::io(&workshop))?;
    Ok(workshop)
}

fn constant(text: &str, language: Language) -> (&'static str, String) {
    // A JSON string is a literal of Python and JavaScript too.
    let literal = Value::from(text).to_string();
    match language {
        Language::Python => (
            "settings_schema.py",
            format!("# Made from settings.schema.json.\nSETTINGS_SCHEMA = {literal}\n"),
        ),
        Language::Js => (
            "settings_schema.js",
            format!(
                "// Made from settings.schema.json.\nexport const SETTINGS_SCHEMA = {literal};\n"
            ),
        ),
        Language::C | Language::Rust => (
            "settings_schema.h",
            format!(
                "/* Made from settings.schema.json. */\nstatic const char SETTINGS_SCHEMA[] =\n{};\n",
                c_literal(text)
            ),
        ),
    }
}

/// A literal per line. Octal escapes always have three digits, so no digit that
/// follows can become part of one.
fn c_literal(text: &str) -> String {
    let line = |line: &str| {
        let escaped: String = line
            .bytes()
            .map(|byte| match byte {
                b'"' | b'\\' | b'?' => format!("\\{}", char::from(byte)),
                b'\n' => "\\n".to_owned(),
                b' '..=b'~' => char::from(byte).to_string(),
                other => format!("\\{other:03o}"),
            })
            .collect();
        format!("    \"{escaped}\"")
    };
    text.split_inclusive('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "{\"title\": \"a\\\\b \u{e4}1\"}\n{}";

    #[test]
    fn the_constant_is_the_text() {
        assert_eq!(
            c_literal(TEXT),
            "    \"{\\\"title\\\": \\\"a\\\\\\\\b \\303\\2441\\\"}\\n\"\n    \"{}\""
        );
        let (_, source) = constant(TEXT, Language::Js);
        let literal = source.split_once(" = ").unwrap().1;
        let literal = literal.trim_end().trim_end_matches(';');
        assert_eq!(serde_json::from_str::<String>(literal).unwrap(), TEXT);
    }

    #[test]
    fn a_schema_that_is_none_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.schema.json");
        for text in ["", "[]", "{"] {
            fs::write(&path, text).unwrap();
            let error = settings_schema(folder.path(), Language::C).unwrap_err();
            assert!(error.to_string().contains("settings.schema.json"), "{error}");
        }
        fs::write(&path, "{}").unwrap();
        let into = settings_schema(folder.path(), Language::Python).unwrap();
        assert!(into.join("settings_schema.py").is_file());
    }
}
