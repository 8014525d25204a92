use clap::Args;
use host_trainer::config::{RunConfig, property};
use host_trainer::records::Ending;
use serde_json::Value;

use crate::flags;
use crate::out::print_json;

/// Print the JSON Schema of a configuration file: every key, its type, default and meaning.
///
/// Editors complete and check a file with it: save it as host.schema.json and begin the file with
/// `#:schema ./host.schema.json`.
#[derive(Debug, Args)]
pub struct Arguments {}

pub fn run(Arguments {}: &Arguments) -> anyhow::Result<Ending> {
    print_json(&schema())?;
    Ok(Ending::Finished)
}

/// Keys that have a flag name it as `x-flag`, which readers of schemas pass over.
fn schema() -> Value {
    let mut schema = RunConfig::schema().to_value();
    for (key, flag) in flags::keys() {
        if let Some(property) = property(&mut schema, key) {
            property.entry("x-flag").or_insert_with(|| flag.into());
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_in_the_schema_at_its_key() {
        let mut schema = schema();
        for (key, flag) in flags::keys() {
            let property = property(&mut schema, key);
            assert!(property.is_some_and(|one| one.contains_key("x-flag")), "{flag} sets {key}");
        }
    }
}
