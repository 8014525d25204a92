//! What one call of a policy costs, with 8 samples x 4 layers x 576 units unless
//! told otherwise:
//!
//!     cargo run --release -p host-sandbox --example call_cost -- plugins/probe.wasm [HIDDEN] [isolated]
//!
//! With `isolated` the policy runs in a process of its own.
//! The policy is calibrated on made-up examples first if it asks for that.

use host_contract::*;
use host_sandbox::{Call, Engine, Limits, Policy, Worker};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const SAMPLES: u32 = 8;
const LAYERS: [u32; 4] = [8, 12, 16, 20];
const CALLS: usize = 2000;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The argument with which this program is its own worker.
const WORKER: &str = "worker";

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|first| first == WORKER) {
        let arguments: Vec<_> = std::env::args_os().skip(2).collect();
        return host_files::apart::exit(host_sandbox::serve(&arguments));
    }
    match measured() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measured() -> Outcome<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let isolated = arguments.pop_if(|last| last == "isolated").is_some();
    let mut arguments = arguments.into_iter();
    let path = arguments.next().unwrap_or_else(|| "plugins/probe.wasm".into());
    let hidden = arguments.next().map_or(Ok(576), |text| text.parse())?;

    let worker = Worker::new(std::env::current_exe()?, &[WORKER]);
    let engine = Engine::guarded(&Limits::default(), worker, None)?.isolated(isolated);
    let (policy, load) = timed(|| Policy::load(&engine, &path))?;
    println!("{} {} ({path})", policy.name(), policy.descriptor().version);
    println!("load, compile, describe   {load:>9.1?}");

    let run = run(hidden);
    // Only the probe knows this setting; other policies take their defaults.
    let layers = format!(r#"{{"layers": {LAYERS:?}}}"#);
    let (settings, needs) = match policy.configure(&layers, &run) {
        Ok(needs) => (layers.as_str(), needs),
        Err(_) => ("{}", policy.configure("{}", &run)?),
    };
    let mut parameters = Vec::new();
    let mut needed = needs.clone();
    if needs.calibration {
        let examples = examples(&needs, hidden);
        let (calibration, time) = timed(|| policy.calibrate(settings, &run, &examples))?;
        println!("calibrate on {:>4} examples {time:>8.1?}", examples.examples.len());
        (parameters, needed) = (calibration.parameters, calibration.needs);
    }
    for (name, needs) in [("as calibrated", &needed), ("as configured", &needs)] {
        measure(name, &policy, settings, &run, &parameters, needs)?;
    }
    Ok(())
}

fn measure(
    name: &str,
    policy: &Policy,
    settings: &str,
    run: &RunInfo,
    parameters: &[u8],
    needs: &Needs,
) -> Outcome<()> {
    let signals = signals(needs, run.hidden);
    let call = Call { settings, run, parameters, state: &[], signals: &signals, needs };
    let mut times: Vec<Duration> = Vec::with_capacity(CALLS);
    let mut last = policy.assess(call)?;
    for _ in 0..CALLS {
        let (assessed, time) = timed(|| policy.assess(call))?;
        assert_eq!(assessed.fuel, last.fuel, "fuel depends on nothing but the arguments");
        times.push(time);
        last = assessed;
    }
    times.sort();
    let values: usize = signals.activations.iter().map(|a| a.values.len()).sum();
    println!(
        "assess {name} ({values} activations)   p50 {:.1?}   p95 {:.1?}   fuel {}   memory {} KiB",
        times[CALLS / 2],
        times[CALLS * 95 / 100],
        last.fuel,
        last.memory_bytes / 1024
    );
    Ok(())
}

fn timed<T, E: Into<Box<dyn std::error::Error>>>(
    work: impl FnOnce() -> Result<T, E>,
) -> Outcome<(T, Duration)> {
    let started = Instant::now();
    let done = work().map_err(Into::into)?;
    Ok((done, started.elapsed()))
}

fn run(hidden: u32) -> RunInfo {
    RunInfo {
        layers: 30,
        hidden,
        vocabulary: 49152,
        samples_per_step: SAMPLES,
        total_steps: 1000,
        seed: 1,
        judges: vec!["critic".into()],
    }
}

/// Activations with a direction in them that tells odd samples from even ones.
fn activations(tap: &Tap, samples: u32, hidden: u32) -> Activations {
    let layers = tap.layers.len() as u32;
    let value = |i: u32| {
        let sample = i / (layers * hidden);
        let noise = (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5;
        noise + if i.is_multiple_of(7) && sample % 2 == 1 { 0.2 } else { 0.0 }
    };
    let values = (0..samples * layers * hidden).map(value).collect();
    Activations { tap: tap.clone(), samples, layers, hidden, values }
}

fn examples(needs: &Needs, hidden: u32) -> Examples {
    let split = |i: u32| match i % 10 {
        0 | 1 => Split::Validation,
        2 | 3 => Split::Test,
        _ => Split::Training,
    };
    let examples: Vec<Example> =
        (0..400).map(|i| Example { harmful: i % 2 == 1, split: split(i / 2) }).collect();
    let taps = needs.taps.iter().map(|tap| activations(tap, 400, hidden)).collect();
    Examples { examples, activations: taps, ..Examples::default() }
}

fn signals(needs: &Needs, hidden: u32) -> Signals {
    let sample = |id| Sample { id, origin: Origin::Task, prompt_tokens: 40, answer_tokens: 60 };
    Signals {
        step: 0,
        learning_rate: 1e-4,
        samples: (0..SAMPLES.into()).map(sample).collect(),
        activations: needs.taps.iter().map(|tap| activations(tap, SAMPLES, hidden)).collect(),
        ..Signals::default()
    }
}
