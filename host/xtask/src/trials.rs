//! The table of hostile policies: what each does, and what becomes of it.

use anyhow::{Context, Result, ensure};
use hostile::{HostilePolicy, Mode, Trial};

use crate::binary;

/// Options of `cargo xtask hostile`.
#[derive(clap::Args)]
pub struct Hostile {
    /// Names of hostile policies; all of them if none is named.
    names: Vec<String>,
    /// Go on after this many faults in a row, as `host train --on-fault strict=N`.
    #[arg(long, value_name = "N")]
    strict: Option<u64>,
}

impl Hostile {
    /// Prints Markdown. The program is the one beside this one.
    ///
    /// # Errors
    /// A program that isn't there, a name that is none, and a hostile policy that can't be
    /// made.
    pub fn run(&self) -> Result<()> {
        let host = binary::host()?;
        let mut policies = HostilePolicy::all()?;
        for name in &self.names {
            let known = policies.iter().any(|hostile| hostile.name == *name);
            ensure!(known, "there is no hostile policy {name} in tests/fixtures/hostile");
        }
        policies.retain(|hostile| self.names.is_empty() || self.names.contains(&hostile.name));
        println!("| policy | what it does | exit | message | seconds | left on the disk |");
        println!("|---|---|---|---|---|---|");
        for hostile in &policies {
            let folder = tempfile::tempdir().context("no temporary folder can be made")?;
            let trial = Trial {
                host: &host,
                folder: folder.path(),
                mode: self.strict.map_or(Mode::Stop, Mode::Strict),
            };
            let outcome = trial.run(hostile)?;
            let code = outcome.code.map_or("killed".into(), |code| code.to_string());
            println!(
                "| {} | {} | {code} | {} | {:.1} | {} |",
                hostile.name,
                cell(&hostile.about),
                cell(outcome.message()),
                outcome.time.as_secs_f64(),
                cell(&outcome.left.to_string()),
            );
        }
        Ok(())
    }
}

/// Text that stays in its cell; the middle of a long one is left out.
fn cell(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let short: String = match letters.len() {
        0..=400 => text.to_owned(),
        long => {
            letters[..300].iter().chain(&[' ', '…', ' ']).chain(&letters[long - 97..]).collect()
        }
    };
    short.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_short_and_in_its_place() {
        assert_eq!(cell("a|b\nc"), "a\\|b c");
        assert_eq!(cell(&"x".repeat(9000)).chars().count(), 400);
    }
}
