//! docs/reference is what the program says of itself, and examples/config.toml names every
//! key that it knows: `UPDATE=1 cargo test --release --test end_to_end generated` writes the
//! pages anew.

use std::path::Path;

use host_contract::{ACTUATORS, SIGNALS};
use serde_json::Value;

use crate::program::{alone, assert_committed, root, text};

const NOTE: &str =
    "<!-- Generated: UPDATE=1 cargo test --release --test end_to_end generated -->\n";

fn said(arguments: &[&str]) -> String {
    let mut command = alone(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let output = command.env_remove("COLUMNS").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

#[test]
fn the_reference_of_commands_is_their_help() {
    let mut page = format!("{NOTE}# Commands\n");
    add_help(&mut page, &["host"]);
    assert_committed("docs/reference/cli.md", &page);
}

/// A command and those below it.
fn add_help(page: &mut String, command: &[&str]) {
    let help = said(&[&command[1..], &["--help"]].concat());
    *page += &format!("\n## {}\n\n```text\n{}\n```\n", command.join(" "), help.trim_end());
    let list = help.split_once("\nCommands:\n").map_or("", |(_, list)| list);
    let names = list.lines().take_while(|line| !line.is_empty());
    // What a long text goes on with is further to the right.
    let names = names.filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| *name != "help") {
        add_help(page, &[command, &[name]].concat());
    }
}

#[test]
fn the_reference_of_the_configuration_is_its_schema() {
    let schema = Schema::read();
    let mut page = format!(
        "{NOTE}# Configuration\n\nKeys of the TOML file that `--config` names; `--set KEY=VALUE` sets one, and some have a \
         flag. `host config schema` prints this as a JSON Schema, \
         [examples/config.toml](../../examples/config.toml) is a file with every key.\n"
    );
    let (tables, values): (Vec<_>, Vec<_>) =
        schema.properties(&schema.root).into_iter().partition(|(_, one)| schema.is_section(one));
    page += &schema.rows(&values);
    for (name, table) in tables {
        schema.add_section(&mut page, &name, table);
    }
    assert_committed("docs/reference/configuration.md", &page);
}

#[test]
fn the_reference_of_the_contract_is_its_tables() {
    let mut page = format!(
        "{NOTE}# Contract\n\nWhat a policy may ask for and what it may steer. \
         [wit/v0.2/policy.wit](../../wit/v0.2/policy.wit) has the types, ranges and formulas.\n\n\
         ## Signals\n\n| signal | asked for with | meaning |\n|---|---|---|\n"
    );
    for signal in SIGNALS {
        let need = signal.need().map_or("every policy gets it".into(), |need| format!("`{need}`"));
        page += &format!("| `{}` | {need} | {} |\n", signal.name(), signal.meaning());
    }
    page += "\n## Actuators\n\nA flag is declared in `needs.actuators`.\n\n\
             | actuator | declared with | what it does |\n|---|---|---|\n";
    for actuator in ACTUATORS {
        let flag = actuator.flag().map(|flag| format!("`{}`", flag.names().join("`, `")));
        let flag = flag.unwrap_or_else(|| "no flag".into());
        page += &format!("| `{}` | {flag} | {} |\n", actuator.name(), actuator.meaning());
    }
    assert_committed("docs/reference/contract.md", &page);
}

/// Every key is in the example, commented out if it has no default, and with its default
/// otherwise. An empty text is the default of what must be given.
#[test]
fn the_example_names_every_key_with_its_default() {
    let text = std::fs::read_to_string(root().join("examples/config.toml")).unwrap();
    let all: String = text.lines().map(|line| format!("{}\n", uncommented(line))).collect();
    let mut all: toml::Table = all.parse().unwrap();
    // Each judge has a kind, which holds its keys.
    let judges = all.remove("judges").unwrap();
    let kinds = judges.as_table().unwrap().values().map(|judge| judge.as_table().unwrap().clone());
    all.insert("judges".into(), kinds.flatten().collect::<toml::Table>().into());
    let all = toml::Value::Table(all);
    let schema = Schema::read();
    let mut missing = Vec::new();
    for (key, property) in schema.leaves() {
        let value = key.split('.').try_fold(&all, |value, part| value.get(part));
        let default =
            property.get("default").filter(|default| !default.is_null() && *default != "");
        match (value, default) {
            (None, _) => missing.push(key),
            (Some(value), Some(default))
                if !key.starts_with("policy.") && !key.starts_with("judges.") =>
            {
                let value = serde_json::to_value(value).unwrap();
                assert_eq!(value, by_name(default), "{key}");
            }
            _ => {}
        }
    }
    assert!(missing.is_empty(), "examples/config.toml lacks {missing:?}");
}

/// Sources of which nothing but the file is named, by the file.
fn by_name(default: &Value) -> Value {
    match default {
        Value::Array(all) => all.iter().map(by_name).collect(),
        Value::Object(source) if source.contains_key("path") => source["path"].clone(),
        other => other.clone(),
    }
}

/// A key or a table that is commented out, as if it were not.
fn uncommented(line: &str) -> &str {
    let Some(inside) = line.strip_prefix("# ") else { return line };
    let key = inside.split('=').next().unwrap_or_default().trim();
    let is_key = inside.contains('=')
        && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit());
    if is_key || inside.starts_with('[') { inside } else { line }
}

/// The JSON Schema of the configuration.
struct Schema {
    root: Value,
}

impl Schema {
    fn read() -> Self {
        Self { root: serde_json::from_str(&said(&["config", "schema"])).unwrap() }
    }

    /// Of what may be one or several the one, and of a reference what it names.
    fn resolved<'s>(&'s self, one: &'s Value) -> &'s Value {
        let one = one.pointer("/anyOf/0").filter(|one| one.get("$ref").is_some()).unwrap_or(one);
        match one["$ref"].as_str() {
            Some(name) => self.root.pointer(name.trim_start_matches('#')).unwrap(),
            None => one,
        }
    }

    fn properties<'s>(&'s self, one: &'s Value) -> Vec<(String, &'s Value)> {
        let properties = self.resolved(one)["properties"].as_object().into_iter().flatten();
        properties.map(|(name, value)| (name.clone(), value)).collect()
    }

    /// Tables with keys that are known.
    fn is_section(&self, one: &Value) -> bool {
        !self.properties(one).is_empty()
            || one.get("additionalProperties").is_some_and(Value::is_object)
    }

    /// Every key that holds a value.
    fn leaves(&self) -> Vec<(String, &Value)> {
        let mut leaves = Vec::new();
        for (name, one) in self.properties(&self.root) {
            if let Some(kinds) = one.get("additionalProperties") {
                for (kind, one) in self.kinds(kinds) {
                    let keys = self.properties(one);
                    let keys =
                        keys.into_iter().map(|(key, one)| (format!("judges.{kind}.{key}"), one));
                    leaves.extend(keys);
                }
            } else if self.is_section(one) {
                for (key, one) in self.properties(one) {
                    let inner = self.properties(one).into_iter();
                    let mut inner: Vec<_> =
                        inner.map(|(inner, one)| (format!("{name}.{key}.{inner}"), one)).collect();
                    if inner.is_empty() {
                        inner.push((format!("{name}.{key}"), one));
                    }
                    leaves.extend(inner);
                }
            } else {
                leaves.push((name, one));
            }
        }
        leaves
    }

    /// The alternatives of a judge, by name.
    fn kinds<'s>(&'s self, one: &'s Value) -> Vec<(String, &'s Value)> {
        let kinds = self.resolved(one)["oneOf"].as_array().unwrap().iter();
        kinds.flat_map(|kind| self.properties(kind)).collect()
    }

    fn add_section(&self, page: &mut String, name: &str, table: &Value) {
        *page += &format!("\n## [{name}]\n");
        if let Some(about) = table["description"].as_str() {
            *page += &format!("\n{}\n", line(about));
        }
        let Some(kinds) = table.get("additionalProperties") else {
            let (tables, values): (Vec<_>, Vec<_>) = self
                .properties(table)
                .into_iter()
                .partition(|(_, one)| !self.properties(one).is_empty());
            *page += &self.rows(&values);
            for (inner, table) in tables {
                self.add_section(page, &format!("{name}.{inner}"), table);
            }
            return;
        };
        let described = self.resolved(kinds)["oneOf"].as_array().unwrap();
        for ((kind, one), of) in self.kinds(kinds).into_iter().zip(described) {
            *page += &format!("\n### [{name}.NAME] {kind}\n");
            if let Some(about) = of["description"].as_str() {
                *page += &format!("\n{}\n", line(about));
            }
            if !self.properties(one).is_empty() {
                *page += &self.rows(&self.properties(one));
            }
        }
    }

    fn rows(&self, properties: &[(String, &Value)]) -> String {
        let mut rows =
            "\n| key | type | default | flag | meaning |\n|---|---|---|---|---|\n".to_owned();
        for (key, one) in properties {
            let flag = one["x-flag"].as_str().map(|flag| format!("`{flag}`"));
            let about = one["description"].as_str().map(line).unwrap_or_default();
            rows += &format!(
                "| `{key}` | {} | {} | {} | {about} |\n",
                self.kind(one),
                default(one),
                flag.unwrap_or_default(),
            );
        }
        rows
    }

    /// Such as `integer`, or the words that may stand.
    fn kind(&self, one: &Value) -> String {
        let resolved = self.resolved(one);
        let words = |list: &Value| {
            let words = list.as_array().into_iter().flatten();
            // Those without a meaning of their own stand together.
            let words = words.flat_map(|word| match word["enum"].as_array() {
                Some(list) => list.iter().collect(),
                None => vec![word.get("const").unwrap_or(word)],
            });
            let words = words.filter_map(Value::as_str);
            words.map(|word| format!("`{word}`")).collect::<Vec<_>>()
        };
        for list in ["oneOf", "enum"] {
            let words = words(&resolved[list]);
            if !words.is_empty() {
                return words.join(", ");
            }
        }
        match &resolved["type"] {
            Value::String(kind) if kind == "array" => {
                format!("list of {}", self.kind(&resolved["items"]))
            }
            Value::String(kind) => kind.clone(),
            Value::Array(kinds) => {
                kinds.first().and_then(Value::as_str).unwrap_or_default().to_owned()
            }
            _ => "file, table or list".to_owned(),
        }
    }
}

/// As TOML has it.
fn default(one: &Value) -> String {
    match &one["default"] {
        Value::Null => String::new(),
        Value::Object(_) => String::new(),
        value => format!("`{value}`"),
    }
}

/// One line, which a table can hold.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
