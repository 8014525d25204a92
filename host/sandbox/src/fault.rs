//! Turns what wasmtime reports into the cause, in words.

use crate::{
    call_site::CallSite,
    engine::Engine,
    error::{Error, FileProblem},
    limits::Limit,
    quota::Quota,
    system,
};
use host_contract::Version;
use host_files::text::clean;
use wasmtime::{Store, Trap, WasmBacktrace};

/// What the system says when it has no memory for a policy.
const NO_MEMORY: &str = "Cannot allocate memory";
/// Names of functions shown with a crash.
const FRAMES: usize = 3;

/// The error of a call that did not return.
pub(crate) fn classify(
    error: wasmtime::Error,
    store: &Store<Quota>,
    engine: &Engine,
    at: &CallSite,
) -> Error {
    if let Some(limit) = store.data().hit.or_else(|| limit(&error)) {
        let allowed = engine.limits.allowed(limit, at.function);
        return Error::Limit { at: Box::new(at.clone()), limit, allowed };
    }
    // The system's refusal, which the policy has no part in: what it may have is counted above.
    let words = error.root_cause().to_string();
    if words.contains(NO_MEMORY) {
        let problem = format!("{}; a policy can't be called ({words})", system::no_memory());
        return Error::Engine { problem };
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => {
            Error::Trap { at: Box::new(at.clone()), cause: cause(*trap) + &location(&error) }
        }
        None => Error::Unreadable {
            at: Box::new(at.clone()),
            cause: clean(&error.root_cause().to_string(), 300),
        },
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

/// The error of an export that has another signature than the interface says.
pub(crate) fn wrong_type(error: &wasmtime::Error, version: Version, at: &CallSite) -> Error {
    let chain: Vec<String> = error.chain().map(|e| clean(&e.to_string(), 200)).collect();
    let problem = format!("its functions are not those of {version} ({})", chain.join(": "));
    let remedy = format!("rebuild it against this host's {}", version.wit());
    Error::File { file: at.file.clone(), problem: FileProblem::new(problem, remedy) }
}
