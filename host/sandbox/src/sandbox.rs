//! One call: a fresh store and a fresh instance, under limits, thrown away after.

use crate::{
    engine::{Engine, TICK},
    error::{Error, Function, Place, Result},
    fault,
    limits::Limit,
};
use host_contract::{Guest, PolicyIndices};
use std::time::{Duration, Instant};
use wasmtime::{ResourceLimiter, Store, component::InstancePre};

/// What an instance has taken so far, and the limit it ran into.
pub(crate) struct Guard {
    memory_bytes: u64,
    memory_allowed: u64,
    table_elements: u64,
    table_elements_allowed: u64,
    instances: usize,
    tables: usize,
    memories: usize,
    pub(crate) hit: Option<Limit>,
}

impl Guard {
    fn new(engine: &Engine, function: Function) -> Self {
        let limits = &engine.limits;
        Self {
            memory_bytes: 0,
            memory_allowed: limits.allowance(function).memory_bytes,
            table_elements: 0,
            table_elements_allowed: limits.table_elements,
            instances: limits.instances as usize,
            tables: limits.tables as usize,
            memories: limits.memories as usize,
            hit: None,
        }
    }
}

/// Growth beyond a limit ends the call. Answering -1, as a host may, would turn the
/// cause into an `unreachable` somewhere in the guest's allocator.
impl ResourceLimiter for Guard {
    fn memory_growing(
        &mut self,
        now: usize,
        wanted: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| wanted > maximum) {
            return Ok(false);
        }
        let total = self.memory_bytes + wanted.saturating_sub(now) as u64;
        if total > self.memory_allowed {
            self.hit = Some(Limit::Memory);
            wasmtime::bail!("memory limit");
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        now: usize,
        wanted: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| wanted > maximum) {
            return Ok(false);
        }
        let total = self.table_elements + wanted.saturating_sub(now) as u64;
        if total > self.table_elements_allowed {
            self.hit = Some(Limit::TableElements);
            wasmtime::bail!("table limit");
        }
        self.table_elements = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error.context("the machine has no memory left for the policy"))
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}

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
    component: &InstancePre<Guard>,
    exports: &PolicyIndices,
    at: &Place,
    function: impl FnOnce(&mut Store<Guard>, &Guest) -> wasmtime::Result<R>,
) -> Result<(R, Cost)> {
    let started = Instant::now();
    let allowance = engine.limits.allowance(at.function);
    let mut store = Store::new(&engine.wasm, Guard::new(engine, at.function));
    store.limiter(|guard| guard);
    store.set_hostcall_fuel(allowance.output_bytes as usize);
    store.epoch_deadline_trap();
    // Both before anything runs: instantiation runs code of the policy too.
    store.set_epoch_deadline(ticks(allowance.time));
    store.set_fuel(allowance.fuel).map_err(|e| Error::Engine { problem: e.to_string() })?;

    let instance = component.instantiate(&mut store);
    let instance = instance.map_err(|e| fault::classify(e, &store, engine, at))?;
    let policy = exports.load(&mut store, &instance);
    let policy = policy.map_err(|e| fault::wrong_type(&e, at))?;
    let answer = function(&mut store, policy.risk_policy_assessor());
    let answer = answer.map_err(|e| fault::classify(e, &store, engine, at))?;

    let left = store.get_fuel().unwrap_or(0);
    let cost = Cost {
        fuel: allowance.fuel.saturating_sub(left),
        memory_bytes: store.data().memory_bytes,
        time: started.elapsed(),
    };
    Ok((answer, cost))
}

/// One tick more than the time takes, since the first may come at once.
fn ticks(time: Duration) -> u64 {
    (time.as_millis() / TICK.as_millis()) as u64 + 1
}
