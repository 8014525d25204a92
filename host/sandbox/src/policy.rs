//! A loaded policy and its four functions.

mod load;

pub use load::{Trust, check_revoked, check_signature, claimed, digest, read};

use crate::{
    call_site::{CallSite, Function},
    descriptor,
    engine::Engine,
    error::{Error, Result},
    limits::{Limit, Limits},
    linked::Cost,
    question::{Answer, Question},
    runner::{Runner, beside},
};
use host_contract::{
    Assessment, Calibration, Descriptor, Examples, Expected, Guardrails, Invalid, Needs, RunInfo,
    Signals, Version, check_metrics, examples_bytes, exceeds, signals_bytes, validate_assessment,
    validate_needs,
};
use host_files::text::clean;
use std::{borrow::Cow, fmt, time::Duration};

/// What a reason or a metric takes in a record beside its words.
const OVERHEAD: usize = 32;

/// A policy component: checked, compiled, and asked who it is.
///
/// Nothing is kept between calls; every call gets a fresh instance.
pub struct Policy {
    engine: Engine,
    file: String,
    digest: String,
    descriptor: Descriptor,
    runner: Runner,
}

/// The arguments of one assessment.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// A JSON object.
    pub settings: &'a str,
    /// The run, as `configure` got it.
    pub run: &'a RunInfo,
    /// What `calibrate` returned, else empty.
    pub parameters: &'a [u8],
    /// What the step before returned, empty at the first.
    pub state: &'a [u8],
    /// What was measured at the step.
    pub signals: &'a Signals,
    /// What `configure`, or `calibrate` after it, returned.
    pub needs: &'a Needs,
}

/// A validated assessment, and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessed {
    /// What the policy decided, checked.
    pub assessment: Assessment,
    /// Instructions, which depend on the arguments alone.
    pub fuel: u64,
    /// Linear memory at its largest.
    pub memory_bytes: u64,
    /// Wall clock, instantiation and copying included.
    pub time: Duration,
}

impl Assessed {
    /// Cost of the call.
    pub fn cost(&self) -> Cost {
        Cost { fuel: self.fuel, memory_bytes: self.memory_bytes, time: self.time }
    }
}

impl Policy {
    /// The engine that runs it.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// SHA-256 of the file, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The file it came from, as it was given.
    pub fn path(&self) -> &str {
        &self.file
    }

    /// Name that it gives itself.
    pub fn name(&self) -> &str {
        &self.descriptor.name
    }

    /// The contract that it was built for.
    pub fn version(&self) -> Version {
        self.runner.version()
    }

    /// What it says of itself.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// What a call of it may use.
    pub fn limits(&self) -> &Limits {
        &self.engine.limits
    }

    /// Asks the policy whether the settings are good for this run, and what it needs.
    ///
    /// # Errors
    /// Settings that are no JSON object or that the policy refuses, needs that this
    /// run can't meet, and faults.
    pub fn configure(&self, settings: &str, run: &RunInfo) -> Result<Needs> {
        Ok(self.configure_at_cost(settings, run)?.0)
    }

    /// [`Policy::configure`], and what the call cost.
    ///
    /// # Errors
    /// The same.
    pub fn configure_at_cost(&self, settings: &str, run: &RunInfo) -> Result<(Needs, Cost)> {
        let at = self.at(Function::Configure, None);
        self.check_settings(settings, &at)?;
        let (needs, cost) = self.ask_needs(settings, run)?;
        validate_needs(&needs, run).map_err(|invalid| Error::invalid(&at, invalid))?;
        Ok((needs, cost))
    }

    /// Like [`Policy::configure_at_cost`], without the host's own checks of the settings
    /// and the needs: what the policy itself says to them.
    pub fn ask_needs(&self, settings: &str, run: &RunInfo) -> Result<(Needs, Cost)> {
        let at = self.at(Function::Configure, None);
        let question =
            Question::Configure { settings: Cow::Borrowed(settings), run: Cow::Borrowed(run) };
        let (Answer::Needs(needs), cost) = self.runner.ask(&at, &question)? else {
            return Err(beside(&at));
        };
        let refused = |message: String| Error::Settings {
            at: Box::new(at.clone()),
            message: self.message(&message),
        };
        Ok((needs.map_err(refused)?, cost))
    }

    /// Asks the policy once more who it is.
    pub fn describe_at_cost(&self) -> Result<(Descriptor, Cost)> {
        let at = self.at(Function::Describe, None);
        describe(&self.runner, &self.engine, &at)
    }

    /// Lets the policy fit its parameters on labelled examples.
    ///
    /// # Errors
    /// As for [`Policy::configure`]; also the policy's own refusal, and needs beyond
    /// those that `configure` returned for the same settings and run.
    pub fn calibrate(
        &self,
        settings: &str,
        run: &RunInfo,
        examples: &Examples,
    ) -> Result<Calibration> {
        Ok(self.calibrate_at_cost(settings, run, examples)?.0)
    }

    /// [`Policy::calibrate`], and what the call cost.
    ///
    /// # Errors
    /// The same.
    pub fn calibrate_at_cost(
        &self,
        settings: &str,
        run: &RunInfo,
        examples: &Examples,
    ) -> Result<(Calibration, Cost)> {
        let configured = self.configure(settings, run)?;
        let at = self.at(Function::Calibrate, None);
        self.within(Limit::Input, examples_bytes(examples), &at)?;
        let question = Question::Calibrate {
            settings: Cow::Borrowed(settings),
            run: Cow::Borrowed(run),
            examples: Cow::Borrowed(examples),
        };
        let (Answer::Calibration(answer), cost) = self.runner.ask(&at, &question)? else {
            return Err(beside(&at));
        };
        let refused = |message: String| Error::Refused {
            at: Box::new(at.clone()),
            message: self.message(&message),
        };
        let mut calibration = answer.map_err(refused)?;
        self.check_calibration(&mut calibration, &configured, run, &at)?;
        tracing::debug!(
            policy = self.name(),
            fuel = cost.fuel,
            memory = cost.memory_bytes,
            "policy calibrated"
        );
        Ok((calibration, cost))
    }

    /// Lets the policy assess one optimizer step. The assessment is valid: lengths,
    /// ranges, declared actuators and sizes were checked, and its text is clean.
    ///
    /// # Errors
    /// Faults: whatever goes wrong here, the update must not happen.
    pub fn assess(&self, call: Call<'_>) -> Result<Assessed> {
        let at = self.at(Function::Assess, Some(call.signals.step));
        self.within(Limit::Parameters, call.parameters.len(), &at)?;
        self.within(Limit::State, call.state.len(), &at)?;
        self.within(
            Limit::Input,
            call.parameters.len() + call.state.len() + signals_bytes(call.signals),
            &at,
        )?;
        let question = Question::Assess {
            settings: Cow::Borrowed(call.settings),
            run: Cow::Borrowed(call.run),
            parameters: Cow::Borrowed(call.parameters),
            state: Cow::Borrowed(call.state),
            signals: Cow::Borrowed(call.signals),
        };
        let (Answer::Assessment(answer), cost) = self.runner.ask(&at, &question)? else {
            return Err(beside(&at));
        };
        let refused = |message: String| Error::Refused {
            at: Box::new(at.clone()),
            message: self.message(&message),
        };
        let mut assessment = answer.map_err(refused)?;
        self.within(Limit::State, assessment.state.len(), &at)?;
        self.within(Limit::Reasons, assessment.reasons.len(), &at)?;
        self.within(Limit::Metrics, assessment.metrics.len(), &at)?;
        let expected =
            Expected { samples: &call.signals.samples, needs: call.needs, layers: call.run.layers };
        validate_assessment(&assessment, expected)
            .map_err(|invalid| Error::invalid(&at, invalid))?;
        for reason in &mut assessment.reasons {
            reason.message = self.message(&reason.message);
        }
        self.check_words(&assessment, call.run.total_steps, &at)?;
        let Cost { fuel, memory_bytes, time } = cost;
        Ok(Assessed { assessment, fuel, memory_bytes, time })
    }

    /// Checks an assessment against the rules of the person who started the run.
    ///
    /// # Errors
    /// A fault: the policy answered what it may not.
    pub fn require(
        &self,
        rules: &Guardrails,
        assessment: &Assessment,
        signals: &Signals,
    ) -> Result<()> {
        let at = self.at(Function::Assess, Some(signals.step));
        let kept = rules.check(assessment, &signals.samples);
        kept.map_err(|invalid| Error::invalid(&at, invalid))
    }

    fn at(&self, function: Function, step: Option<u64>) -> CallSite {
        CallSite {
            policy: Some(self.descriptor.name.clone()),
            file: self.file.clone(),
            function,
            step,
        }
    }

    /// Refuses words that would flood the records of a run, however few they are in number.
    fn check_words(&self, assessment: &Assessment, steps: u64, at: &CallSite) -> Result<()> {
        let reasons = assessment.reasons.iter();
        let reasons = reasons.map(|one| one.code.len() + one.message.len() + OVERHEAD);
        let metrics = assessment.metrics.iter().map(|one| one.name.len() + OVERHEAD);
        let words = reasons.chain(metrics).sum::<usize>();
        self.within(Limit::Words, words, at)?;
        let whole = (words as u64).saturating_mul(steps.max(1));
        self.within(Limit::RunWords, usize::try_from(whole).unwrap_or(usize::MAX), at)
    }

    fn message(&self, text: &str) -> String {
        clean(text, self.engine.limits.text_characters as usize)
    }

    fn within(&self, limit: Limit, found: usize, at: &CallSite) -> Result<()> {
        self.engine.within(limit, found, at)
    }

    fn check_settings(&self, settings: &str, at: &CallSite) -> Result<()> {
        self.within(Limit::Settings, settings.len(), at)?;
        let problem = match serde_json::from_str::<serde_json::Value>(settings) {
            Ok(serde_json::Value::Object(_)) => return Ok(()),
            Ok(_) => "they must be a JSON object, such as {}".to_owned(),
            Err(e) => format!("they are no JSON: {e}"),
        };
        Err(Error::Settings { at: Box::new(at.clone()), message: problem })
    }

    fn check_calibration(
        &self,
        c: &mut Calibration,
        configured: &Needs,
        run: &RunInfo,
        at: &CallSite,
    ) -> Result<()> {
        self.within(Limit::Parameters, c.parameters.len(), at)?;
        self.within(Limit::Candidates, c.candidates.len(), at)?;
        let invalid = |invalid| Error::invalid(at, invalid);
        validate_needs(&c.needs, run).map_err(invalid)?;
        if let Some(beyond) = exceeds(&c.needs, configured) {
            return Err(invalid(beyond));
        }
        for (i, candidate) in c.candidates.iter_mut().enumerate() {
            self.within(Limit::Metrics, candidate.metrics.len(), at)?;
            check_metrics(&format!("candidates[{i}].metrics"), &candidate.metrics)
                .map_err(invalid)?;
            if let Some(layer) = candidate.layer.filter(|layer| *layer > run.layers) {
                let problem = format!("is {layer}, and the model has layers 0 to {}", run.layers);
                return Err(invalid(Invalid::new(format!("candidates[{i}].layer"), problem)));
            }
            candidate.name = clean(&candidate.name, 64);
        }
        c.summary = self.message(&c.summary);
        Ok(())
    }
}

impl fmt::Display for Policy {
    /// Name and file, as messages give them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.descriptor.name, self.file)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("file", &self.file)
            .field("name", &self.descriptor.name)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

fn describe(runner: &Runner, engine: &Engine, at: &CallSite) -> Result<(Descriptor, Cost)> {
    let (Answer::Descriptor(descriptor), cost) = runner.ask(at, &Question::Describe)? else {
        return Err(beside(at));
    };
    Ok((descriptor::checked(descriptor, engine, at)?, cost))
}
