use clap::Args;
use host_trainer::config::{Layers, RunConfig};
use host_trainer::run_dir::RunDir;
use host_trainer::{Error, demo};

use super::{
    BaseFlags, ConfigFlags, DataFlags, EvalFlags, FlagGroup as _, PolicyFlags, TrackFlags,
    TrainFlags, key,
};

/// All that make the configuration of a training.
#[derive(Debug, Args)]
pub struct RunFlags {
    #[command(flatten)]
    pub config: ConfigFlags,
    #[command(flatten)]
    pub data: DataFlags,
    #[command(flatten)]
    pub policy: PolicyFlags,
    #[command(flatten)]
    pub eval: EvalFlags,
    #[command(flatten)]
    pub train: TrainFlags,
    #[command(flatten)]
    pub base: BaseFlags,
    #[command(flatten)]
    pub track: TrackFlags,
}

impl RunFlags {
    /// File, --set and flags over the embedded defaults, or what a run goes on with.
    pub fn resolve(&self) -> Result<RunConfig, Error> {
        let Some(run) = &self.train.resume else {
            let mut layers = self.config.layers(None)?;
            self.data.apply(&mut layers)?;
            self.policy.apply(&mut layers)?;
            self.eval.apply(&mut layers)?;
            self.train.apply(&mut layers)?;
            self.base.apply(&mut layers)?;
            self.track.apply(&mut layers)?;
            return with_defaults(layers);
        };
        let mut layers = Layers::default();
        layers.add_run(RunDir::open(run)?.path())?;
        layers.allow_endpoints(&self.config.allowed_endpoints);
        // Of these, clap has refused all that would change what the run learns.
        self.train.apply(&mut layers)?;
        self.track.apply(&mut layers)?;
        layers.resolve()
    }
}

/// Resolves a configuration over the embedded defaults: the demo model if none is named,
/// the demo data if there are no training data.
pub fn with_defaults(mut user: Layers) -> Result<RunConfig, Error> {
    let mut layers = Layers::default();
    // An empty list is the default of the key, and names none.
    user.drop_empty_list(key!(data.train));
    if !user.has(key!(data.train)) {
        layers.add_text(demo::DATA_CONFIG, "embedded data.toml")?;
    }
    if !user.has(key!(model.source)) {
        layers.add_text(demo::MODEL_CONFIG, "embedded model.toml")?;
        // An adapter that training starts with brings its own rank and alpha.
        if user.has(key!(lora.start)) {
            let lora = RunConfig::default().lora;
            layers.set(key!(lora.rank), lora.rank as i64)?;
            layers.set(key!(lora.alpha), lora.alpha)?;
        }
    }
    layers.add(user);
    layers.resolve()
}
