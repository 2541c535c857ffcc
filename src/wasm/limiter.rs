//! Holds a guest's memory and tables to its limits, from its instantiation on.

use wasmtime::ResourceLimiter;

use super::limits::Limits;

/// Which limit a guest met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Met {
    /// Its name in [`Limits`].
    pub(super) limit: &'static str,
    /// What the guest wanted.
    pub(super) wanted: usize,
    /// What it may have.
    pub(super) allowed: usize,
}

/// Refuses growth past the limits and remembers what was refused: a guest's allocator turns a refusal into a trap that
/// says nothing.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_limit: &'static str,
    memory_bytes: usize,
    memory_used: usize,
    table_elements: usize,
    tables: usize,
    memories: usize,
    instances: usize,
    met: Option<Met>,
}

impl Limiter {
    /// `json` for a guest that takes rows as JSON.
    pub(super) fn new(limits: &Limits, json: bool) -> Self {
        let (memory_limit, memory_bytes) = match json {
            true => ("json_memory_bytes", limits.json_memory_bytes),
            false => ("memory_bytes", limits.memory_bytes),
        };
        Self {
            memory_limit,
            memory_bytes,
            memory_used: 0,
            table_elements: limits.table_elements,
            tables: limits.tables,
            memories: limits.memories,
            instances: limits.instances,
            met: None,
        }
    }

    /// The limit that was met last, if any was.
    pub(super) fn met(&self) -> Option<&Met> {
        self.met.as_ref()
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.memory_used.saturating_sub(current).saturating_add(desired);
        if wanted > self.memory_bytes {
            self.met = Some(Met { limit: self.memory_limit, wanted, allowed: self.memory_bytes });
            return Ok(false);
        }
        self.memory_used = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.table_elements {
            self.met = Some(Met { limit: "table_elements", wanted: desired, allowed: self.table_elements });
            return Ok(false);
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.memories
    }

    fn tables(&self) -> usize {
        self.tables
    }
}
