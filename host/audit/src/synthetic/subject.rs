//! A policy made ready to assess synthetic steps.

use super::examples;
use host_contract::{Calibration, Needs, RunInfo, Signals, Step, Synthetic, drawn};
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
    /// Of the signals. The policy is told the run's, which says nothing of this one.
    pub seed: u64,
}

/// A run on a model of this depth and width, as runs are: its length, its batch, its vocabulary
/// and its own seed are drawn from `seed`.
pub fn run_info(layers: u32, hidden: u32, seed: u64) -> RunInfo {
    let unit = |name: &str| drawn(seed, name, &[]);
    let one_of = |name: &str, of: &[u32]| of[(unit(name) * of.len() as f64) as usize];
    RunInfo {
        layers,
        hidden,
        vocabulary: one_of("vocabulary", &[32_000, 49_152, 50_304, 128_256, 151_936]),
        samples_per_step: one_of("batch", &[4, 8, 16, 32, 64]),
        // 30 to 9,000 steps, evenly over the orders of magnitude.
        total_steps: (30.0 * 300_f64.powf(unit("steps"))) as u64,
        seed: (unit("seed") * 1e6) as u64,
        judges: Vec::new(),
    }
}

impl<'a> Subject<'a> {
    /// Configures the policy for a run that has every judge which it names.
    ///
    /// # Errors
    /// As for [`Policy::configure`].
    pub fn configure(policy: &'a Policy, settings: &str, run: &RunInfo, seed: u64) -> Result<Self> {
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
            seed,
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
