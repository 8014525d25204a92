//! Thousands of damaged policies, and where each one ends.

mod report;

use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use host_audit::cases::{Case, CaseError, Function, paths};
use host_sandbox::{Engine, Error, Limits, Policy, Worker};
use hostile::mutation::{Mutation, mutate};

use report::{End, Report, Stage};

use crate::{WORKER, guest, plugins_folder};

/// More than the limits of loading and asking together.
const HANG: Duration = Duration::from_secs(30);

/// Options of `cargo xtask mutate`.
#[derive(clap::Args)]
pub struct Mutate {
    /// Policies (.wasm); all of plugins/ if none is named.
    files: Vec<PathBuf>,
    /// Mutations of each policy.
    #[arg(long, default_value_t = 5000)]
    count: u64,
    #[arg(long, default_value_t = 17)]
    seed: u64,
    /// Only write mutation N of one file to standard output.
    #[arg(long, value_name = "N")]
    emit: Option<u64>,
}

/// A policy and its recorded calls.
struct Subject {
    path: PathBuf,
    bytes: Vec<u8>,
    cases: Vec<Case>,
}

impl Mutate {
    /// # Errors
    /// A file that can't be read, and a mutation that made this process panic, or that
    /// took longer than its limits allow.
    pub fn run(&self) -> Result<()> {
        let subjects = self.subjects()?;
        if let Some(number) = self.emit {
            ensure!(subjects.len() == 1, "name one file whose mutation to write");
            let (_, bytes) = self.mutated(&subjects, 0, number);
            return Ok(std::io::stdout().write_all(&bytes)?);
        }
        let own = std::env::current_exe().context("the path of this program is not known")?;
        let engine = Engine::guarded(&limits(), Worker::new(own, &[WORKER]), None)?;
        // What panics says so in the report; the hook's lines would be in between.
        std::panic::set_hook(Box::new(|_| {}));
        let mut bad = 0;
        for index in 0..subjects.len() {
            let report = self.one(&engine, &subjects, index);
            println!("{report}");
            bad += report.panics + report.hangs;
        }
        ensure!(bad == 0, "{bad} mutations made the host panic or hang");
        Ok(())
    }

    fn subjects(&self) -> Result<Vec<Subject>> {
        let folder = plugins_folder()?;
        let mut files = self.files.clone();
        if files.is_empty() {
            let names = guest::policies(&folder)?;
            files.extend(names.iter().map(|name| folder.join(format!("{name}.wasm"))));
            files.retain(|file| file.is_file());
        }
        files.iter().map(|file| Subject::read(file)).collect()
    }

    fn mutated(&self, subjects: &[Subject], index: usize, number: u64) -> (Mutation, Vec<u8>) {
        let others = subjects.iter().map(|subject| subject.bytes.as_slice());
        let others: Vec<&[u8]> = others.collect();
        mutate(&subjects[index].bytes, &others, self.seed, number)
    }

    /// All mutations of one policy, on all processors.
    fn one(&self, engine: &Engine, subjects: &[Subject], index: usize) -> Report {
        let subject = &subjects[index];
        let started = Instant::now();
        let genuine = subject.answers(engine, &subject.bytes);
        let next = AtomicU64::new(0);
        let report = Mutex::new(Report::new(&subject.path, self.seed));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.count {
                            break;
                        }
                        let (kind, bytes) = self.mutated(subjects, index, number);
                        let started = Instant::now();
                        let end = catch_unwind(AssertUnwindSafe(|| {
                            match (subject.answers(engine, &bytes), &genuine) {
                                (Ok(same), Ok(genuine)) if same == *genuine => End::Same,
                                (Ok(_), _) => End::Other,
                                (Err(end), _) => end,
                            }
                        }));
                        let end = end.unwrap_or_else(|panic| End::Panic(words(&*panic)));
                        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                        report.add(number, kind, end, started.elapsed());
                    }
                });
            }
        });
        let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.total = started.elapsed();
        report
    }
}

impl Subject {
    fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        let mut cases = Vec::new();
        // One of each function is enough: what differs is the component.
        for path in paths(&path.with_extension(""))? {
            let case = Case::read(&path)?;
            let known = cases.iter().any(|one: &Case| one.function == case.function);
            let calls = case.function != Function::Calibrate;
            if calls && !known && case.expected.get("error").is_none() {
                cases.push(case);
            }
        }
        ensure!(!cases.is_empty(), "{} has no recorded cases beside it", path.display());
        Ok(Self { path: path.to_owned(), bytes, cases })
    }

    /// Loads and asks; the answers, or where it ended.
    fn answers(&self, engine: &Engine, bytes: &[u8]) -> Result<Vec<String>, End> {
        let policy = Policy::from_bytes(engine, "mutant.wasm", bytes).map_err(ended)?;
        let mut answers = vec![format!("{:?}", policy.descriptor())];
        for case in &self.cases {
            match case.answer(&policy) {
                Ok(answer) => answers.push(answer.to_string()),
                Err(CaseError::Policy(error)) => return Err(ended(error)),
                Err(other) => return Err(End::At(Stage::Other, other.to_string())),
            }
        }
        Ok(answers)
    }
}

/// Tight enough that a mutation can't take half a minute.
fn limits() -> Limits {
    Limits {
        fuel_per_call: 1_000_000_000,
        call_milliseconds: 2_000,
        compile_cpu_seconds: 10,
        compile_milliseconds: 20_000,
        ..Limits::default()
    }
}

fn ended(error: Error) -> End {
    let message = error.to_string();
    match Stage::of(&error) {
        Stage::Compile if message.contains("the process that tried ended") => {
            End::Contained(message)
        }
        stage => End::At(stage, message),
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".into())
}
