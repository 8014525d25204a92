//! The worker's side: limits first, bytes after.

use std::{
    io::{self, BufRead as _, Read as _, Write as _},
    process::ExitCode,
};

use super::{Job, Order};
use crate::{compile, limits::Limits};
use host_files::text::clean;
use host_files::ulimit::{self, Resource};

/// Does one job: an order and the bytes from standard input, the result to standard
/// output. On failure one line goes to standard error and the exit code is 1.
pub fn serve() -> ExitCode {
    // Its last line is what the host tells.
    std::panic::set_hook(Box::new(|panic| {
        let why = panic.payload_as_str().unwrap_or("it panicked");
        eprintln!("{}", clean(why, 300));
    }));
    match work() {
        Ok(result) => match io::stdout().lock().write_all(&result) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(problem) => {
            eprintln!("{}", clean(&problem, 300));
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<Vec<u8>, String> {
    let mut input = io::stdin().lock();
    let mut line = String::new();
    let broken = |e: io::Error| format!("standard input: {e}");
    input.read_line(&mut line).map_err(broken)?;
    let order: Order = serde_json::from_str(&line).map_err(|e| format!("no order: {e}"))?;
    restrict(&order.limits).map_err(|e| format!("the limits can't be set: {e}"))?;
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(broken)?;
    match order.job {
        Job::Compile => compile::precompile(&bytes, &order.limits),
        Job::Decode => decode(&bytes),
        Job::Encode => encode(&bytes),
    }
}

/// From here on this process can use only so much, and write no file.
fn restrict(limits: &Limits) -> io::Result<()> {
    let seconds = limits.compile_cpu_seconds;
    ulimit::restrict(Resource::CPU, seconds, seconds + 1)?;
    ulimit::restrict(Resource::AS, limits.compile_memory_bytes, limits.compile_memory_bytes)?;
    ulimit::restrict(Resource::FSIZE, 0, 0)?;
    ulimit::restrict(Resource::CORE, 0, 0)
}

fn decode(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let decoded = wit_component::decode(bytes).map_err(|e| format!("{e:#}"))?;
    let mut printer = wit_component::WitPrinter::default();
    let others: Vec<_> = decoded
        .resolve()
        .packages
        .iter()
        .map(|(id, _)| id)
        .filter(|id| *id != decoded.package())
        .collect();
    printer.print(decoded.resolve(), decoded.package(), &others).map_err(|e| format!("{e:#}"))?;
    Ok(String::from(printer.output).into_bytes())
}

fn encode(bytes: &[u8]) -> Result<Vec<u8>, String> {
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(bytes)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|e| format!("{e:#}"))
}
