//! Arguments of `host audit`.

use std::path::PathBuf;

use clap::Args;
use host_policy::Limits;
use host_trainer::Error;
use host_trainer::config::Layers;

#[derive(Debug, Args)]
pub struct AuditArguments {
    /// Audit the journal of this run.
    #[arg(long, value_name = "DIR", required = true)]
    pub run: Option<PathBuf>,
    /// With --run: what would this policy have said?
    #[arg(long, value_name = "FILE", requires = "run")]
    pub policy: Option<PathBuf>,
    /// A setting of the policy that is asked, such as b_max=0.8. Can be repeated.
    #[arg(long = "setting", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Calibration of that policy, made by `host calibrate`.
    #[arg(long, value_name = "FILE", requires = "policy")]
    pub calibration: Option<PathBuf>,
    /// Public key that must have signed the journal: a file, or the key itself.
    #[arg(long, value_name = "KEY", requires = "run")]
    pub key: Option<String>,
    /// Change a limit, such as limits.fuel_per_call=1000000. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

impl AuditArguments {
    pub fn limits(&self) -> Result<Limits, Error> {
        let mut layers = Layers::default();
        for assignment in &self.assignments {
            layers.add_assignment(assignment)?;
        }
        Ok(layers.resolve()?.limits)
    }

    /// The settings object.
    pub fn settings(&self) -> Result<serde_json::Value, Error> {
        let mut layers = Layers::default();
        // Read as the configuration of a run reads them.
        layers.set_policies(&["policy.wasm".to_owned()]);
        for setting in &self.settings {
            layers.add_assignment(&format!("policy.settings.{setting}"))?;
        }
        let config = layers.resolve()?;
        let settings = config.policies.first().map(|policy| &policy.settings);
        serde_json::to_value(settings)
            .map_err(|error| Error::config("--setting", error.to_string()))
    }
}
