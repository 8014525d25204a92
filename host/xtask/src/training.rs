//! Runs of `host train` under measurement, which evaluate nothing.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::binary;

/// To which arguments are added.
pub fn command() -> Result<Command> {
    let mut command = Command::new(binary::host()?);
    command
        .args(["train", "--quiet", "--no-baseline"])
        .args(["--set", "eval.harmful=[]", "--set", "eval.harmless=[]"])
        .args(["--set", "eval.task=[]"]);
    Ok(command)
}

/// Trains into `run`: a line of metrics.jsonl per step.
pub fn steps(mut command: Command, run: &Path) -> Result<Vec<Value>> {
    let output = command.arg("--output").arg(run).output()?;
    ensure!(
        output.status.success(),
        "host train failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl"))?;
    Ok(metrics.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}
