//! All trackers of a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use host_data::Failure;

use crate::clock::Clock;
use crate::config::TrackersConfig;
use crate::event::{About, Ending, Event};
use crate::kinds::{Mlflow, Otlp, TensorBoard, Webhook};
use crate::tracker::{Tracker, Trouble};
use crate::worker::Worker;

/// Those of a configuration, each on its own thread.
pub struct Trackers {
    workers: Vec<Worker>,
    flush: Duration,
}

impl Trackers {
    /// Starts what the configuration names. What a tracker can't do, such as writing its first
    /// file, is told as [`news`](Self::news).
    pub fn start(config: &TrackersConfig, about: &About) -> Self {
        let trackers = named(config, about).into_iter();
        let workers = trackers.map(|(name, tracker)| Worker::start(name, tracker));
        Self { workers: workers.collect(), flush: Duration::from_secs_f64(config.flush_seconds) }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Tells all of them, without waiting for any.
    pub fn tell(&self, event: Event) {
        let event = Arc::new(event);
        self.workers.iter().for_each(|worker| worker.push(&event));
    }

    /// What went wrong with them since this was asked last; a person is told once.
    pub fn news(&self) -> Vec<String> {
        self.workers.iter().filter_map(Worker::news).collect()
    }

    /// Tells how the run ended, and waits as long as the configuration allows until they are
    /// done. Says what was left out.
    pub fn end(&self, ending: &Ending) -> Vec<String> {
        let deadline = Instant::now() + self.flush;
        self.workers.iter().for_each(|worker| worker.close(ending.clone(), deadline));
        self.workers.iter().filter_map(Worker::wait).collect()
    }
}

/// Those of a configuration, by name.
fn named(config: &TrackersConfig, about: &About) -> Vec<(&'static str, Box<dyn Tracker>)> {
    let mut trackers: Vec<(&'static str, Box<dyn Tracker>)> = Vec::new();
    if let Some(config) = &config.tensorboard {
        trackers.push(("tensorboard", Box::new(TensorBoard::new(config, about))));
    }
    if let Some(config) = &config.mlflow {
        trackers.push(("mlflow", made(Mlflow::new(config, about))));
    }
    if let Some(config) = &config.otlp {
        trackers.push(("otlp", made(Otlp::new(config, about))));
    }
    if let Some(config) = &config.webhook {
        match Webhook::new(config, about) {
            Ok(None) => {}
            Ok(Some(webhook)) => trackers.push(("webhook", Box::new(webhook))),
            Err(error) => trackers.push(("webhook", Box::new(Idle(error.to_string())))),
        }
    }
    trackers
}

fn made<T: Tracker + 'static>(tracker: Result<T, Failure>) -> Box<dyn Tracker> {
    match tracker {
        Ok(tracker) => Box::new(tracker),
        Err(error) => Box::new(Idle(error.to_string())),
    }
}

/// Stands for one that can't work any more, since the configuration was checked.
struct Idle(String);

impl Tracker for Idle {
    fn take(&mut self, _: &[Arc<Event>], _: &Clock) -> Result<(), Trouble> {
        Err(Trouble::lasting(&self.0))
    }

    fn end(&mut self, _: &Ending, _: &Clock) -> Result<(), Trouble> {
        Err(Trouble::lasting(&self.0))
    }
}
