//! What the risks of a calibrated policy are worth, computed by the host from the labels: the
//! figures of a policy's own report are its own words.

use host_contract::{
    Activations, Calibration, Examples, JudgeNeed, JudgeScores, Needs, Origin, RunInfo, Sample,
    Signals, Split,
};
use host_sandbox::{Call, Policy};
use serde::{Deserialize, Serialize};

/// How the risks of the test prompts tell harmful from harmless.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recomputed {
    pub test_prompts: usize,
    pub auroc: Option<f64>,
    pub auprc: Option<f64>,
    pub tpr_at_1_fpr: Option<f64>,
    /// Why there are no figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Asks the calibrated policy about every test prompt by itself.
pub fn recompute(
    policy: &Policy,
    settings: &str,
    run: &RunInfo,
    calibration: &Calibration,
    examples: &Examples,
) -> Recomputed {
    let test = examples.examples.iter().enumerate();
    let test = test.filter(|(_, one)| one.split == Split::Test);
    let (mut risks, mut harmful, mut problem) = (Vec::new(), Vec::new(), None);
    for (i, example) in test {
        let sample =
            Sample { id: i as u64, origin: Origin::Task, prompt_tokens: 1, answer_tokens: 1 };
        let signals = Signals {
            learning_rate: 1e-4,
            samples: vec![sample],
            activations: activations(&calibration.needs, examples, i),
            judges: judges(&calibration.needs, examples, i),
            ..Signals::default()
        };
        let assessed = policy.assess(Call {
            settings,
            run,
            parameters: &calibration.parameters,
            state: &[],
            signals: &signals,
            needs: &calibration.needs,
        });
        match assessed {
            Ok(assessed) => {
                risks.push(assessed.assessment.risk[0]);
                harmful.push(example.harmful);
            }
            Err(error) => {
                problem = Some(error.to_string());
                risks.clear();
                break;
            }
        }
    }
    let known = |figure: Option<f64>| figure.filter(|_| problem.is_none());
    Recomputed {
        test_prompts: risks.len(),
        auroc: known(host_stats::auroc(&risks, &harmful)),
        auprc: known(host_stats::auprc(&risks, &harmful)),
        tpr_at_1_fpr: known(host_stats::tpr_at_fpr(&risks, &harmful, 0.01)),
        problem,
    }
}

/// The judgements that the calibrated policy still reads, of one example.
fn judges(needs: &Needs, examples: &Examples, i: usize) -> Vec<JudgeScores> {
    let one = |need: &JudgeNeed| {
        let all = examples.judges.iter().find(|all| all.judge == need.judge)?;
        let judgement = all.judgements.get(i)?;
        Some(JudgeScores { judge: all.judge.clone(), judgements: vec![*judgement] })
    };
    needs.judges.iter().filter_map(one).collect()
}

/// The taps that the calibrated policy still reads, of one example.
fn activations(needs: &Needs, examples: &Examples, i: usize) -> Vec<Activations> {
    let one = |tap: &host_contract::Tap| {
        let wide = examples.activations.iter().find(|wide| {
            (wide.tap.source, wide.tap.position) == (tap.source, tap.position)
                && tap.layers.iter().all(|layer| wide.tap.layers.contains(layer))
        })?;
        let width = wide.hidden as usize;
        let rows = tap.layers.iter().filter_map(|layer| {
            let place = wide.tap.layers.iter().position(|one| one == layer)?;
            let from = (i * wide.layers as usize + place) * width;
            wide.values.get(from..from + width)
        });
        Some(Activations {
            tap: tap.clone(),
            samples: 1,
            layers: tap.layers.len() as u32,
            hidden: wide.hidden,
            values: rows.flatten().copied().collect(),
        })
    };
    needs.taps.iter().filter_map(one).collect()
}

impl Recomputed {
    /// One line, with what the policy says of itself if that is something else.
    pub fn line(&self, own_auroc: Option<f64>) -> String {
        if let Some(problem) = &self.problem {
            return format!(
                "the figures above are the policy's own; the host could not compute them: {problem}"
            );
        }
        let show =
            |figure: Option<f64>| figure.map_or_else(|| "-".into(), |one| format!("{one:.4}"));
        let mut line = format!(
            "the figures above are the policy's own; computed by the host from its risks for {} test \
             prompts: AUROC {}, AUPRC {}, found at 1% false alarms {}",
            self.test_prompts,
            show(self.auroc),
            show(self.auprc),
            show(self.tpr_at_1_fpr)
        );
        if let (Some(own), Some(found)) = (own_auroc, self.auroc)
            && (own - found).abs() > 0.02
        {
            line += &format!("; it says AUROC {own:.4}, which is NOT what its risks amount to");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_praises_itself_is_contradicted() {
        let found = Recomputed {
            test_prompts: 40,
            auroc: Some(0.5),
            auprc: Some(0.5),
            tpr_at_1_fpr: Some(0.0),
            problem: None,
        };
        let line = found.line(Some(0.99));
        assert!(line.contains("AUROC 0.5000") && line.contains("says AUROC 0.9900"), "{line}");
        for own in [None, Some(0.51)] {
            assert!(!found.line(own).contains("NOT"), "{own:?}");
        }
        let problem = Some("out of fuel".to_owned());
        let line = Recomputed { problem, ..found }.line(Some(0.99));
        assert!(line.contains("could not compute them: out of fuel"), "{line}");
    }
}
