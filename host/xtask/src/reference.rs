//! What the reference costs a training step: `cargo xtask reference`.
//!
//! Trains the same rows in the same order plainly and under a policy, several times in
//! turn, and compares step by step. Of the repetitions of a step the fastest counts: what
//! else the machine does can only slow one down.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::{binary, training};

#[derive(Args)]
pub struct Reference {
    /// The policy that holds samples to the reference.
    #[arg(long, value_name = "FILE", default_value = "plugins/probe.wasm")]
    policy: OsString,
    /// Model to train; the embedded demo model if none is named.
    #[arg(long)]
    model: Option<OsString>,
    /// Samples of one step.
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Words of each prompt, and of each answer.
    #[arg(long, default_value_t = 30)]
    words: usize,
    /// Steps of an epoch.
    #[arg(long, default_value_t = 2)]
    steps: usize,
    #[arg(long, default_value_t = 3)]
    epochs: usize,
    /// Repetitions of each training.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Further arguments of `host train`.
    #[arg(last = true)]
    more: Vec<OsString>,
}

impl Reference {
    /// # Errors
    /// If a training fails.
    pub fn run(&self, plugins: &Path) -> Result<()> {
        let root = plugins.parent().context("plugins/ has no parent")?;
        let folder = tempfile::tempdir().context("no temporary folder can be made")?;
        let bench = Bench { options: self, root, folder: folder.path() };
        std::fs::write(bench.folder.join("rows.jsonl"), self.rows())?;
        bench.measure()
    }

    /// Rows without a word in common order, so that no two are alike.
    fn rows(&self) -> String {
        let words = ["river", "stone", "green", "walks", "over", "light", "seven", "house"];
        let text = |seed: usize| {
            let word = |index: usize| words[(seed * 31 + index * index * 7 + index) % words.len()];
            (0..self.words).map(word).collect::<Vec<_>>().join(" ")
        };
        let mut rows = String::new();
        for row in 0..self.batch * self.steps {
            let (prompt, answer) = (text(2 * row), text(2 * row + 1));
            let _ = writeln!(rows, "{{\"prompt\": \"{row} {prompt}\", \"answer\": \"{answer}\"}}");
        }
        rows
    }
}

struct Bench<'a> {
    options: &'a Reference,
    root: &'a Path,
    folder: &'a Path,
}

/// A training, and whether it finds the reference's answers of another one on disk.
struct Kind {
    name: &'static str,
    policy: Option<OsString>,
    disk: bool,
}

/// What a step took and what it held.
#[derive(Clone, Copy)]
struct Step {
    seconds: f64,
    tokens: u64,
    answer_tokens: u64,
}

impl Bench<'_> {
    fn measure(&self) -> Result<()> {
        let zero = OsString::from(self.root.join("plugins/sft.wasm"));
        let kind =
            |name, policy: Option<&OsString>, disk| Kind { name, policy: policy.cloned(), disk };
        let policy = &self.options.policy;
        let kinds = [
            kind("plain", None, false),
            kind("zero KL weights", Some(&zero), false),
            kind("policy", Some(policy), false),
            kind("policy, second run", Some(policy), true),
        ];
        self.calibrate()?;
        // Fills the cache on disk that the second run finds.
        self.train(&kinds[3], "fill")?;
        let mut best: Vec<Vec<Step>> = Vec::new();
        for round in 0..self.options.rounds {
            for (index, kind) in kinds.iter().enumerate() {
                let steps = self.train(kind, &format!("run-{round}-{index}"))?;
                match best.get_mut(index) {
                    None => best.push(steps),
                    Some(best) => best.iter_mut().zip(steps).for_each(|(best, step)| {
                        best.seconds = best.seconds.min(step.seconds);
                    }),
                }
            }
        }
        self.print(&kinds, &best);
        Ok(())
    }

    fn print(&self, kinds: &[Kind], best: &[Vec<Step>]) {
        let plain = &best[0];
        let steps = plain.len() as u64;
        println!(
            "{} samples a step, {} tokens, of them {} answer tokens; {} rounds",
            self.options.batch,
            plain.iter().map(|step| step.tokens).sum::<u64>() / steps,
            plain.iter().map(|step| step.answer_tokens).sum::<u64>() / steps,
            self.options.rounds,
        );
        println!("| training | first epoch | of plain | from the second | of plain |");
        println!("|---|---|---|---|---|");
        let first = self.options.steps;
        // The first step waits for pages that the others find warm.
        let parts = [1.min(first - 1)..first, first..plain.len()];
        for (kind, steps) in kinds.iter().zip(best) {
            let cells = parts.clone().map(|part| {
                let seconds = |steps: &[Step]| -> f64 {
                    let part = &steps[part.clone()];
                    part.iter().map(|step| step.seconds).sum::<f64>() / part.len() as f64
                };
                let (own, plain) = (seconds(steps), seconds(plain));
                format!("{own:.3} s | {:.2}x", own / plain)
            });
            println!("| {} | {} |", kind.name, cells.join(" | "));
        }
    }

    /// The policy is fitted once; those that don't calibrate themselves leave no file.
    fn calibrate(&self) -> Result<()> {
        let mut command = Command::new(binary::host()?);
        command.args(["calibrate", "--quiet"]);
        self.of_model(&mut command);
        command.arg("--policy").arg(&self.options.policy);
        command.args(["--set", "calibration.data=[\"demo:calibrate.jsonl\"]"]);
        command.arg("--output").arg(self.calibration());
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        let needless = text.contains("does not calibrate");
        ensure!(output.status.success() || needless, "host calibrate failed: {}", text.trim());
        Ok(())
    }

    fn calibration(&self) -> PathBuf {
        self.folder.join("calibration.json")
    }

    fn of_model(&self, command: &mut Command) {
        command.current_dir(self.root);
        if let Some(model) = &self.options.model {
            command.arg("--model").arg(model);
        }
    }

    fn train(&self, kind: &Kind, name: &str) -> Result<Vec<Step>> {
        let run = self.folder.join(name);
        let options = self.options;
        let mut command = training::command()?;
        self.of_model(&mut command);
        command
            .args(["--journal", "light"])
            .args(["--batch", &options.batch.to_string()])
            .args(["--epochs", &options.epochs.to_string()])
            .arg("--data")
            .arg(self.folder.join("rows.jsonl"));
        if kind.disk {
            let cache = self.folder.join("cache").display().to_string();
            let key = format!("train.reference_cache_dir={cache:?}");
            command.args(["--set", &key]);
        } else {
            command.args(["--set", "train.reference_cache_disk_mib=0"]);
        }
        if let Some(policy) = &kind.policy {
            command.arg("--policy").arg(policy);
            if policy == &options.policy && self.calibration().is_file() {
                command.arg("--calibration").arg(self.calibration());
            }
        }
        command.args(&options.more);
        training::steps(command, &run)?.iter().map(Step::of).collect()
    }
}

impl Step {
    fn of(record: &Value) -> Result<Self> {
        let number = |key: &str| record[key].as_u64().context("a number is missing");
        Ok(Self {
            seconds: record["seconds"].as_f64().context("a number is missing")?,
            tokens: number("tokens")?,
            answer_tokens: number("answer_tokens")?,
        })
    }
}
