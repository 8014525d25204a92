//! Safety anchors beside the batch: at every step, or every few, the model is held to the reference on
//! prompts that are in nobody's training data, along the answers that the reference gives
//! itself. If asked for, rows that a probe or a judge calls risky are held to the reference
//! instead of learned, and alignment samples come in addition to the batch, by KL alone.

mod settings;

use risk_policy::judgements;
use risk_policy::prelude::*;
use risk_policy::probe::{self, Fitted};
use risk_policy::regularization::risk_of_score;

use settings::{Risk, Settings};

pub struct Anchored;

impl Policy for Anchored {
    type Settings = Settings;

    const NAME: &str = "anchored";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Learns the task and holds the model to the reference on safety anchors, prompts beside the batch.";
    const SETTINGS_SCHEMA: &str = include_str!("../settings.schema.json");

    fn needs(settings: &Settings, run: &RunInfo) -> Result<Needs, String> {
        settings.check()?;
        Ok(settings.beside(match settings.risk {
            Risk::None => Needs::new(),
            Risk::Probe => settings.probe().needs(run)?,
            Risk::Judge => Needs::new().judge(settings.judge(run)?),
        }))
    }

    fn calibrate(
        settings: &Settings,
        run: &RunInfo,
        examples: &Examples,
    ) -> Result<Calibration, String> {
        settings.check()?;
        if settings.risk != Risk::Probe {
            return Err("only `risk` = \"probe\" is calibrated: train directly".into());
        }
        let fitted = probe::calibrate(&settings.probe(), run, examples)?;
        Ok(Calibration { needs: settings.beside(fitted.needs.clone()), ..fitted })
    }

    fn assess(call: &Call<'_, Settings>) -> Result<Assessment, String> {
        let settings = call.settings;
        settings.check()?;
        let rows = Rows::of(call)?;
        let mut assessment = settings.adaptive().assess(
            &rows.risk,
            Some(&settings.anchors),
            call.signals,
            call.state,
        )?;
        hold_alignment(&mut assessment.regularization, &call.signals.samples);
        if settings.alignment_rows > 0 {
            // The batch itself is of the task alone.
            assessment.regularization.alignment_share = Some(0.0);
            assessment.regularization.alignment_extra = Some(settings.alignment_rows);
        }
        for (sample, code, message) in rows.reasons {
            assessment = assessment.sample_reason(sample, code, message);
        }
        Ok(assessment)
    }
}

/// A restoring force and no more: alignment samples are held to the reference, not learned.
fn hold_alignment(regularization: &mut Regularization, samples: &[Sample]) {
    for (sample, this) in samples.iter().enumerate() {
        if this.origin == Origin::Alignment {
            regularization.task_weight[sample] = 0.0;
            regularization.kl_weight[sample] = 1.0;
        }
    }
}

/// Risk from which on a row is named.
const NAMED: f64 = 0.5;

/// The risk that counts of each row, and why it is high.
struct Rows {
    risk: Vec<f64>,
    reasons: Vec<(usize, &'static str, String)>,
}

impl Rows {
    fn of(call: &Call<'_, Settings>) -> Result<Self, String> {
        match call.settings.risk {
            Risk::None => {
                Ok(Self { risk: vec![0.0; call.signals.samples.len()], reasons: Vec::new() })
            }
            Risk::Probe => Self::probed(call),
            Risk::Judge => Self::judged(call),
        }
    }

    fn probed(call: &Call<'_, Settings>) -> Result<Self, String> {
        let settings = call.settings;
        let fitted = Fitted::from_bytes(call.parameters, call.run, &settings.probe())?;
        let own = fitted.risks(&call.signals.activations, call.signals.samples.len())?;
        let risk = fitted.shaped(&own, &settings.shape);
        let named = risk.iter().enumerate().filter(|(_, risk)| **risk >= NAMED);
        let reasons = named.map(|(sample, _)| (sample, "harmful-prompt", own[sample].reason()));
        Ok(Self { reasons: reasons.collect(), risk })
    }

    fn judged(call: &Call<'_, Settings>) -> Result<Self, String> {
        let settings = call.settings;
        let judge = settings.judge(call.run)?;
        let scores = judgements::scores(call.signals, &judge, settings.unknown_score)?;
        let own: Vec<f64> = scores.iter().map(|score| risk_of_score(score.value)).collect();
        let risk = settings.shape.apply(&own, judgements::BALANCED, 0.0);
        let reason = |(sample, score): (usize, &judgements::Score)| match score.unknown {
            Some(why) => {
                let value = score.value;
                let message = format!("the judgement of `{judge}` {why}, which counts as {value}");
                Some((sample, "no-judgement", message))
            }
            None if risk[sample] >= NAMED => {
                let message = format!("`{judge}` gives {} out of 5", score.value);
                Some((sample, "harmful-sample", message))
            }
            None => None,
        };
        let reasons = scores.iter().enumerate().filter_map(reason).collect();
        Ok(Self { risk, reasons })
    }
}

risk_policy::export!(Anchored);

#[cfg(test)]
mod tests;
