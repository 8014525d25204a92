//! What trackers are told of a run: steps, evaluations and stages, and what it is made of.

mod figures;
mod parameters;
mod watched;

use host_eval::report::Report;
use host_trackers::{About, Arm, Ending, Event, Status, Trackers};

use crate::config::RunConfig;
use crate::records::run_dir::RunDir;
use crate::session::manifest::Manifest;

pub use watched::Watched;

/// The trackers of a run, on the root.
pub struct Tracking {
    trackers: Trackers,
}

impl Tracking {
    /// Starts those of the configuration.
    pub fn start(
        config: &RunConfig,
        manifest: &Manifest,
        folder: &RunDir,
        resumed: bool,
        arms: Vec<Arm>,
    ) -> Self {
        let absolute = std::path::absolute(folder.path());
        let name = absolute.as_deref().unwrap_or(folder.path()).file_name();
        let name = name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let about = About {
            name: config.trackers.name.clone().unwrap_or(name),
            folder: folder.path().into(),
            resumed,
            arms,
            started: manifest.moment(),
            parameters: parameters::of(config),
            tags: manifest.tags(),
        };
        Self { trackers: Trackers::start(&config.trackers, &about) }
    }

    fn tell(&self, event: impl FnOnce() -> Event) {
        if !self.trackers.is_empty() {
            self.trackers.tell(event());
        }
    }

    /// Tells how the run ended, and says what was left out.
    pub fn end(&self, status: &str, report: &Report) -> Vec<String> {
        if self.trackers.is_empty() {
            return Vec::new();
        }
        let status = match status {
            "finished" | "early-stop" => Status::Finished,
            "interrupted" => Status::Interrupted,
            "stopped" => Status::Stopped,
            _ => Status::Failed,
        };
        let at = std::time::SystemTime::now();
        let mut left_out = self.trackers.news();
        left_out.extend(self.trackers.end(&Ending { status, at, figures: figures::of(report) }));
        left_out.extend(self.trackers.news());
        left_out
    }
}

/// The trainings of a run, in order.
pub fn arms(has_policies: bool, with_baseline: bool) -> Vec<Arm> {
    let baseline = with_baseline.then_some(Arm::Plain);
    baseline.into_iter().chain([arm(has_policies)]).collect()
}

/// Which training it is: one that no policy steers is plain.
pub fn arm(has_policies: bool) -> Arm {
    if has_policies { Arm::Policy } else { Arm::Plain }
}
