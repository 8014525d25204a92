//! calibration.json: how well a policy's risk tells harmful from harmless.

use host_data::Notices;
use host_eval::report::candidates_rows;
use host_trainer::calibration::CalibrationFile;
use serde::Serialize;

/// What a policy fitted itself to, and what came of it.
#[derive(Debug, Serialize)]
pub struct Calibration {
    pub policy: String,
    pub examples: usize,
    /// The policy's own words.
    pub summary: String,
    /// Computed by the host from the labels of the test prompts.
    pub recomputed: Option<Figures>,
    /// What it tried; the first row is the head, and the chosen ones have a star.
    pub candidates: Vec<Vec<String>>,
    pub notices: Vec<String>,
    /// The file.
    pub file: String,
}

/// The host's figures.
#[derive(Debug, Serialize)]
pub struct Figures {
    pub test_prompts: usize,
    pub auroc: Option<f64>,
    pub auprc: Option<f64>,
    pub tpr_at_1_fpr: Option<f64>,
    pub problem: Option<String>,
}

/// Most candidates that are shown.
const CANDIDATES: usize = 64;

impl Calibration {
    pub fn of(file: &CalibrationFile, name: &str) -> Self {
        let recomputed = file.recomputed.as_ref().map(|one| Figures {
            test_prompts: one.test_prompts,
            auroc: one.auroc,
            auprc: one.auprc,
            tpr_at_1_fpr: one.tpr_at_1_fpr,
            problem: one.problem.clone(),
        });
        let mut candidates = candidates_rows(&file.candidates);
        let mut notices: Vec<String> = file.notices.iter().flat_map(Notices::lines).collect();
        if candidates.len() > CANDIDATES + 1 {
            notices.push(format!(
                "{CANDIDATES} of {} candidates are shown; {name} has all",
                candidates.len() - 1
            ));
            candidates.truncate(CANDIDATES + 1);
        }
        Self {
            policy: file.policy.clone(),
            examples: file.examples,
            summary: file.summary.clone(),
            recomputed,
            candidates,
            notices,
            file: name.to_owned(),
        }
    }
}
