//! One call: a fresh store and a fresh instance, under limits, thrown away after.

use crate::{
    call_site::CallSite,
    engine::{Engine, TICK},
    error::{Error, Result},
    fault,
    limits::Limit,
    quota::Quota,
};
use host_contract::{Exports, Functions};
use std::time::{Duration, Instant};
use wasmtime::{Store, component::InstancePre};

/// What a call cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Instructions, which depend on the arguments alone.
    pub fuel: u64,
    /// Linear memory at its largest.
    pub memory_bytes: u64,
    /// Wall clock, instantiation and copying included.
    pub time: Duration,
}

/// Calls one function of a component in a fresh instance.
pub(crate) fn call<R>(
    engine: &Engine,
    component: &InstancePre<Quota>,
    exports: &Exports,
    at: &CallSite,
    function: impl FnOnce(&mut Store<Quota>, &Functions) -> wasmtime::Result<R>,
) -> Result<(R, Cost)> {
    let started = Instant::now();
    let allowed = |limit| engine.limits.allowed(limit, at.function);
    let (fuel, output_bytes) = (allowed(Limit::Fuel), allowed(Limit::Output));
    let mut store = Store::new(&engine.wasm, Quota::new(&engine.limits, at.function));
    store.limiter(|quota| quota);
    store.set_hostcall_fuel(output_bytes as usize);
    store.epoch_deadline_trap();
    // Both before anything runs: instantiation runs code of the policy too.
    store.set_epoch_deadline(ticks(engine.limits.time(at.function)));
    store.set_fuel(fuel).map_err(|e| Error::Engine { problem: e.to_string() })?;

    let instance = component.instantiate(&mut store);
    let instance = instance.map_err(|e| fault::classify(e, &store, engine, at))?;
    let functions = exports.load(&mut store, &instance);
    let functions = functions.map_err(|e| fault::wrong_type(&e, exports.version(), at))?;
    let answer = function(&mut store, &functions);
    let answer = answer.map_err(|e| fault::classify(e, &store, engine, at))?;

    let left = store.get_fuel().unwrap_or(0);
    let cost = Cost {
        fuel: fuel.saturating_sub(left),
        memory_bytes: store.data().memory_bytes,
        time: started.elapsed(),
    };
    Ok((answer, cost))
}

/// One tick more than the time takes, since the first may come at once.
fn ticks(time: Duration) -> u64 {
    (time.as_millis() / TICK.as_millis()) as u64 + 1
}
