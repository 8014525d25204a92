//! One run of the grid.

use std::path::Path;

use anyhow::Context;
use host_files::json;
use serde::{Deserialize, Serialize};

use crate::arm::Arm;
use crate::program::over;
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
        Ok(json::write(&runs.join(format!("{}.cell.json", self.slug())), self)?)
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
            if over(&runs.join(cell.slug()))?.is_some() {
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
            a.scenario.order().total_cmp(&b.scenario.order()),
            a.learning_rate.total_cmp(&b.learning_rate),
            place(a).cmp(&place(b)),
            a.arm.name.cmp(&b.arm.name),
            a.seed.cmp(&b.seed),
        ];
        keys.into_iter().fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use host_eval::report::{Ending, Report, Totals, Trained};

    use super::*;

    fn cell(scenario: &str, arm: &str, seed: u64) -> Cell {
        Cell {
            scenario: scenario.parse().unwrap(),
            learning_rate: 2e-4,
            arm: arm.parse().unwrap(),
            seed,
        }
    }

    #[test]
    fn a_cell_is_found_again_once_its_run_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path();
        let (over, begun) = (cell("10%", "probe:b_max=0.8", 3), cell("harmful", "sft", 3));
        for one in [&over, &begun] {
            one.save(runs).unwrap();
            std::fs::create_dir(runs.join(one.slug())).unwrap();
        }
        let mut report = Report::new(runs, None);
        json::write(&runs.join(over.slug()).join("report.json"), &report).unwrap();
        assert_eq!(Cell::finished(runs).unwrap(), std::slice::from_ref(&over));
        // One that was interrupted says so in a report.
        let totals = Totals { ending: Ending::Interrupted, ..Totals::default() };
        report.trained = Some(Trained { totals, total: 40 });
        json::write(&runs.join(begun.slug()).join("report.json"), &report).unwrap();
        assert_eq!(Cell::finished(runs).unwrap(), [over]);
        assert_eq!(Cell::finished(&runs.join("nowhere")).unwrap(), []);
    }

    #[test]
    fn tables_go_from_no_attack_to_the_whole_and_keep_the_order_of_the_policies() {
        let arms = ["sft", "probe"].map(|arm| arm.parse().unwrap());
        let mut cells = [
            cell("identity", "sft", 1),
            cell("10%", "ema", 1),
            cell("10%", "probe", 1),
            cell("10%", "sft", 2),
            cell("10%", "sft", 1),
            cell("harmless", "probe", 1),
        ];
        sort(&mut cells, &arms);
        let slugs = cells.map(|cell| cell.slug());
        let expected = [
            "harmless-2e-4-probe-s1",
            "10pc-2e-4-sft-s1",
            "10pc-2e-4-sft-s2",
            "10pc-2e-4-probe-s1",
            "10pc-2e-4-ema-s1",
            "identity-2e-4-sft-s1",
        ];
        assert_eq!(slugs, expected);
    }
}
