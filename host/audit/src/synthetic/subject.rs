//! A policy made ready to assess synthetic steps.

use super::examples;
use host_contract::{Calibration, Needs, RunInfo, Signals, Step, Synthetic};
use host_sandbox::{Assessed, Call, Policy, Result};

/// Judges that a synthetic run adds, at most: as many as a policy may ask for.
const JUDGES: usize = 64;

/// A policy with its settings, configured for a run and, if it wants to be, calibrated.
pub struct Subject<'a> {
    pub policy: &'a Policy,
    /// A JSON object.
    pub settings: String,
    pub run: RunInfo,
    /// What `configure` asked for.
    pub configured: Needs,
    /// What `assess` gets: `configured`, or what calibration left of it.
    pub needs: Needs,
    pub parameters: Vec<u8>,
    pub seed: u64,
}

/// A run of 8 samples a step on a model of this depth and width.
pub fn run_info(layers: u32, hidden: u32, seed: u64) -> RunInfo {
    RunInfo {
        layers,
        hidden,
        vocabulary: 49_152,
        samples_per_step: 8,
        total_steps: 1000,
        seed,
        judges: Vec::new(),
    }
}

impl<'a> Subject<'a> {
    /// Configures the policy for a run that has every judge which it names.
    ///
    /// # Errors
    /// As for [`Policy::configure`].
    pub fn configure(policy: &'a Policy, settings: &str, run: &RunInfo) -> Result<Self> {
        let mut run = run.clone();
        let (asked, _) = policy.ask_needs(settings, &run)?;
        for need in asked.judges.into_iter().take(JUDGES) {
            if !run.judges.contains(&need.judge) {
                run.judges.push(need.judge);
            }
        }
        let needs = policy.configure(settings, &run)?;
        Ok(Self {
            policy,
            settings: settings.to_owned(),
            seed: run.seed,
            run,
            configured: needs.clone(),
            needs,
            parameters: Vec::new(),
        })
    }

    /// Calibrates the policy on synthetic examples, if it needs that.
    ///
    /// # Errors
    /// As for [`Policy::calibrate`].
    pub fn calibrate(&mut self) -> Result<Option<Calibration>> {
        if !self.configured.calibration {
            return Ok(None);
        }
        let examples = examples(&self.synthetic(&self.configured));
        let calibration = self.policy.calibrate(&self.settings, &self.run, &examples)?;
        self.use_parameters(calibration.parameters.clone(), calibration.needs.clone());
        Ok(Some(calibration))
    }

    /// Takes parameters that were calibrated elsewhere.
    pub fn use_parameters(&mut self, parameters: Vec<u8>, needs: Needs) {
        self.parameters = parameters;
        self.needs = needs;
    }

    pub fn synthetic<'n>(&self, needs: &'n Needs) -> Synthetic<'n> {
        Synthetic { needs, hidden: self.run.hidden, seed: self.seed }
    }

    pub fn signals(&self, step: &Step) -> Signals {
        self.synthetic(&self.needs).signals(step)
    }

    /// # Errors
    /// As for [`Policy::assess`].
    pub fn assess(&self, signals: &Signals, state: &[u8]) -> Result<Assessed> {
        self.policy.assess(self.call(signals, state))
    }

    pub fn call<'c>(&'c self, signals: &'c Signals, state: &'c [u8]) -> Call<'c> {
        Call {
            settings: &self.settings,
            run: &self.run,
            parameters: &self.parameters,
            state,
            signals,
            needs: &self.needs,
        }
    }
}
