//! Processor, memory, GPU, processes and the sandbox.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

use host_kernels::simd::{self, Level};
use host_kernels::{Multiplied, multiplied};
use host_sandbox::{Engine, Limits, Policy};
use host_trainer::dry_run::available;
use host_trainer::ranks;

use super::Check;
use crate::home;
use host_installed::POLICIES;

/// Memory that the smallest model people fine-tune takes with its training.
const LITTLE: u64 = 4 << 30;

pub(super) fn checks() -> Vec<Check> {
    vec![program(), processor(), memory(), gpu(), processes(), clock(), sandbox()]
}

fn program() -> Check {
    let features = [("cuda", cfg!(feature = "cuda")), ("mpi", cfg!(feature = "mpi"))];
    let features: Vec<&str> =
        features.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
    let (version, target) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let policies = POLICIES.len();
    Check::ok(
        "program",
        format!("host {version} for {target}; features: {features}; {policies} policies inside"),
    )
}

fn processor() -> Check {
    let name = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = name.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let name = name.map_or("a processor without a name", |(_, name)| name);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let found = |kernels: &str| format!("{name}, {threads} threads; kernels for {kernels}");
    let bf16 = match multiplied() {
        Multiplied::Tall | Multiplied::Halves => ", AMX for --precision bf16 and bf16x3",
        Multiplied::Pairs => ", with products of bf16",
        Multiplied::Floats => "; --precision bf16 saves memory and no time",
    };
    match simd::level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => Check::ok("processor", found("AVX-512") + bf16),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => Check::ok("processor", found("AVX2") + bf16),
        Level::Portable => Check::note(
            "processor",
            found("any processor"),
            "training is several times slower than with AVX2",
        ),
    }
}

fn memory() -> Check {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    match available() {
        None => Check::note(
            "memory",
            "not said by this system",
            "host train --dry-run says what a training takes",
        ),
        Some(bytes) if bytes < LITTLE => Check::note(
            "memory",
            format!("{:.1} GiB can be had", gib(bytes)),
            "a small model may fit: host train --dry-run says what a training takes",
        ),
        Some(bytes) => Check::ok("memory", format!("{:.1} GiB can be had", gib(bytes))),
    }
}

/// Cards by their driver, and whether this build can use them.
fn gpu() -> Check {
    let query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
    let listed = Command::new("nvidia-smi").args(query).stdin(Stdio::null()).output();
    let cards = match &listed {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        _ => String::new(),
    };
    let cards: Vec<&str> = cards.lines().filter(|line| !line.trim().is_empty()).collect();
    match (cards.is_empty(), cfg!(feature = "cuda")) {
        (true, false) => Check::ok("gpu", "none; training runs on the processor"),
        (true, true) => Check::note(
            "gpu",
            "none that nvidia-smi lists, though this build has CUDA",
            "install the driver, or train with --device cpu",
        ),
        (false, false) => Check::note(
            "gpu",
            cards.join("; "),
            "this build can't use it: build with --features cuda (docs/guide/gpu.md)",
        ),
        (false, true) => Check::ok("gpu", cards.join("; ")),
    }
}

fn processes() -> Check {
    let launcher = find("mpirun");
    match (cfg!(feature = "mpi"), &launcher, ranks::launched()) {
        (false, _, Some(launched)) if launched.size > 1 => Check::problem(
            "processes",
            format!("one of {} that mpirun started, in a build for one", launched.size),
            "build with --features mpi",
        ),
        (false, ..) => Check::ok("processes", "one: this build is without MPI"),
        (true, Some(path), _) => Check::ok("processes", format!("several by {}", path.display())),
        (true, None, _) => {
            Check::note("processes", "there is no mpirun in PATH", "install Open MPI")
        }
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A clock behind the program's own file makes certificates and timestamps fail.
fn clock() -> Check {
    let built = std::env::current_exe().and_then(|program| Path::metadata(&program)?.modified());
    let late = built.ok().and_then(|built| built.duration_since(SystemTime::now()).ok());
    match late {
        Some(behind) if behind.as_secs() > 24 * 3600 => Check::problem(
            "clock",
            format!(
                "{} days before the date of this program's file",
                behind.as_secs() / (24 * 3600)
            ),
            "set the clock: certificates and timestamps are checked against it",
        ),
        _ => Check::ok("clock", "not before the date of this program's file"),
    }
}

/// Compiles a policy as nobody's cache has it, in a worker, and says what holds that.
fn sandbox() -> Check {
    let tried = || -> Result<(u128, Option<host_files::apart::Jail>), host_sandbox::Error> {
        let engine = Engine::guarded(&Limits::default(), home::worker()?, None)?;
        let engine = engine.with_builtin(POLICIES);
        let started = Instant::now();
        Policy::load(&engine, "builtin:sft")?;
        Ok((started.elapsed().as_millis(), engine.confinement().jail))
    };
    match tried() {
        Err(error) => Check::problem(
            "sandbox",
            error.to_string(),
            "policies can't run here; a container may forbid memory that is both written and run",
        ),
        Ok((took, Some(jail))) if jail.missing.is_empty() => {
            Check::ok("sandbox", format!("policy compiled in {took} ms, held by {jail}"))
        }
        Ok((took, jail)) => {
            let jail = jail.map_or_else(|| "nothing".to_owned(), |jail| jail.to_string());
            Check::note(
                "sandbox",
                format!(
                    "policy compiled in {took} ms; the process that compiles is held by {jail}"
                ),
                "policies stay inside WebAssembly; a newer kernel or fewer restrictions of the container add the rest",
            )
        }
    }
}
