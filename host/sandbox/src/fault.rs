//! Says what went wrong in a call: a limit, a crash, or an answer that can't be read.

use crate::{
    call_site::CallSite,
    error::{Error, FileProblem},
    limits::{Limit, Limits},
    quota::Quota,
    system,
};
use host_contract::Version;
use host_files::text::clean;
use serde::{Deserialize, Serialize};
use wasmtime::{Store, Trap, WasmBacktrace};

/// What the system says when it has no memory for a policy.
const NO_MEMORY: &str = "Cannot allocate memory";
/// Names of functions shown with a crash.
const FRAMES: usize = 3;

/// Why a call did not return. From a process of its own it comes as bytes, and nothing in it is
/// taken for clean.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    Limit(Limit),
    Trap(String),
    Unreadable(String),
    /// Other functions than the interface says.
    WrongType {
        problem: String,
        remedy: String,
    },
    Engine(String),
}

impl Failure {
    /// The error that it is in a call.
    pub(crate) fn at(self, at: &CallSite, limits: &Limits) -> Error {
        let here = Box::new(at.clone());
        let words = |text: String| clean(&text, 500);
        match self {
            Self::Limit(limit) => {
                Error::Limit { allowed: limits.allowed(limit, at.function), at: here, limit }
            }
            Self::Trap(cause) => Error::Trap { at: here, cause: words(cause) },
            Self::Unreadable(cause) => Error::Unreadable { at: here, cause: words(cause) },
            Self::WrongType { problem, remedy } => {
                let problem = FileProblem::new(words(problem), words(remedy));
                Error::File { file: at.file.clone(), problem }
            }
            Self::Engine(problem) => Error::Engine { problem: words(problem) },
        }
    }
}

/// The error of a call that did not return.
pub(crate) fn classify(error: &wasmtime::Error, store: &Store<Quota>) -> Failure {
    if let Some(limit) = store.data().hit.or_else(|| limit(error)) {
        return Failure::Limit(limit);
    }
    // The system's refusal, which the policy has no part in: what it may have is counted above.
    let words = error.root_cause().to_string();
    if words.contains(NO_MEMORY) {
        let problem = format!("{}; a policy can't be called ({words})", system::no_memory());
        return Failure::Engine(problem);
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => Failure::Trap(cause(*trap) + &location(error)),
        None => Failure::Unreadable(clean(&error.root_cause().to_string(), 300)),
    }
}

/// The limit behind an error, if one is. Those that wasmtime counts itself have no
/// type of their own, only a message.
fn limit(error: &wasmtime::Error) -> Option<Limit> {
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return Some(Limit::Fuel),
        Some(Trap::Interrupt) => return Some(Limit::Time),
        Some(Trap::StackOverflow) => return Some(Limit::Stack),
        _ => {}
    }
    let message = error.root_cause().to_string();
    let limits = [
        ("fuel allocated for hostcalls", Limit::Output),
        ("instance count too high", Limit::Instances),
        ("memory count too high", Limit::Memories),
        ("table count too high", Limit::Tables),
    ];
    let known = limits.into_iter().find(|(text, _)| message.contains(text));
    known.map(|(_, limit)| limit)
}

fn cause(trap: Trap) -> String {
    match trap {
        Trap::UnreachableCodeReached => "it aborted (a panic or a failed check in its code)".into(),
        Trap::MemoryOutOfBounds => "it accessed memory outside its own".into(),
        Trap::IntegerDivisionByZero => "it divided an integer by zero".into(),
        other => other.to_string(),
    }
}

/// Where in the policy it crashed, as far as the file has names.
fn location(error: &wasmtime::Error) -> String {
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], |trace| trace.frames());
    let names = frames.iter().filter_map(|frame| frame.func_name());
    let names: Vec<String> = names.take(FRAMES).map(|name| clean(name, 80)).collect();
    if names.is_empty() { String::new() } else { format!(", in {}", names.join(" < ")) }
}

/// The failure of an export that has another signature than the interface says.
pub(crate) fn wrong_type(error: &wasmtime::Error, version: Version) -> Failure {
    let chain: Vec<String> = error.chain().map(|e| clean(&e.to_string(), 200)).collect();
    Failure::WrongType {
        problem: format!("its functions are not those of {version} ({})", chain.join(": ")),
        remedy: format!("rebuild it against this host's {}", version.wit()),
    }
}
