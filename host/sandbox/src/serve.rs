//! The worker's side of every job of this crate.

use std::ffi::OsString;
use std::io;

use host_files::apart;
use serde_bytes::ByteBuf;

use crate::{
    compile, isolated, wire,
    worker::{Job, Order},
};

/// Does the job that the first of the arguments names, in a process that can do nothing else.
///
/// # Errors
/// Another job, and as for [`apart::serve`].
pub fn serve(arguments: &[OsString]) -> io::Result<()> {
    let (name, rest) = arguments.split_first().ok_or_else(|| io::Error::other("no job"))?;
    if name == isolated::JOB {
        return isolated::serve(rest);
    }
    let job = Job::ALL.into_iter().find(|job| name == job.name());
    let job = job.ok_or_else(|| io::Error::other("no such job"))?;
    apart::serve(rest, |question| {
        let order = wire::from_bytes::<Order>(question).map_err(|e| format!("no order: {e}"));
        let result = order.and_then(|order| match job {
            Job::Compile => compile::precompile(&order.bytes, &order.limits),
            Job::Decode => decode(&order.bytes),
            Job::Encode => encode(&order.bytes),
        });
        wire::to_bytes(&result.map(ByteBuf::from)).unwrap_or_default()
    })
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
