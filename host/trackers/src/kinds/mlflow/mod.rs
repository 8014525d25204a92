//! `[trackers.mlflow]`: runs of an experiment, by the REST interface of MLflow (version 2.0).

mod config;
mod runs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

pub use config::MlflowConfig;
use host_data::failure::Result;
use runs::Runs;

use crate::clock::Clock;
use crate::event::{About, Arm, Ending, Event, Status};
use crate::tracker::{Next, Tracker, Trouble};
use crate::web::{Body, Client};

/// Most that one request of the interface takes.
const METRICS: usize = 1000;
const PARAMETERS: usize = 100;
/// Longest that values of its parameters and tags may be in any version.
const LONGEST: usize = 250;

pub struct Mlflow {
    client: Client,
    /// Below which the interface is.
    api: String,
    experiment: String,
    about: About,
    /// Identifiers on the server, kept in the folder of the run.
    runs: Runs,
    /// Of each training the last step of each metric that the server has.
    known: BTreeMap<Arm, BTreeMap<String, u64>>,
}

impl Mlflow {
    /// # Errors
    /// A configuration that can't work.
    pub fn new(config: &MlflowConfig, about: &About) -> Result<Self> {
        let url = config.url.trim_end_matches('/');
        Ok(Self {
            client: Client::new(&config.address())?,
            api: format!("{url}/api/2.0/mlflow"),
            experiment: config.experiment.clone(),
            about: about.clone(),
            runs: Runs::of(&about.folder, url),
            known: BTreeMap::new(),
        })
    }

    fn get(&self, path: &str, field: &str, value: &str, clock: &Clock) -> Result<Value, Trouble> {
        let url = format!("{}/{path}?{field}={}", self.api, encoded(value));
        self.client.ask(&url, Body::Nothing, clock)
    }

    fn post(&self, path: &str, body: &Value, clock: &Clock) -> Result<Value, Trouble> {
        self.client.ask(&format!("{}/{path}", self.api), Body::Json(body), clock)
    }

    /// The identifier of the experiment, which is made if need be.
    fn experiment(&self, clock: &Clock) -> Result<String, Trouble> {
        let name = &self.experiment;
        let found = match self.get("experiments/get-by-name", "experiment_name", name, clock) {
            Ok(found) => found.pointer("/experiment/experiment_id").cloned(),
            // Not there: 404 in the words of the server.
            Err(trouble) if trouble.next != Next::Stop => return Err(trouble),
            Err(_) => {
                let made = self.post("experiments/create", &json!({"name": name}), clock)?;
                made.get("experiment_id").cloned()
            }
        };
        let found = found.as_ref().and_then(Value::as_str).filter(|id| runs::is_id(id));
        Ok(found.ok_or_else(|| self.client.strange("the identifier of an experiment"))?.to_owned())
    }

    /// The identifier of a training's run, which is found again or made.
    fn run(&mut self, arm: Arm, clock: &Clock) -> Result<String, Trouble> {
        if let Some(run) = self.runs.get(arm).map(str::to_owned) {
            if self.known.contains_key(&arm) {
                return Ok(run);
            }
            match self.get("runs/get", "run_id", &run, clock) {
                Ok(found) => {
                    let again = json!({"run_id": run, "status": "RUNNING"});
                    self.post("runs/update", &again, clock)?;
                    self.known.insert(arm, last_steps(&found));
                    return Ok(run);
                }
                Err(trouble) if trouble.next != Next::Stop => return Err(trouble),
                // Somebody has removed it there.
                Err(_) => {}
            }
        }
        let experiment = self.experiment(clock)?;
        let name = match self.about.arms.len() {
            1 => self.about.name.clone(),
            _ => format!("{} {}", self.about.name, arm.name()),
        };
        let tag = |(key, value): (&str, &str)| json!({"key": key, "value": cut(value)});
        let own = [
            ("mlflow.runName", name.as_str()),
            ("mlflow.source.name", "host"),
            ("mlflow.source.type", "LOCAL"),
            ("host.run", &self.about.name),
            ("host.arm", arm.name()),
        ];
        let more = self.about.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let tags: Vec<Value> = own.into_iter().chain(more).take(PARAMETERS).map(tag).collect();
        let body = json!({
            "experiment_id": experiment,
            "run_name": name,
            "start_time": milliseconds(SystemTime::now()),
            "tags": tags,
        });
        let made = self.post("runs/create", &body, clock)?;
        let run = made.pointer("/run/info/run_id").and_then(Value::as_str);
        let run = run.filter(|id| runs::is_id(id)).map(str::to_owned);
        let run = run.ok_or_else(|| self.client.strange("the identifier of a run"))?;
        let parameter =
            |(key, value): &(String, String)| json!({"key": key_of(key), "value": cut(value)});
        let parameters: Vec<Value> = self.about.parameters.iter().map(parameter).collect();
        for part in parameters.chunks(PARAMETERS) {
            self.post("runs/log-batch", &json!({"run_id": run, "params": part}), clock)?;
        }
        if !clock.is_over() {
            self.runs.keep(arm, &run);
        }
        self.known.insert(arm, BTreeMap::new());
        Ok(run)
    }
}

impl Tracker for Mlflow {
    fn gathers(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn take(&mut self, events: &[Arc<Event>], clock: &Clock) -> Result<(), Trouble> {
        let mut metrics: BTreeMap<Arm, Vec<Value>> = BTreeMap::new();
        for event in events {
            let Event::Scalars { arm, step, at, values } = event.as_ref() else { continue };
            self.run(*arm, clock)?;
            let known = self.known.get(arm);
            for (name, value) in values {
                let key = key_of(name);
                // The server has it from before the run went on; it would be there twice.
                if known.and_then(|known| known.get(&key)).is_some_and(|last| step <= last) {
                    continue;
                }
                metrics.entry(*arm).or_default().push(json!({
                    "key": key,
                    "value": value,
                    "timestamp": milliseconds(*at),
                    "step": step,
                }));
            }
        }
        for (arm, metrics) in metrics {
            let run = self.run(arm, clock)?;
            for part in metrics.chunks(METRICS) {
                self.post("runs/log-batch", &json!({"run_id": run, "metrics": part}), clock)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, ending: &Ending, clock: &Clock) -> Result<(), Trouble> {
        let status = match ending.status {
            Status::Finished | Status::Stopped => "FINISHED",
            Status::Interrupted => "KILLED",
            Status::Failed => "FAILED",
        };
        let arms: Vec<Arm> = self.known.keys().copied().collect();
        for arm in arms {
            let run = self.run(arm, clock)?;
            let tag = json!({"run_id": run, "key": "host.status", "value": ending.status.name()});
            self.post("runs/set-tag", &tag, clock)?;
            let end = milliseconds(ending.at);
            let body = json!({"run_id": run, "status": status, "end_time": end});
            self.post("runs/update", &body, clock)?;
        }
        Ok(())
    }
}

/// The last step of each metric of a run, as the server tells of it.
fn last_steps(run: &Value) -> BTreeMap<String, u64> {
    let metrics = run.pointer("/run/data/metrics").and_then(Value::as_array);
    let metrics = metrics.into_iter().flatten().filter_map(|metric| {
        let step = metric.get("step");
        // As JSON has it, and as protobuf writes numbers of 64 bits.
        let number = step.and_then(|step| step.as_u64().or_else(|| step.as_str()?.parse().ok()));
        Some((metric.get("key")?.as_str()?.to_owned(), number.unwrap_or(0)))
    });
    metrics.collect()
}

/// A name of letters that every version takes.
fn key_of(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-. /".contains(c) { c } else { '_' };
    name.chars().map(plain).take(LONGEST).collect()
}

fn cut(value: &str) -> String {
    value.chars().take(LONGEST).collect()
}

fn milliseconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

/// A value within the query of a URL.
fn encoded(value: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).into(),
        byte => format!("%{byte:02X}"),
    };
    value.bytes().map(byte).collect()
}
