//! What became of the mutations of one policy.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host_sandbox::{Error, Function};
use hostile::mutation::Mutation;

use super::HANG;

/// Where a damaged policy was refused or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Kind,
    Validation,
    Imports,
    Exports,
    Compile,
    Interface,
    Describe,
    Configure,
    Assess,
    Other,
}

pub enum End {
    /// Answers as the genuine policy does.
    Same,
    /// Answers, and otherwise.
    Other,
    At(Stage, String),
    /// The process that compiles crashed, and took nothing with it.
    Contained(String),
    Panic(String),
}

/// Problems of a file by how their message begins or what it holds.
const PROBLEMS: [(&str, Stage); 11] = [
    ("it is not WebAssembly", Stage::Kind),
    ("it is a WebAssembly core module", Stage::Kind),
    ("it is WebAssembly of a version", Stage::Kind),
    ("the file is", Stage::Validation),
    ("it is not a valid component", Stage::Validation),
    ("it imports", Stage::Imports),
    ("it exports", Stage::Exports),
    ("it speaks", Stage::Exports),
    ("it can't be compiled", Stage::Compile),
    ("it can't be linked", Stage::Interface),
    ("function", Stage::Interface),
];

impl Stage {
    pub fn of(error: &Error) -> Self {
        if let Error::File { problem, .. } = error {
            let words = &problem.problem;
            let known = PROBLEMS.iter().find(|(part, _)| words.contains(part));
            return known.map_or(Self::Other, |(_, stage)| *stage);
        }
        match error.place().map(|place| place.function) {
            Some(Function::Load) => Self::Compile,
            Some(Function::Describe) => Self::Describe,
            Some(Function::Configure) => Self::Configure,
            Some(Function::Assess) => Self::Assess,
            _ => Self::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kind => "not a component",
            Self::Validation => "invalid",
            Self::Imports => "imports",
            Self::Exports => "exports",
            Self::Compile => "compilation",
            Self::Interface => "other functions",
            Self::Describe => "fault in describe",
            Self::Configure => "fault in configure",
            Self::Assess => "fault in assess",
            Self::Other => "elsewhere",
        }
    }
}

pub struct Report {
    path: PathBuf,
    seed: u64,
    count: u64,
    same: u64,
    other: u64,
    refused: BTreeMap<Stage, (u64, String)>,
    contained: Vec<(u64, String)>,
    panicked: Vec<(u64, String)>,
    pub panics: u64,
    pub hangs: u64,
    kinds: BTreeMap<Mutation, u64>,
    slowest: (u64, Duration),
    pub total: Duration,
}

impl Report {
    pub fn new(path: &Path, seed: u64) -> Self {
        Self {
            path: path.to_owned(),
            seed,
            count: 0,
            same: 0,
            other: 0,
            refused: BTreeMap::new(),
            contained: Vec::new(),
            panicked: Vec::new(),
            panics: 0,
            hangs: 0,
            kinds: BTreeMap::new(),
            slowest: (0, Duration::ZERO),
            total: Duration::ZERO,
        }
    }

    pub fn add(&mut self, number: u64, kind: Mutation, end: End, time: Duration) {
        self.count += 1;
        *self.kinds.entry(kind).or_default() += 1;
        match end {
            End::Same => self.same += 1,
            End::Other => self.other += 1,
            End::At(stage, message) => {
                let (count, _) = self.refused.entry(stage).or_insert((0, message));
                *count += 1;
            }
            End::Contained(message) => self.contained.push((number, message)),
            End::Panic(message) => {
                self.panics += 1;
                self.panicked.push((number, message));
            }
        }
        self.hangs += u64::from(time > HANG);
        if time > self.slowest.1 {
            self.slowest = (number, time);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.path.file_name().unwrap_or_default().display();
        let kinds = self.kinds.iter().map(|(kind, count)| format!("{kind:?} {count}"));
        let kinds: Vec<String> = kinds.collect();
        writeln!(f, "{name}: {} mutations, seed {} ({})", self.count, self.seed, kinds.join(", "))?;
        for (stage, (count, example)) in &self.refused {
            writeln!(f, "  {count:6} {}, such as: {example}", stage.name())?;
        }
        writeln!(f, "  {:6} answered as before", self.same)?;
        writeln!(f, "  {:6} answered otherwise", self.other)?;
        writeln!(f, "  {:6} crashes of the worker, contained", self.contained.len())?;
        writeln!(f, "  {:6} crashes of the host", self.panics)?;
        writeln!(f, "  {:6} longer than {} s", self.hangs, HANG.as_secs())?;
        for (what, list) in [("contained", &self.contained), ("PANIC", &self.panicked)] {
            for (number, message) in list.iter().take(10) {
                writeln!(f, "  {what}: mutation {number}: {message}")?;
            }
        }
        let (number, time) = self.slowest;
        write!(
            f,
            "  slowest: mutation {number}, {:.2} s; total {:.0} s",
            time.as_secs_f64(),
            self.total.as_secs_f64()
        )
    }
}
