//! Lets a policy fit itself: labelled prompts in, parameters and a report out.

use std::path::Path;
use std::time::Duration;

use host_contract::{self as wit, Calibration, Candidate, Examples, Needs, RunInfo, Source, Tap};
use host_data::{Failure, Notices, Prompt, Reader, Sample, Split};
use host_model::decoder::Packed;
use host_model::{Chat, Model};
use host_sandbox::Policy;
use serde::{Deserialize, Serialize};

use crate::config::CalibrationConfig;
use crate::error::{Error, Result};
use crate::records::observer::Observer;
use crate::session::recomputed::{Recomputed, recompute};
use crate::signals::taps::{self, Reading, SampleTaps};

/// A labelled prompt that calibration uses, with the part it belongs to.
pub struct LabelledPrompt {
    pub prompt: Prompt,
    pub harmful: bool,
    pub split: Split,
}

/// What `host calibrate` leaves and `policy.calibration` reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationFile {
    pub policy: String,
    pub policy_sha256: String,
    pub settings: serde_json::Value,
    pub model: String,
    pub model_digest: String,
    pub examples: usize,
    pub summary: String,
    pub needs: Needs,
    pub candidates: Vec<Candidate>,
    /// Hex.
    pub parameters: String,
    /// Figures of the host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recomputed: Option<Recomputed>,
    /// What a person should know of the prompts that were read.
    #[serde(default, skip_serializing_if = "Notices::is_empty")]
    pub notices: Notices,
}

impl CalibrationFile {
    pub fn read(path: &Path) -> Result<Self> {
        let text = host_files::capped::read_text(path, 64 << 20)
            .map_err(|source| Error::read(path, source))?;
        serde_json::from_str(&text).map_err(|error| {
            Error::file(
                path,
                format!("is no calibration file ({error}); make one with host calibrate"),
            )
        })
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(host_files::json::write(path, self)?)
    }

    /// What the policy tried, and which of it was chosen.
    pub fn table(&self) -> host_files::Page {
        let mut page = host_eval::report::candidates_table(&self.candidates, &self.summary);
        if let Some(recomputed) = &self.recomputed {
            let chosen = self.candidates.iter().find(|candidate| candidate.chosen);
            let own = chosen.and_then(|one| {
                let metric = one.metrics.iter().find(|metric| metric.name == "test.auroc")?;
                Some(metric.value)
            });
            page.line(recomputed.line(own));
        }
        page
    }

    /// Refuses a file that was fitted for another policy, other settings or another
    /// model.
    pub fn check(
        &self,
        path: &Path,
        policy: &Policy,
        settings: &serde_json::Value,
        model_digest: &str,
    ) -> Result<()> {
        let stale = |what: &str| {
            Err(Error::file(path, format!("was made for another {what}; run host calibrate again")))
        };
        if self.policy_sha256 != policy.digest() {
            return stale("policy file");
        }
        if &self.settings != settings {
            return stale("set of policy settings");
        }
        if self.model_digest != model_digest {
            return stale("model");
        }
        match hex::decode(&self.parameters) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::file(path, "parameters is not hex; run host calibrate again")),
        }
    }
}

/// Reads and splits the labelled prompts. Splits named by a file's rows or by the
/// configuration are kept; the rest is drawn from the seed.
pub fn load_prompts(config: &CalibrationConfig, reader: &Reader) -> Result<Vec<LabelledPrompt>> {
    let mut prompts = tagged(&config.data, None, reader)?;
    prompts.extend(tagged(&config.validation, Some(Split::Validation), reader)?);
    prompts.extend(tagged(&config.test, Some(Split::Test), reader)?);
    let splits = host_data::assign_splits(&prompts, reader.seed)?;
    let labelled = prompts.into_iter().zip(splits).map(|(prompt, split)| {
        let harmful = prompt.harmful()?;
        Ok(LabelledPrompt { prompt, harmful, split })
    });
    let labelled = labelled.collect::<Result<Vec<_>>>()?;
    let parts = labelled.iter().map(|prompt| (prompt.split, prompt.harmful));
    host_data::need_both_labels(parts, "calibration.data")?;
    Ok(labelled)
}

fn tagged(
    sources: &[host_data::DataSource],
    split: Option<Split>,
    reader: &Reader,
) -> Result<Vec<Prompt>> {
    let mut prompts = reader.prompts(sources)?;
    for prompt in &mut prompts {
        prompt.split = split.or(prompt.split);
    }
    Ok(prompts)
}

/// Measures the examples and lets the policy fit itself, inside the sandbox.
pub fn calibrate(
    policy: &Policy,
    settings: &str,
    run: &RunInfo,
    needs: &Needs,
    model: &Model,
    prompts: &[LabelledPrompt],
    observer: &mut dyn Observer,
) -> Result<(Calibration, Recomputed)> {
    if let Some(tap) =
        needs.taps.iter().find(|tap| taps::reads_answer(tap) || tap.source == Source::Current)
    {
        let need = format!("{:?} activations at {:?} for calibration", tap.source, tap.position)
            .to_lowercase();
        let remedy = "prompts are measured on the reference, and have no answer; choose a tap on reference prompts".into();
        return Err(Error::UnmetNeed { policy: policy.to_string(), need, remedy });
    }
    if !needs.judges.is_empty() {
        let remedy = "labelled prompts have no answer to judge".into();
        return Err(Error::UnmetNeed {
            policy: policy.to_string(),
            need: "judges for calibration".into(),
            remedy,
        });
    }
    observer.stage(
        &format!("reading activations of {} labelled prompts", prompts.len()),
        Some(prompts.len() as u64),
    );
    let chats: Vec<Chat<'_>> = prompts.iter().map(|one| one.prompt.chat()).collect();
    let shown = show(&needs.taps, model, &chats, observer)?;
    let activations = taps::gather(&needs.taps, shown.iter(), model.config.hidden_size);
    let examples = Examples {
        examples: prompts
            .iter()
            .map(|prompt| wit::Example { harmful: prompt.harmful, split: split(prompt.split) })
            .collect(),
        activations,
        ..Examples::default()
    };
    observer.stage(&format!("calibrating {} inside the sandbox", policy.name()), None);
    let calibrated = std::thread::scope(|scope| {
        let call = scope.spawn(|| policy.calibrate(settings, run, &examples));
        while !call.is_finished() {
            std::thread::sleep(GLANCE);
            if observer.is_stopping() {
                policy.engine().interrupt();
            }
        }
        call.join()
    });
    if observer.is_stopping() {
        return Err(Failure::Interrupted.into());
    }
    let calibration = calibrated.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let recomputed = recompute(policy, settings, run, &calibration, &examples);
    Ok((calibration, recomputed))
}

/// How often to look whether a person wants the calibration to stop.
const GLANCE: Duration = Duration::from_millis(20);

/// What `taps` read of each prompt on the model without an adapter.
pub fn show(
    taps: &[Tap],
    model: &Model,
    prompts: &[Chat<'_>],
    observer: &mut dyn Observer,
) -> Result<Vec<SampleTaps>> {
    let samples = prompts
        .iter()
        .map(|prompt| {
            let tokens = model.tokenizer.encode_prompt(*prompt)?;
            Ok(Sample::prompt_only(tokens))
        })
        .collect::<Result<Vec<_>>>()?;
    // By length, so that a batch holds alike prompts and work is even.
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_by_key(|index| samples[*index].tokens.len());
    let width = model.config.hidden_size;
    let mut measured: Vec<SampleTaps> = vec![Vec::new(); samples.len()];
    for chunk in order.chunks(16) {
        if observer.is_stopping() {
            return Err(Failure::Interrupted.into());
        }
        let members: Vec<&Sample> = chunk.iter().map(|index| &samples[*index]).collect();
        let reading = Reading::new(taps, &members);
        let packed = Packed::from_sequences(
            &members.iter().map(|sample| &sample.tokens).collect::<Vec<_>>(),
        );
        let outputs = model.decoder.forward_taps(&packed, None, &reading.rows())?;
        for (index, shown) in chunk.iter().zip(reading.by_sample(outputs, width)) {
            measured[*index] = shown;
        }
        observer.advance(chunk.len() as u64);
    }
    Ok(measured)
}

fn split(split: Split) -> wit::Split {
    match split {
        Split::Training => wit::Split::Training,
        Split::Validation => wit::Split::Validation,
        Split::Test => wit::Split::Test,
    }
}
