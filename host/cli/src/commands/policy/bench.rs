//! What a policy costs, on synthetic signals.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use host_audit::synthetic::{Step, Subject};
use host_files::Page;
use host_sandbox::{Engine, Limits, Policy};
use host_trainer::Error;
use host_trainer::records::Ending;
use serde::Serialize;

use crate::commands::registry::RegistryFlags;
use crate::commands::subject::SubjectFlags;
use crate::home;
use crate::out::print;
use host_installed::POLICIES;

/// Measure what a policy costs per call.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Policy to measure: a file, builtin:NAME, or oci://REGISTRY/NAME:TAG.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub registry: RegistryFlags,
    #[command(flatten)]
    pub subject: SubjectFlags,
    /// Samples of a step. Can be repeated.
    #[arg(long = "batch", value_name = "N", default_values_t = [1, 8, 32], value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub batches: Vec<u32>,
    /// Calls per batch size.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub calls: u32,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Times in milliseconds.
#[derive(Debug, Serialize)]
struct Bench {
    policy: String,
    sha256: String,
    layers: u32,
    hidden: u32,
    /// From the file to a policy that can be called, compiling it.
    load_cold_ms: f64,
    /// The same, compiled before; absent where nothing is kept.
    load_warm_ms: Option<f64>,
    /// Absent if it is not calibrated here.
    calibrate_ms: Option<f64>,
    assess: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    samples: u32,
    calls: u32,
    p50_ms: f64,
    p95_ms: f64,
    max_ms: f64,
    fuel: u64,
    memory_bytes: u64,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let limits = Limits::default();
    let path = &arguments.registry.pin(&arguments.file, &limits)?;
    let cold = Engine::guarded(&limits, home::worker().map_err(Error::from)?, None);
    let cold = cold.map_err(Error::from)?.with_builtin(POLICIES);
    let cold = cold.with_registry(arguments.registry.registry());
    let (_, load_cold) = timed(|| Policy::load(&cold, path))?;
    // The first load fills the cache if it has to.
    let engine = arguments.registry.engine(&limits)?;
    timed(|| Policy::load(&engine, path))?;
    let (policy, load_warm) = timed(|| Policy::load(&engine, path))?;
    let started = Instant::now();
    let subject = arguments.subject.prepare(&policy)?;
    let calibrated = subject.configured.calibration && arguments.subject.calibration.is_none();
    let calibrate = calibrated.then(|| started.elapsed());
    let rows = arguments.batches.iter();
    let rows = rows.map(|samples| row(&subject, *samples, arguments.calls));
    let bench = Bench {
        policy: policy.path().to_owned(),
        sha256: policy.digest().to_owned(),
        layers: arguments.subject.layers,
        hidden: arguments.subject.hidden,
        load_cold_ms: milliseconds(load_cold),
        load_warm_ms: home::cache().map(|_| milliseconds(load_warm)),
        calibrate_ms: calibrate.map(milliseconds),
        assess: rows.collect::<Result<_, Error>>()?,
    };
    print(arguments.json, &bench, |_| bench.text())?;
    Ok(Ending::Finished)
}

fn row(subject: &Subject<'_>, samples: u32, calls: u32) -> Result<Row, Error> {
    let levels = (0..samples).map(|i| f64::from(i) / f64::from(samples.max(2) - 1));
    let signals = subject.signals(&Step::graded(levels, 0.5));
    // Once before, so that no call pays for what the first one touches.
    let mut most = subject.assess(&signals, &[])?.cost();
    let mut times = Vec::new();
    for _ in 0..calls {
        let cost = subject.assess(&signals, &[])?.cost();
        most.fuel = most.fuel.max(cost.fuel);
        most.memory_bytes = most.memory_bytes.max(cost.memory_bytes);
        times.push(cost.time);
    }
    times.sort_unstable();
    let at = |share: f64| {
        let place = (share * times.len() as f64).ceil() as usize;
        milliseconds(times[place.clamp(1, times.len()) - 1])
    };
    Ok(Row {
        samples,
        calls,
        p50_ms: at(0.5),
        p95_ms: at(0.95),
        max_ms: at(1.0),
        fuel: most.fuel,
        memory_bytes: most.memory_bytes,
    })
}

fn timed<T>(load: impl FnOnce() -> host_sandbox::Result<T>) -> Result<(T, Duration), Error> {
    let started = Instant::now();
    let loaded = load()?;
    Ok((loaded, started.elapsed()))
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl Bench {
    fn text(&self) -> Page {
        let mut page = Page::default();
        page.line(format!("{} at width {} with {} layers", self.policy, self.hidden, self.layers));
        let mut load = format!("load: {} ms compiled", self.load_cold_ms);
        if let Some(warm) = self.load_warm_ms {
            load += &format!(", {warm} ms from the cache");
        }
        page.line(load);
        if let Some(calibrate) = self.calibrate_ms {
            page.line(format!("calibrate: {calibrate} ms on 96 synthetic examples"));
        }
        page.line("");
        page.line(format!(
            "{:>8} {:>10} {:>10} {:>10} {:>12} {:>12}",
            "samples", "p50 ms", "p95 ms", "max ms", "fuel", "memory KiB"
        ));
        for row in &self.assess {
            page.line(format!(
                "{:>8} {:>10.3} {:>10.3} {:>10.3} {:>12} {:>12}",
                row.samples,
                row.p50_ms,
                row.p95_ms,
                row.max_ms,
                row.fuel,
                row.memory_bytes / 1024
            ));
        }
        page
    }
}
