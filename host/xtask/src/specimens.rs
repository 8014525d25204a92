//! The table of hostile policies: what each does, and what becomes of it.

use anyhow::{Context, Result, ensure};
use hostile::{Mode, Specimen, Trial};

use crate::binary;

/// Options of `cargo xtask hostile`.
#[derive(clap::Args)]
pub struct Hostile {
    /// Names of specimens; all of them if none is named.
    names: Vec<String>,
    /// Go on after this many faults in a row, as `host train --on-fault strict=N`.
    #[arg(long, value_name = "N")]
    strict: Option<u64>,
}

impl Hostile {
    /// Prints Markdown. The program is the one beside this one.
    ///
    /// # Errors
    /// A program that isn't there, a name that is none, and a specimen that can't be
    /// made.
    pub fn run(&self) -> Result<()> {
        let host = binary::host()?;
        let mut specimens = Specimen::all()?;
        for name in &self.names {
            let known = specimens.iter().any(|specimen| specimen.name == *name);
            ensure!(known, "there is no specimen {name} in tests/fixtures/hostile");
        }
        specimens.retain(|specimen| self.names.is_empty() || self.names.contains(&specimen.name));
        println!("| policy | what it does | exit | message | seconds | left on the disk |");
        println!("|---|---|---|---|---|---|");
        for specimen in &specimens {
            let folder = tempfile::tempdir().context("no temporary folder can be made")?;
            let trial = Trial {
                host: &host,
                folder: folder.path(),
                mode: self.strict.map_or(Mode::Stop, Mode::Strict),
            };
            let outcome = trial.run(specimen)?;
            let code = outcome.code.map_or("killed".into(), |code| code.to_string());
            println!(
                "| {} | {} | {code} | {} | {:.1} | {} |",
                specimen.name,
                cell(&specimen.about),
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
