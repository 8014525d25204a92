//! Coverage-guided fuzzing: builds the targets of `host/fuzz` so that they report which code they
//! reach, and has libFuzzer drive them.
//!
//! A compiler that can do this is in every toolchain: LLVM's pass is asked for by name, and the
//! runtime comes with the crate `libfuzzer-sys`. Only the crates of this workspace are built anew.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Set where this program stands between cargo and the compiler.
const WRAPS: &str = "HOST_XTASK_WRAPS_RUSTC";
/// What makes code report that it was reached, and what it compared.
const REPORTING: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// What a release build takes as it comes.
const STRICT: [&str; 2] = ["-Cdebug-assertions=on", "-Coverflow-checks=on"];
/// Seconds for one input: more than the workers have in which such files are read, since code that reports
/// is slower.
const PATIENCE: u64 = 100;
/// MiB of memory.
const MEMORY: u64 = 4096;

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub struct Fuzz {
    /// Targets; all of them, one after the other, if none is named.
    targets: Vec<String>,
    /// Seconds for each.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Have dependencies report as well: they are built anew, which takes long.
    #[arg(long)]
    dependencies: bool,
}

/// The compiler as cargo starts it for a fuzzed build, if this is one.
pub fn as_compiler() -> Option<ExitCode> {
    std::env::var_os(WRAPS)?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (rustc, arguments) = arguments.split_first()?;
    let mut command = Command::new(rustc);
    command.args(arguments);
    if reports(arguments) {
        command.args(REPORTING).args(STRICT);
    }
    let code = command.status().ok().and_then(|status| status.code()).unwrap_or(1);
    Some(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Whether what is compiled becomes a part of the program, and not of the build.
fn reports(arguments: &[OsString]) -> bool {
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.to_str()
    };
    after("--crate-name").is_some_and(|name| !name.starts_with("build_script"))
        && after("--crate-type") != Some("proc-macro")
}

impl Fuzz {
    /// # Errors
    /// A build that fails, and targets that found an input which ends the program.
    pub fn run(&self, root: &Path) -> Result<()> {
        let corpora = root.join("host/fuzz/corpus");
        let known = folders(&corpora)?;
        for name in &self.targets {
            ensure!(
                known.contains(name),
                "there is no target {name}; there are {}",
                known.join(", ")
            );
        }
        let names = if self.targets.is_empty() { &known } else { &self.targets };
        let own = std::env::current_exe().context("the path of this program is not known")?;
        let work = own.with_file_name("fuzzing");
        let program = self.build(root, &own, &work)?;
        println!("| target | inputs tried | reached | kept | outcome |\n|---|---|---|---|---|");
        let mut found = Vec::new();
        for name in names {
            let outcome = self.fuzz(&program, name, &corpora.join(name), &work.join(name))?;
            println!("{outcome}");
            if !outcome.ended_well {
                found.push(name.as_str());
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        bail!("{}: see what ended it, and its input, in {}", found.join(", "), work.display())
    }

    fn build(&self, root: &Path, own: &Path, work: &Path) -> Result<PathBuf> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(root).env("CARGO_INCREMENTAL", "0");
        cargo.args(["build", "--release", "--package", "host-fuzz", "--features", "libfuzzer"]);
        let program = if self.dependencies {
            let target = own.with_file_name("fuzzing-dependencies");
            let triple = "x86_64-unknown-linux-gnu";
            // With a target of its own, what runs during the build doesn't report.
            cargo.env("RUSTFLAGS", REPORTING.join(" ")).args(["--target", triple]);
            cargo.arg("--target-dir").arg(&target);
            target.join(triple).join("release/fuzz")
        } else {
            cargo.env("RUSTC_WORKSPACE_WRAPPER", own).env(WRAPS, "1");
            own.with_file_name("fuzz")
        };
        let status = cargo.status().context("cargo can't be started")?;
        ensure!(status.success(), "the targets can't be built");
        fs::create_dir_all(work).with_context(|| work.display().to_string())?;
        Ok(program)
    }

    fn fuzz(&self, program: &Path, name: &str, corpus: &Path, work: &Path) -> Result<Outcome> {
        let (inputs, files) = (work.join("inputs"), work.join("files"));
        for folder in [&inputs, &files] {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let log = work.join("log");
        let said = fs::File::create(&log).with_context(|| log.display().to_string())?;
        let status = Command::new(program)
            .env("HOST_FUZZ_TARGET", name)
            .env("TMPDIR", &files)
            .arg(&inputs)
            .arg(corpus)
            .arg(format!("-max_total_time={}", self.seconds))
            .arg(format!("-timeout={PATIENCE}"))
            .arg(format!("-rss_limit_mb={MEMORY}"))
            .arg(format!("-artifact_prefix={}/", work.display()))
            .args(["-print_final_stats=1", "-reload=0"])
            .stdout(Stdio::null())
            .stderr(said)
            .status()
            .with_context(|| format!("{} can't be started", program.display()))?;
        fs::remove_dir_all(&files).with_context(|| files.display().to_string())?;
        let text = fs::read(&log).with_context(|| log.display().to_string())?;
        Ok(Outcome::read(name, &String::from_utf8_lossy(&text), status.success()))
    }
}

/// What libFuzzer said of a target.
struct Outcome {
    name: String,
    tried: String,
    reached: String,
    kept: String,
    ended_well: bool,
    last: String,
}

impl Outcome {
    fn read(name: &str, log: &str, ended_well: bool) -> Self {
        let after = |text: &str, name: &str| {
            let at = text.rfind(name)? + name.len();
            text[at..].split_whitespace().next().map(str::to_owned)
        };
        let number = |name: &str| after(log, name).unwrap_or_default();
        let last = log.lines().rev().find(|line| line.contains("ERROR: libFuzzer"));
        let last = last.and_then(|line| line.split("libFuzzer: ").nth(1));
        Self {
            name: name.to_owned(),
            tried: number("stat::number_of_executed_units:"),
            reached: number(" cov: "),
            kept: number("stat::new_units_added:"),
            ended_well,
            last: last.unwrap_or("nothing found").to_owned(),
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, tried, reached, kept, last, .. } = self;
        write!(f, "| {name} | {tried} | {reached} | {kept} | {last} |")
    }
}

/// Names of the folders in a folder.
fn folders(folder: &Path) -> Result<Vec<String>> {
    let entries = folder.read_dir().with_context(|| folder.display().to_string())?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_during_a_build_does_not_report() {
        let of = |text: &str| {
            let arguments: Vec<OsString> = text.split(' ').map(OsString::from).collect();
            reports(&arguments)
        };
        assert!(of("--crate-name host_files --edition=2024 --crate-type lib"));
        assert!(of("--crate-name fuzz --crate-type bin"));
        assert!(!of("--crate-name build_script_build --crate-type bin"));
        assert!(!of("--crate-name derive --crate-type proc-macro"));
        assert!(!of("-vV"));
    }

    #[test]
    fn the_last_word_of_the_fuzzer_is_told() {
        let log = "#2 INITED cov: 11 ft: 3\n#9 NEW    cov: 12 ft: 4 corp: 2\n\
                   ==1== ERROR: libFuzzer: deadly signal\nstat::number_of_executed_units: 77\n\
                   stat::new_units_added:          5\n";
        let outcome = Outcome::read("rows", log, false);
        assert_eq!(outcome.to_string(), "| rows | 77 | 12 | 5 | deadly signal |");
        let outcome = Outcome::read("rows", "", true);
        assert_eq!(outcome.to_string(), "| rows |  |  |  | nothing found |");
    }
}
