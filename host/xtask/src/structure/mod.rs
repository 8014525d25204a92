//! The structure of the workspace, checked: which crate may use which, no circles between
//! modules, how long a file may be, and where `unsafe` and generated types may stand.
//!
//! `cargo xtask structure` prints what breaks a rule; the test `structure` runs the same check.

mod circles;
mod modules;
mod rules;
mod scan;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use circles::{Circle, Facade};
use modules::Crate;

#[derive(clap::Args)]
pub struct Structure {
    /// Also print the lines of code that draw each circle.
    #[arg(long)]
    because: bool,
    /// Also count a module and its own parts as a circle, if each names the other.
    #[arg(long)]
    facades: bool,
}

impl Structure {
    /// # Errors
    /// Sources that can't be read, and any broken rule.
    pub fn run(&self) -> Result<()> {
        let root = root()?;
        let crates = crates(&root)?;
        let circles = all_circles(&crates, Facade::Apart);
        if self.facades {
            for circle in all_circles(&crates, Facade::Counts) {
                if !circles.contains(&circle) {
                    println!("with facades: {circle}");
                }
            }
        }
        for circle in &circles {
            println!("circle: {circle}");
            for line in circle.because.iter().filter(|_| self.because) {
                println!("    {line}");
            }
        }
        let broken = rules::broken(&root, &crates, &circles)?;
        for line in &broken {
            println!("{line}");
        }
        println!("{} circles in {} crates", circles.len(), crates.len());
        if !broken.is_empty() {
            bail!("{} rules are broken", broken.len());
        }
        Ok(())
    }
}

fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().with_context(|| format!("{} is missing", root.display()))
}

/// The members of the workspace, by the names of their packages.
fn crates(root: &Path) -> Result<Vec<Crate>> {
    let manifests = rules::manifests(root)?;
    manifests.iter().map(|one| Crate::read(&one.name, &one.folder.join("src"))).collect()
}

fn all_circles(crates: &[Crate], facade: Facade) -> Vec<Circle> {
    crates.iter().flat_map(|one| circles::of(one, facade)).collect()
}
