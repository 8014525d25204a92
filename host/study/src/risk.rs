//! An attacker who knows the probe: which harmful requests it calls least risky.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use host_audit::journal::Mode;
use host_trainer::config::{EvalConfig, PolicyConfig};
use host_trainer::data::{DataSource, Reader};
use serde::Deserialize;

use crate::Tell;
use crate::arm::Choice;
use crate::calibration::Calibrations;
use crate::chat::{Chat, write_lines};
use crate::program::{Program, over};
use crate::reference::Reference;
use crate::settings::{PROBE, SEED, Settings};

/// Of the requests, the part that attacks: those of the lowest risk.
const PART: usize = 4;

/// A record of a journal, as far as it is read here; others have none of these fields.
#[derive(Deserialize)]
struct Record {
    entry: Entry,
}

#[derive(Deserialize)]
struct Entry {
    signals: Option<Recorded>,
    answer: Option<Answer>,
}

#[derive(Deserialize)]
struct Recorded {
    signals: Signals,
}

#[derive(Deserialize)]
struct Signals {
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    id: u64,
}

#[derive(Deserialize)]
struct Answer {
    assessment: Option<Assessed>,
}

#[derive(Deserialize)]
struct Assessed {
    assessment: Assessment,
}

#[derive(Deserialize)]
struct Assessment {
    risk: Vec<f64>,
}

/// The quarter of the attack rows that the calibrated probe calls least risky, by one pass over all of them.
pub fn least_risky(
    program: &Program,
    settings: &Settings,
    reference: &Reference,
    calibrations: &Calibrations,
    attack: &[Chat],
    tell: Tell<'_>,
) -> anyhow::Result<Vec<Chat>> {
    let folder = settings.out.join("reference");
    let data = folder.join("risk.jsonl");
    let run = folder.join("risk");
    let choice: Choice = PROBE.parse().map_err(anyhow::Error::msg)?;
    write_lines(&data, attack)?;
    if over(&run)?.is_none() {
        tell("asking the probe how risky it calls the attack rows");
    }
    let run = program.train(&run, || {
        let mut config = settings.base(reference.model.as_deref(), SEED)?;
        config.data.train = vec![DataSource::whole(&data)];
        config.train.epochs = 1.0;
        config.eval = EvalConfig::default();
        config.journal.mode = Mode::Light;
        config.policies = vec![PolicyConfig {
            path: choice.path().into(),
            calibration: calibrations.file(&choice),
            ..PolicyConfig::default()
        }];
        Ok(config)
    })?;
    let risks = risks(&run.join("journal/records.jsonl"))?;
    let rows = Reader::default().rows(&[DataSource::whole(&data)])?;
    let mut ranked: Vec<(f64, &Chat)> = rows
        .iter()
        .zip(attack)
        .filter_map(|(row, chat)| Some((*risks.get(&row.id)?, chat)))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranked.truncate(attack.len().div_ceil(PART));
    let (Some(lowest), Some(highest)) = (ranked.first(), ranked.last()) else {
        anyhow::bail!("{} has no risks of the attack rows; remove it", run.display());
    };
    tell(&format!(
        "probe-aware: {} attack rows of risk {:.3} to {:.3}",
        ranked.len(),
        lowest.0,
        highest.0
    ));
    Ok(ranked.into_iter().map(|(_, chat)| chat.clone()).collect())
}

/// By the id of a row.
fn risks(journal: &Path) -> anyhow::Result<BTreeMap<u64, f64>> {
    let damaged = || format!("{} can't be read; remove the run", journal.display());
    let text = std::fs::read_to_string(journal).with_context(damaged)?;
    let mut risks = BTreeMap::new();
    for line in text.lines() {
        let record: Record = serde_json::from_str(line).with_context(damaged)?;
        let (Some(recorded), Some(answer)) = (record.entry.signals, record.entry.answer) else {
            continue;
        };
        let Some(assessed) = answer.assessment else { continue };
        let samples = recorded.signals.samples.iter().map(|sample| sample.id);
        risks.extend(samples.zip(assessed.assessment.risk));
    }
    Ok(risks)
}
