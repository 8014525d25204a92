//! The worker's side: limits and jail first, bytes after.

use std::{
    io::{self, BufRead as _, Read as _, Write as _},
    process::ExitCode,
};

use crate::{
    compile, isolated,
    limits::Limits,
    worker::{Job, Order, Task, Work, close, enter},
};
use host_files::text::clean;
use host_files::ulimit::{self, Resource};

/// Does one job: an order and the bytes from standard input; to standard output a line with
/// the [`Jail`](crate::Jail) that holds it, and the result. On failure one line goes to standard
/// error and the exit code is 1.
pub fn serve() -> ExitCode {
    // Its last line is what the host tells.
    std::panic::set_hook(Box::new(|panic| {
        let why = panic.payload_as_str().unwrap_or("it panicked");
        eprintln!("{}", clean(why, 300));
    }));
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{}", clean(&problem, 300));
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<(), String> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut line = String::new();
    let broken = |e: io::Error| format!("standard input: {e}");
    let unheard = |e: io::Error| format!("standard output: {e}");
    input.read_line(&mut line).map_err(broken)?;
    let order: Order = serde_json::from_str(&line).map_err(|e| format!("no order: {e}"))?;
    let task = match order.work {
        Work::Translate(_) => Task::Translate,
        Work::Run { .. } => Task::Run,
    };
    restrict(&order.limits, task).map_err(|e| format!("the limits can't be set: {e}"))?;
    let jail = enter(task);
    let mut line = serde_json::to_vec(&jail).map_err(|e| e.to_string())?;
    line.push(b'\n');
    output.write_all(&line).and_then(|()| output.flush()).map_err(unheard)?;
    let job = match order.work {
        Work::Translate(job) => job,
        Work::Run { export, mark } => {
            let loaded = || close(&jail);
            return isolated::serve(&order.limits, &export, mark, input, output, loaded);
        }
    };
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(broken)?;
    let result = match job {
        Job::Compile => compile::precompile(&bytes, &order.limits),
        Job::Decode => decode(&bytes),
        Job::Encode => encode(&bytes),
    };
    output.write_all(&result?).and_then(|()| output.flush()).map_err(unheard)
}

/// From here on this process can use only so much, and write no file.
fn restrict(limits: &Limits, task: Task) -> io::Result<()> {
    match task {
        Task::Translate => {
            let seconds = limits.compile_cpu_seconds;
            ulimit::restrict(Resource::CPU, seconds, seconds + 1)?;
            let most = limits.compile_memory_bytes;
            ulimit::restrict(Resource::AS, most, most)?;
            ulimit::restrict(Resource::FSIZE, 0, 0)?;
        }
        Task::Run => {
            // The engine reserves address space by the gigabyte and uses what a policy asks for,
            // so what counts here is memory that can be written.
            let most = isolated::memory(limits);
            ulimit::restrict(Resource::DATA, most, most)?;
        }
    }
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
