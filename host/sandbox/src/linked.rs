//! A compiled policy, ready to be called in this process: each call in a fresh store and a
//! fresh instance, under limits, thrown away after.

use crate::{
    engine::{Engine, TICK},
    fault::{Failure, classify, wrong_type},
    limits::Limit,
    question::{Answer, Question},
    quota::Quota,
};
use host_contract::{Exports, Version};
use host_files::text::clean;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use wasmtime::{
    Store,
    component::{Component, InstancePre, Linker},
};

/// What a call cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Instructions, which depend on the arguments alone.
    pub fuel: u64,
    /// Linear memory at its largest.
    pub memory_bytes: u64,
    /// Wall clock, instantiation and copying included.
    pub time: Duration,
}

/// What came of a call.
#[derive(Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) answer: Result<(Answer, Cost), Failure>,
    /// Parts that were reached, in a component that reports them.
    pub(crate) reached: BTreeSet<u32>,
}

/// A component whose functions were found.
pub(crate) struct Linked {
    engine: Engine,
    component: InstancePre<Quota>,
    exports: Exports,
}

impl Linked {
    /// Finds the functions that a component exports under `export`.
    ///
    /// # Errors
    /// In words, what it lacks.
    pub(crate) fn new(
        engine: &Engine,
        component: &Component,
        export: &str,
        version: Version,
    ) -> Result<Self, String> {
        let problem =
            |what: &str, e: &wasmtime::Error| format!("{what}: {}", clean(&format!("{e:#}"), 300));
        let linker: Linker<Quota> = Linker::new(&engine.wasm);
        let component =
            linker.instantiate_pre(component).map_err(|e| problem("it can't be linked", &e))?;
        let exports = Exports::find(&component, export, version)
            .map_err(|e| problem("it lacks a function of the interface", &e))?;
        Ok(Self { engine: engine.clone(), component, exports })
    }

    /// Calls one function in a fresh instance.
    pub(crate) fn ask(&self, question: &Question<'_>) -> Reply {
        let (engine, function) = (&self.engine, question.function());
        let quota = Quota::new(&engine.limits, function, engine.mark());
        let mut store = Store::new(&engine.wasm, quota);
        let answer = self.call(&mut store, question);
        Reply { answer, reached: store.into_data().reached }
    }

    fn call(
        &self,
        store: &mut Store<Quota>,
        question: &Question<'_>,
    ) -> Result<(Answer, Cost), Failure> {
        let started = Instant::now();
        let (engine, function) = (&self.engine, question.function());
        let allowed = |limit| engine.limits.allowed(limit, function);
        let (fuel, output_bytes) = (allowed(Limit::Fuel), allowed(Limit::Output));
        store.limiter(|quota| quota);
        store.set_hostcall_fuel(output_bytes as usize);
        store.epoch_deadline_trap();
        // Both before anything runs: instantiation runs code of the policy too.
        store.set_epoch_deadline(ticks(engine.limits.time(function)));
        store.set_fuel(fuel).map_err(|e| Failure::Engine(e.to_string()))?;

        let instance = self.component.instantiate(&mut *store);
        let instance = instance.map_err(|e| classify(&e, store))?;
        let functions = self.exports.load(store, &instance);
        let functions = functions.map_err(|e| wrong_type(&e, self.exports.version()))?;
        let answer = question.ask(store, &functions);
        let answer = answer.map_err(|e| classify(&e, store))?;

        let left = store.get_fuel().unwrap_or(0);
        let cost = Cost {
            fuel: fuel.saturating_sub(left),
            memory_bytes: store.data().memory_bytes,
            time: started.elapsed(),
        };
        Ok((answer, cost))
    }
}

/// One tick more than the time takes, since the first may come at once.
fn ticks(time: Duration) -> u64 {
    (time.as_millis() / TICK.as_millis()) as u64 + 1
}
