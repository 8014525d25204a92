//! What an instance may take of the machine while it runs.

use std::collections::BTreeSet;

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
    /// Maximum of the tables that report, and what they reported: see [`watch`](crate::watch).
    mark: Option<u32>,
    pub(crate) reached: BTreeSet<u32>,
}

impl Quota {
    pub(crate) fn new(limits: &Limits, function: Function, mark: Option<u32>) -> Self {
        Self {
            memory_bytes: 0,
            memory_allowed: limits.allowed(Limit::Memory, function),
            table_elements: 0,
            table_elements_allowed: limits.table_elements,
            instances: limits.instances as usize,
            tables: limits.tables as usize,
            memories: limits.memories as usize,
            hit: None,
            mark,
            reached: BTreeSet::new(),
        }
    }
}

/// What a memory or a table asks for, in bytes or elements.
struct Growth {
    now: usize,
    wanted: usize,
    /// What the component itself declares.
    maximum: Option<usize>,
}

impl Quota {
    /// Whether one may grow, counted together with all others of its kind.
    fn grow(&mut self, limit: Limit, growth: Growth) -> wasmtime::Result<bool> {
        if growth.maximum.is_some_and(|maximum| growth.wanted > maximum) {
            return Ok(false);
        }
        let (used, allowed, name) = match limit {
            Limit::TableElements => {
                (&mut self.table_elements, self.table_elements_allowed, "table limit")
            }
            _ => (&mut self.memory_bytes, self.memory_allowed, "memory limit"),
        };
        let total = *used + growth.wanted.saturating_sub(growth.now) as u64;
        if total > allowed {
            self.hit = Some(limit);
            wasmtime::bail!(name);
        }
        *used = total;
        Ok(true)
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
        self.grow(Limit::Memory, Growth { now, wanted, maximum })
    }

    fn table_growing(
        &mut self,
        now: usize,
        wanted: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if let Some(mark) = self.mark
            && maximum == Some(mark as usize)
        {
            let part = wanted.checked_sub(1).and_then(|part| u32::try_from(part).ok());
            self.reached.extend(part);
            // It is made, and never grows.
            return Ok(part.is_none());
        }
        self.grow(Limit::TableElements, Growth { now, wanted, maximum })
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
