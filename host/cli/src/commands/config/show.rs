use clap::Args;
use host_trainer::config::RunConfig;
use host_trainer::manifest::resolved_toml;
use host_trainer::records::Ending;
use toml::{Table, Value};

use crate::flags::RunFlags;
use crate::out::{print_block, print_json};

/// Print the configuration that `host train` would use with these flags: file, --set and flags over
/// the defaults. It can be saved and given as --config.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub run: RunFlags,
    /// Print only the keys that differ from the defaults.
    #[arg(long)]
    pub changed: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let config = arguments.run.resolve()?;
    let mut text = resolved_toml(&config)?;
    if arguments.changed {
        text = toml::to_string(&changed(table(&config)?, &table(&RunConfig::default())?))?;
    }
    if arguments.run.config.json {
        print_json(&toml::from_str::<Table>(&text)?)?;
    } else {
        print_block(text.trim_end())?;
    }
    Ok(Ending::Finished)
}

fn table(config: &RunConfig) -> anyhow::Result<Table> {
    Ok(toml::from_str(&resolved_toml(config)?)?)
}

/// What of `found` isn't in `usual`.
fn changed(found: Table, usual: &Table) -> Table {
    let differs = |(key, value): (String, Value)| match (value, usual.get(&key)) {
        (Value::Table(found), Some(Value::Table(usual))) => {
            let rest = changed(found, usual);
            (!rest.is_empty()).then_some((key, Value::Table(rest)))
        }
        (value, usual) => (Some(&value) != usual).then_some((key, value)),
    };
    found.into_iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_differs_is_left() {
        let usual = "seed = 17\n[train]\nbatch = 8\nepochs = 1.0\n[lora]\nrank = 16";
        let found =
            "seed = 17\noutput = \"x\"\n[train]\nbatch = 4\nepochs = 1.0\n[lora]\nrank = 16";
        let rest = changed(toml::from_str(found).unwrap(), &toml::from_str(usual).unwrap());
        assert_eq!(toml::to_string(&rest).unwrap(), "output = \"x\"\n\n[train]\nbatch = 4\n");
    }
}
