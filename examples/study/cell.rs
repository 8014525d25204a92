//! One run of the grid.

use std::path::Path;

use anyhow::Context;
use host_trainer::run_dir::write_json;
use serde::{Deserialize, Serialize};

use crate::arm::Arm;
use crate::scenario::Scenario;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    pub scenario: Scenario,
    pub learning_rate: f64,
    pub arm: Arm,
    pub seed: u64,
}

impl Cell {
    /// Its name as a folder.
    pub fn slug(&self) -> String {
        format!(
            "{}-{:e}-{}-s{}",
            self.scenario.slug(),
            self.learning_rate,
            self.arm.slug(),
            self.seed
        )
    }

    /// Writes beside its run what it is.
    pub fn save(&self, runs: &Path) -> anyhow::Result<()> {
        Ok(write_json(
            &runs.join(format!("{}.cell.json", self.slug())),
            self,
        )?)
    }

    /// The cells of earlier commands whose runs are over.
    pub fn finished(runs: &Path) -> anyhow::Result<Vec<Self>> {
        if !runs.is_dir() {
            return Ok(Vec::new());
        }
        let mut cells = Vec::new();
        for entry in std::fs::read_dir(runs)? {
            let path = entry?.path();
            if !path.to_string_lossy().ends_with(".cell.json") {
                continue;
            }
            let damaged = || format!("{} is damaged; remove it", path.display());
            let cell: Self =
                serde_json::from_slice(&std::fs::read(&path)?).with_context(damaged)?;
            if runs.join(cell.slug()).join("report.json").is_file() {
                cells.push(cell);
            }
        }
        Ok(cells)
    }
}

/// In the order of the tables: attacks from none to the whole, learning rates, policies as `arms` has them, seeds.
pub fn sort(cells: &mut [Cell], arms: &[Arm]) {
    let place = |cell: &Cell| {
        let arm = arms.iter().position(|arm| *arm == cell.arm);
        arm.unwrap_or(arms.len())
    };
    cells.sort_by(|a, b| {
        let keys = [
            a.scenario.share().total_cmp(&b.scenario.share()),
            a.learning_rate.total_cmp(&b.learning_rate),
            place(a).cmp(&place(b)),
            a.arm.name.cmp(&b.arm.name),
            a.seed.cmp(&b.seed),
        ];
        keys.into_iter()
            .fold(std::cmp::Ordering::Equal, |all, one| all.then(one))
    });
}
