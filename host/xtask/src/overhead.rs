//! What a policy costs a training step: `cargo xtask overhead`.
//!
//! Trains for real and reads what every step took from metrics.jsonl: the whole step,
//! and of it the policy path from the signals over all calls to the sealed journal.
//! Both come from the same step, so a busy machine slows them alike.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::training;

#[derive(Args)]
pub struct Overhead {
    /// Policies; without one, plugins/probe.wasm.
    #[arg(long = "policy", value_name = "FILE")]
    policies: Vec<OsString>,
    /// Model to train; the embedded demo model if none is named.
    #[arg(long)]
    model: Option<OsString>,
    #[arg(long, default_value_t = 20)]
    steps: u64,
    #[arg(long, default_value_t = 8)]
    batch: u64,
    /// Further arguments of `host train`.
    #[arg(last = true)]
    more: Vec<OsString>,
}

impl Overhead {
    /// # Errors
    /// If a training fails.
    pub fn run(&self, plugins: &Path) -> Result<()> {
        measure(self, plugins.parent().context("plugins/ has no parent")?)
    }
}

fn measure(options: &Overhead, root: &Path) -> Result<()> {
    println!(
        "| journal | steps | step, median | policy path, median | share, median | share, worst |"
    );
    println!("|---|---|---|---|---|---|");
    for mode in ["full", "light"] {
        let folder = tempfile::tempdir().context("no temporary folder can be made")?;
        let run = folder.path().join("run");
        let records = train(options, root, mode, &run)?;
        let mut steps = Vec::new();
        // The first step waits for pages and caches that the others find warm.
        for record in records.iter().skip(1) {
            let number = |key: &str| record[key].as_f64().context("a number is missing");
            steps.push((number("seconds")? * 1e3, number("policy_milliseconds")?));
        }
        ensure!(!steps.is_empty(), "too few steps to measure");
        let median = |of: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = steps.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            (values[values.len() / 2], values[values.len() - 1])
        };
        let (step, _) = median(|(step, _)| *step);
        let (policy, _) = median(|(_, policy)| *policy);
        let (share, worst) = median(|(step, policy)| 100.0 * policy / step);
        println!(
            "| {mode} | {} | {step:.1} ms | {policy:.3} ms | {share:.2}% | {worst:.2}% |",
            steps.len()
        );
    }
    Ok(())
}

fn train(options: &Overhead, root: &Path, mode: &str, run: &Path) -> Result<Vec<Value>> {
    let mut command = training::command()?;
    command
        .current_dir(root)
        .args(["--journal", mode])
        .args(["--steps", &options.steps.to_string()])
        .args(["--batch", &options.batch.to_string()]);
    let default = [OsString::from("plugins/probe.wasm")];
    let policies = match options.policies.as_slice() {
        [] => &default[..],
        named => named,
    };
    for policy in policies {
        command.arg("--policy").arg(policy);
    }
    if let Some(model) = &options.model {
        command.arg("--model").arg(model);
    }
    command.args(&options.more);
    training::steps(command, run)
}
