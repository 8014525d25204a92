//! What an instance may take of the machine while it runs.

use wasmtime::ResourceLimiter;

use crate::{
    call_site::Function,
    limits::{Limit, Limits},
};

/// What an instance has taken so far, and the limit it ran into.
pub(crate) struct Quota {
    pub(crate) memory_bytes: u64,
    memory_allowed: u64,
    table_elements: u64,
    table_elements_allowed: u64,
    instances: usize,
    tables: usize,
    memories: usize,
    pub(crate) hit: Option<Limit>,
}

impl Quota {
    pub(crate) fn new(limits: &Limits, function: Function) -> Self {
        Self {
            memory_bytes: 0,
            memory_allowed: limits.allowed(Limit::Memory, function),
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
impl ResourceLimiter for Quota {
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
