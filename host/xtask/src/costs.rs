//! What policies, and the signals that they ask for, cost a training step: `cargo xtask costs`.
//!
//! Arms train by turns. Of each step its fastest run counts, so what else the machine does in some of
//! them is no cost of an arm; where it does much, nothing is reported.

use std::ffi::OsString;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::training;

#[derive(Args)]
pub struct Costs {
    /// Arguments of `host train` that make an arm, such as "--policy builtin:anchored". The others are
    /// compared with the first.
    #[arg(long = "arm", value_name = "ARGUMENTS", required = true, allow_hyphen_values = true)]
    arms: Vec<String>,
    /// Runs of each arm.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    #[arg(long, default_value_t = 14)]
    steps: u64,
    /// First steps that don't count: they wait for pages and caches.
    #[arg(long, default_value_t = 3)]
    warm_up: usize,
    /// Measure on a machine that has other work.
    #[arg(long)]
    busy: bool,
    /// Arguments of `host train` for all arms.
    #[arg(last = true)]
    more: Vec<OsString>,
}

/// Load of the last minute above which a measurement is refused.
const QUIET: f64 = 0.7;

impl Costs {
    /// # Errors
    /// If the machine is busy, or a training fails.
    pub fn run(&self) -> Result<()> {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load: f64 = load.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0);
        ensure!(
            self.busy || load <= QUIET,
            "the load of the last minute is {load}: wait until it is at most {QUIET}, or give --busy"
        );
        let mut fastest: Vec<Vec<f64>> = vec![Vec::new(); self.arms.len()];
        for _ in 0..self.rounds {
            for (arm, fastest) in self.arms.iter().zip(&mut fastest) {
                let seconds = self.train(arm)?;
                ensure!(seconds.len() > self.warm_up, "{arm}: too few steps to measure");
                fastest.resize(seconds.len(), f64::INFINITY);
                fastest.iter_mut().zip(seconds).for_each(|(fast, s)| *fast = fast.min(s));
            }
        }
        println!("| arm | seconds a step | of the first arm |\n|---|---|---|");
        let mean = |steps: &Vec<f64>| {
            let steps = &steps[self.warm_up..];
            steps.iter().sum::<f64>() / steps.len() as f64
        };
        let first = fastest.first().map(mean).unwrap_or_default();
        for (arm, steps) in self.arms.iter().zip(&fastest) {
            println!("| `{arm}` | {:.3} | {:.2}x |", mean(steps), mean(steps) / first);
        }
        Ok(())
    }

    /// Seconds of every step.
    fn train(&self, arm: &str) -> Result<Vec<f64>> {
        let folder = tempfile::tempdir().context("no temporary folder can be made")?;
        let run = folder.path().join("run");
        let mut command = training::command()?;
        command
            .args(["--journal", "light", "--steps", &self.steps.to_string()])
            .args(arm.split_whitespace())
            .args(&self.more);
        let steps = training::steps(command, &run).with_context(|| arm.to_owned())?;
        let seconds = |step: &Value| step["seconds"].as_f64().context("a step has no seconds");
        steps.iter().map(seconds).collect()
    }
}
