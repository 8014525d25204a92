//! Says in plain words what an import would have allowed.

use crate::error::FileProblem;
use host_files::text::clean;

/// Interfaces by the beginning of their name, and what they would let a policy do.
/// The first match counts.
const KNOWN: &[(&str, &str)] = &[
    ("wasi:filesystem/", "read and write files"),
    ("wasi:sockets/", "open network connections"),
    ("wasi:http/", "send requests over the network"),
    ("wasi:clocks/", "read the clock"),
    ("wasi:random/", "draw random numbers; a run's seed comes with its run-info"),
    ("wasi:cli/environment", "read environment variables and arguments"),
    ("wasi:cli/exit", "end the host's process"),
    ("wasi:cli/stdin", "read standard input"),
    ("wasi:cli/stdout", "write to the terminal"),
    ("wasi:cli/stderr", "write to the terminal"),
    ("wasi:cli/terminal", "use the terminal"),
    ("wasi:io/", "wait for files, network or terminal"),
    ("wasi:", "use a service of the system"),
    ("wasi_snapshot_preview1", "use files, clock and environment"),
    ("risk:policy/", "call another policy"),
];

/// How many imports a message names.
const NAMED: usize = 4;

const REMEDY: &str = "policies get no files, network, clock, randomness or environment; \
    rebuild it without: Rust with --target wasm32-unknown-unknown, Python with \
    componentize-py --stub-wasi, JavaScript with all features of componentize-js disabled, \
    C as a reactor without stdio";

/// What an import would allow.
fn allows(import: &str) -> &'static str {
    let known = KNOWN.iter().find(|(name, _)| import.starts_with(name));
    known.map_or("call a function that this host does not have", |(_, allows)| allows)
}

/// The problem of a component with these imports.
pub(crate) fn refuse(imports: &[String]) -> FileProblem {
    let name = |import: &String| format!("{} (to {})", clean(import, 100), allows(import));
    let mut named: Vec<String> = imports.iter().take(NAMED).map(name).collect();
    if imports.len() > NAMED {
        named.push(format!("and {} more", imports.len() - NAMED));
    }
    FileProblem::new(format!("it imports {}", named.join(", ")), REMEDY)
}
