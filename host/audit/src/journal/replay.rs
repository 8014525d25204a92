//! Asks the policies of a journal everything again, and compares bytes.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{
    COMBINATION,
    entry::{self, Answer, Entry, Mode, PolicySlot, Record, stand_in},
    finding::Finding,
    reader::Journal,
};
use host_contract::{Assessment, Combiner, Guardrails};
use host_sandbox::{Call, Engine, Error, Limits, Policy, Result, read};

/// How a replay went.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Replay {
    /// Assessments in the journal, faults included.
    pub assessments: u64,
    /// Of these, those whose replay gave the same bytes.
    pub replayed: u64,
    /// Of these, those whose arguments were not recorded in full.
    pub not_recorded: u64,
    pub first_difference: Option<Difference>,
    /// Also other things that don't fit, such as a state that no policy returned.
    pub findings: Vec<Finding>,
    #[serde(skip)]
    pub time: Duration,
}

/// Where a replay first differs from the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub record: u64,
    pub step: u64,
    pub policy: String,
    /// Such as `risk[3]`.
    pub field: String,
    pub recorded: String,
    pub replayed: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "record {} (step {}, policy {}): {} is {} in the journal and {} in the replay",
            self.record, self.step, self.policy, self.field, self.recorded, self.replayed
        )
    }
}

impl Journal {
    /// Loads the policy of a slot: the component in the journal, else the file that the
    /// run named. Either must have the recorded digest.
    ///
    /// # Errors
    /// If neither is there, or neither is the recorded one.
    pub fn load(&self, engine: &Engine, slot: &PolicySlot) -> Result<Policy> {
        let kept = self.component(slot);
        let path = if kept.exists() { kept } else { slot.file.clone().into() };
        let bytes = read(engine, &path)?;
        let actual = host_files::sha256::hex(&bytes);
        if actual != slot.sha256 {
            return Err(Error::Digest {
                file: path.display().to_string(),
                expected: slot.sha256.clone(),
                actual,
            });
        }
        // Under the name that the run gave it, so that messages compare.
        Policy::from_bytes(engine, &slot.file, &bytes)
    }

    /// The limits that a replay needs: those of the run, as far as an answer depends on them, and
    /// this machine's own for time and compilation.
    ///
    /// # Errors
    /// If the run had more of something than `own` allows: nobody vouches for a journal, so it
    /// doesn't decide what a replay may take.
    pub fn limits(&self, own: &Limits) -> Result<Limits> {
        self.run.limits.replayed(own).map_err(|(name, recorded, allowed)| Error::Journal {
            path: self.folder().to_owned(),
            problem: format!(
                "the run had limits.{name} = {recorded}, and a replay may have {allowed}; if that \
                 is all right give --set limits.{name}={recorded}"
            ),
        })
    }

    /// Replays every assessment through the recorded policies. `advance` is called
    /// once for each.
    ///
    /// # Errors
    /// Policies that can't be loaded.
    pub fn replay(&self, engine: &Engine, mut advance: impl FnMut()) -> Result<Replay> {
        let started = Instant::now();
        let slots = self.run.policies.iter();
        let slots = slots.map(|slot| {
            Ok(Asked {
                slot,
                policy: self.load(engine, slot)?,
                parameters: self.parameters(slot),
                state: Some(host_files::sha256::hex(b"")),
            })
        });
        let mut slots = slots.collect::<Result<Vec<_>>>()?;
        let require = Guardrails::parse(&self.run.require).map_err(|(i, problem)| {
            let problem = format!("rule {i} of the run {problem}");
            Error::Journal { path: self.folder.clone(), problem }
        })?;
        let mut replay = Replay::default();
        let mut step: Vec<(&Record, Assessment)> = Vec::new();
        let mut combiner = Combiner::default();
        for (number, entry) in (0u64..).zip(&self.entries) {
            match entry {
                Entry::Assessment(record) => {
                    if step.first().is_some_and(|(first, _)| first.step != record.step) {
                        step.clear();
                    }
                    self.one(number, record, &mut slots, &require, &mut replay);
                    step.extend(spoken(record).map(|assessment| (record.as_ref(), assessment)));
                    advance();
                }
                Entry::Combined { assessment, .. } => {
                    let step = std::mem::take(&mut step);
                    self.combined(number, assessment, &step, &mut combiner, &mut replay);
                }
                Entry::Run(_) | Entry::End { .. } => {}
            }
        }
        replay.findings.extend(self.missing(replay.not_recorded));
        replay.findings.extend(self.combined_by_other_rules());
        replay.time = started.elapsed();
        Ok(replay)
    }

    /// A run tells how many assessments it could not record; more are suspicious.
    fn missing(&self, not_recorded: u64) -> Option<Finding> {
        let declared = self.entries.iter().find_map(|entry| match entry {
            Entry::End { unrecorded, .. } => Some(*unrecorded),
            _ => None,
        });
        let declared = declared.unwrap_or(0);
        let missing = self.run.mode == Mode::Full && not_recorded > declared;
        missing.then(|| {
            Finding::whole(format!(
                "{} assessments can't be replayed, though the run recorded all that they need: \
                 something was removed",
                not_recorded - declared
            ))
        })
    }

    /// Fails closed: what was combined by other rules is not taken for right.
    fn combined_by_other_rules(&self) -> Option<Finding> {
        let several = self.run.policies.len() > 1;
        (several && self.run.combination != COMBINATION).then(|| {
            Finding::whole(format!(
                "what its policies amount to was combined by the rules of another version, which \
                 this host can't check; audit this run with the host that made it ({})",
                host_files::text::clean(&self.run.host, 64)
            ))
        })
    }

    fn one(
        &self,
        number: u64,
        record: &Record,
        slots: &mut [Asked<'_>],
        require: &Guardrails,
        replay: &mut Replay,
    ) {
        replay.assessments += 1;
        let Some(asked) = slots.get_mut(record.policy) else {
            let problem = format!("names policy {}, which the run does not have", record.policy);
            replay.findings.push(Finding::at(number, problem));
            return;
        };
        if asked.state.as_ref().is_some_and(|state| *state != record.state) {
            let problem = "the policy was given another state than it had returned";
            replay.findings.push(Finding::at(number, problem));
        }
        if let Some(state) = returned_state(record) {
            asked.state = Some(state);
        }
        if !stands_in_strictly(record) {
            let problem = "what stands in for the failed policy is not the most restrictive \
                           assessment";
            replay.findings.push(Finding::at(number, problem));
        }
        let arguments = asked.parameters.as_ref().ok().and_then(|parameters| {
            let complete = record.signals.digests().all(|digest| self.blobs.has(digest))
                && self.blobs.has(&record.state);
            complete.then_some(parameters)
        });
        let Some(parameters) = arguments else {
            replay.not_recorded += 1;
            return;
        };
        let signals = self.restore(record);
        let state = self.blobs.get(&record.state);
        let (signals, state) = match (signals, state) {
            (Ok(signals), Ok(state)) => (signals, state),
            (Err(e), _) | (_, Err(e)) => {
                replay.findings.push(Finding::at(number, e.to_string()));
                return;
            }
        };
        let answer = asked.policy.assess(Call {
            settings: &asked.slot.settings,
            run: &self.run.run,
            parameters,
            state: &state,
            signals: &signals,
            needs: &asked.slot.needs,
        });
        let answer = answer.and_then(|assessed| {
            asked.policy.require(require, &assessed.assessment, &signals)?;
            Ok(assessed)
        });
        let answer = match answer {
            Ok(assessed) => entry::assessment(&assessed.assessment).map_or_else(
                |e| fault(e.to_string()),
                |assessment| Answer::Assessment {
                    assessment,
                    fuel: assessed.fuel,
                    memory_bytes: assessed.memory_bytes,
                },
            ),
            Err(e) => fault(e.to_string()),
        };
        match difference(&record.answer, &answer) {
            None => replay.replayed += 1,
            Some((field, recorded, replayed)) => {
                replay.first_difference.get_or_insert(Difference {
                    record: number,
                    step: record.step,
                    policy: asked.slot.name.clone(),
                    field,
                    recorded,
                    replayed,
                });
            }
        }
    }

    /// The combination is no policy's answer, but follows from them.
    fn combined(
        &self,
        number: u64,
        recorded: &serde_json::Value,
        step: &[(&Record, Assessment)],
        combiner: &mut Combiner,
        replay: &mut Replay,
    ) {
        if self.run.combination != COMBINATION {
            return;
        }
        let names = self.run.policies.iter().map(|slot| slot.name.as_str());
        let names: Vec<&str> = names.collect();
        let samples = step.first().map_or(&[][..], |(record, _)| &record.signals.signals.samples);
        let assessments: Vec<&Assessment> = step.iter().map(|(_, one)| one).collect();
        let well_formed =
            assessments.len() == names.len() && assessments.iter().all(|one| fits(one, samples));
        let expected = well_formed
            .then(|| entry::assessment(&combiner.combine(&names, &assessments, samples)).ok())
            .flatten();
        if expected.as_ref() != Some(recorded) {
            let problem = "is not what the policies' assessments amount to";
            replay.findings.push(Finding::at(number, problem));
        }
    }
}

struct Asked<'a> {
    slot: &'a PolicySlot,
    policy: Policy,
    parameters: Result<Vec<u8>>,
    /// Digest of what it returned last.
    state: Option<String>,
}

fn fault(error: String) -> Answer {
    Answer::Fault { error, stands_in: None }
}

/// What counts for the step: the policy's own assessment, or what stood in for it.
fn spoken(record: &Record) -> Option<Assessment> {
    let value = match &record.answer {
        Answer::Assessment { assessment, .. } => assessment,
        Answer::Fault { stands_in, .. } => stands_in.as_ref()?,
    };
    entry::without_state(value).ok()
}

/// Whether a fault was answered as the host answers one.
fn stands_in_strictly(record: &Record) -> bool {
    let Answer::Fault { error, stands_in: Some(recorded) } = &record.answer else {
        return true;
    };
    let samples = record.signals.signals.samples.len();
    entry::assessment(&stand_in(samples, error, &[])).is_ok_and(|mut expected| {
        expected["state"] = record.state.clone().into();
        expected == *recorded
    })
}

/// Digest of the state that a policy returned; a failed one keeps what it had.
fn returned_state(record: &Record) -> Option<String> {
    match &record.answer {
        Answer::Assessment { assessment, .. } => Some(assessment.get("state")?.as_str()?.into()),
        Answer::Fault { .. } => None,
    }
}

/// Whether combining can't go out of bounds: records may hold anything.
fn fits(assessment: &Assessment, samples: &[host_contract::Sample]) -> bool {
    let r = &assessment.regularization;
    let tokens: usize = samples.iter().map(|one| one.answer_tokens as usize).sum();
    let per_token = |list: &Option<Vec<f32>>| list.as_ref().is_none_or(|l| l.len() == tokens);
    let n = samples.len();
    assessment.risk.len() == n
        && r.task_weight.len() == n
        && r.kl_weight.len() == n
        && r.ratio_clip.as_ref().is_none_or(|list| list.len() == n)
        && per_token(&r.token_task_weight)
        && per_token(&r.token_kl_weight)
}

/// The first field that differs, and its two values. A fault compares by its words:
/// what stands in for it is the host's, not the policy's.
fn difference(recorded: &Answer, replayed: &Answer) -> Option<(String, String, String)> {
    match (recorded, replayed) {
        (Answer::Fault { error: a, .. }, Answer::Fault { error: b, .. }) => {
            (a != b).then(|| ("the fault".into(), a.clone(), b.clone()))
        }
        (Answer::Fault { error, .. }, _) => {
            Some(("the answer".into(), format!("a fault ({error})"), "an assessment".into()))
        }
        (_, Answer::Fault { error, .. }) => {
            Some(("the answer".into(), "an assessment".into(), format!("a fault ({error})")))
        }
        (
            Answer::Assessment { assessment: a, fuel: fuel_a, .. },
            Answer::Assessment { assessment: b, fuel: fuel_b, .. },
        ) => {
            // As text, in which 0 and -0 differ.
            let (text_a, text_b) = (a.to_string(), b.to_string());
            match text_a == text_b {
                true if fuel_a != fuel_b => {
                    Some(("fuel".into(), fuel_a.to_string(), fuel_b.to_string()))
                }
                true => None,
                false => Some(crate::agreement::first_difference(a, b)),
            }
        }
    }
}
