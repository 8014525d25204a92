//! Lets a policy fit itself: labelled prompts in, parameters and a report out.

use std::borrow::Cow;
use std::time::Duration;

use host_contract::{
    self as wit, Activations, Calibration, Examples, JudgeNeed, JudgeScores, Needs, RunInfo,
    Source, Tap,
};
use host_data::{
    Failure, Notices, Origin, Overlong, Prompt, Reader, Sample, Samples, Split, encode_chats,
};
use host_judges::Judges;
use host_model::decoder::Packed;
use host_model::{Chat, Model};
use host_sandbox::Policy;

use crate::config::{CalibrationConfig, RunConfig};
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
pub type CalibrationFile = host_audit::calibration::CalibrationFile<Recomputed, Notices>;

/// What the policy tried, and which of it was chosen.
/// `width`: as [`host_eval::report::Table::page`] has it.
pub fn table(file: &CalibrationFile, width: Option<usize>) -> host_files::Page {
    let mut page = host_eval::report::candidates_table(&file.candidates, &file.summary, width);
    if let Some(recomputed) = &file.recomputed {
        let chosen = file.candidates.iter().find(|candidate| candidate.chosen);
        let own = chosen.and_then(|one| {
            let metric = one.metrics.iter().find(|metric| metric.name == "test.auroc")?;
            Some(metric.value)
        });
        page.line(recomputed.line(own));
    }
    page
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

/// What a policy is fitted to.
pub struct Fitting<'a> {
    pub run: &'a RunConfig,
    pub reader: &'a Reader,
    pub info: &'a RunInfo,
    pub model: &'a Model,
    /// Training samples, of which a policy may see some without labels.
    pub samples: &'a Samples,
    pub judges: &'a Judges,
}

impl Fitting<'_> {
    /// Measures the labelled prompts, and samples of the run if the policy wants some.
    fn examples(
        &self,
        policy: &Policy,
        needs: &Needs,
        prompts: &[LabelledPrompt],
        observer: &mut dyn Observer,
    ) -> Result<Examples> {
        if needs.taps.iter().any(|tap| tap.source == Source::Current) {
            return Err(Error::UnmetNeed {
                policy: policy.to_string(),
                need: "current activations for calibration".into(),
                remedy: "examples are measured on the reference; choose a tap on it".into(),
            });
        }
        let labelled = if needs.taps.iter().any(taps::reads_answer) || !needs.judges.is_empty() {
            self.answered(policy, prompts)?
        } else {
            let prompt = |one: &LabelledPrompt| {
                let tokens = self.model.tokenizer.encode_prompt(one.prompt.chat())?;
                Ok(Sample::prompt_only(tokens))
            };
            prompts.iter().map(prompt).collect::<Result<Vec<_>>>()?
        };
        let title = format!("reading activations of {} labelled prompts", prompts.len());
        let (activations, judges) = self.measure(needs, &labelled, &title, observer)?;
        let own = self.own_rows(needs)?;
        let (row_activations, row_judges) = if own.is_empty() {
            (Vec::new(), Vec::new())
        } else {
            let title = format!("reading activations of {} rows of the run", own.len());
            self.measure(needs, &own, &title, observer)?
        };
        let example =
            |one: &LabelledPrompt| wit::Example { harmful: one.harmful, split: split(one.split) };
        Ok(Examples {
            examples: prompts.iter().map(example).collect(),
            activations,
            judges,
            row_activations,
            row_judges,
        })
    }

    /// The labelled prompts with their answers.
    fn answered(&self, policy: &Policy, prompts: &[LabelledPrompt]) -> Result<Vec<Sample>> {
        let row = |one: &LabelledPrompt| {
            one.prompt.row().ok_or_else(|| Error::UnmetNeed {
                policy: policy.to_string(),
                need: format!("the answer of {}, which has none", one.prompt.place),
                remedy: "it reads answers: give every labelled row an `answer`, or messages that \
                         end with the assistant's"
                    .into(),
            })
        };
        let rows = prompts.iter().map(row).collect::<Result<Vec<_>>>()?;
        let longest = self.model.config.max_position;
        let encoded = encode_chats(&rows, longest, Overlong::Error, &self.model.tokenizer)?;
        Ok(encoded.samples)
    }

    /// Task samples of the run, evenly spread over its data.
    fn own_rows(&self, needs: &Needs) -> Result<Vec<Sample>> {
        let task = self.samples.iter().filter(|sample| sample.origin() == Origin::Task);
        let task: Vec<_> = task.collect();
        let count = (needs.calibration_rows as usize).min(task.len());
        let own = (0..count).map(|i| self.samples.read(task[i * task.len() / count]));
        Ok(own.map(|sample| sample.map(Cow::into_owned)).collect::<host_data::Result<_>>()?)
    }

    fn measure(
        &self,
        needs: &Needs,
        samples: &[Sample],
        title: &str,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<Activations>, Vec<JudgeScores>)> {
        observer.stage(title, Some(samples.len() as u64));
        let shown = show_samples(&needs.taps, self.model, samples, observer)?;
        let activations = taps::gather(&needs.taps, shown.iter(), self.model.config.hidden_size);
        let samples: Vec<&Sample> = samples.iter().collect();
        let tokenizer = &self.model.tokenizer;
        let judged = self.judges.of_step(needs.judges.iter(), &samples, tokenizer)?;
        let of_need = |need: &JudgeNeed| {
            judged.iter().find(|one| one.need == *need).map(|one| one.scores.clone())
        };
        Ok((activations, needs.judges.iter().filter_map(of_need).collect()))
    }
}

/// Measures the examples and lets the policy fit itself, inside the sandbox.
pub fn calibrate(
    policy: &Policy,
    settings: &str,
    needs: &Needs,
    prompts: &[LabelledPrompt],
    fitting: &Fitting<'_>,
    observer: &mut dyn Observer,
) -> Result<(Calibration, Recomputed)> {
    let run = fitting.info;
    let examples = fitting.examples(policy, needs, prompts, observer)?;
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
    show_samples(taps, model, &samples, observer)
}

/// The same of samples, with their answers if they have any.
fn show_samples(
    taps: &[Tap],
    model: &Model,
    samples: &[Sample],
    observer: &mut dyn Observer,
) -> Result<Vec<SampleTaps>> {
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
