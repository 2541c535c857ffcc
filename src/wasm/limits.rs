//! The limits of a guest, each with its name, and the limiter that holds memory and tables to them.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// What a guest may use, per call unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory.
    pub memory_bytes: usize,
    /// Elements of one table.
    pub table_elements: usize,
    /// CPU time.
    pub cpu: Duration,
    /// Wall-clock time, waiting for the database included.
    pub wall: Duration,
    /// Bytes that one call may hand to the host.
    pub bytes_from_guest: usize,
    /// Bytes of one document.
    pub document_bytes: usize,
    /// Levels of nesting of one document.
    pub document_depth: usize,
    /// Queries of one call, `resolve`'s answer included.
    pub queries: usize,
    /// Rows that one call may read besides its declared reads.
    pub rows: usize,
    /// Bytes of rows that one call may be given.
    pub bytes_to_guest: usize,
    /// Ids that one answer of `resolve` may name.
    pub resolved_ids: usize,
    /// Bytes of log lines that one call may write.
    pub log_bytes: usize,
    /// Bytes of one log line.
    pub log_line_bytes: usize,
    /// Bytes of a component.
    pub component_bytes: usize,
    /// How long compiling a component may take before it is refused. It is not interrupted.
    pub compile: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            table_elements: 100_000,
            cpu: Duration::from_secs(2),
            wall: Duration::from_secs(10),
            bytes_from_guest: 16 << 20,
            document_bytes: 8 << 20,
            document_depth: 64,
            queries: 64,
            rows: 100_000,
            bytes_to_guest: 16 << 20,
            resolved_ids: 100_000,
            log_bytes: 16 << 10,
            log_line_bytes: 1 << 10,
            component_bytes: 32 << 20,
            compile: Duration::from_secs(60),
        }
    }
}

/// Bytes of a document's id at most, as search engines have it.
pub(super) const ID_BYTES_MAX: usize = 512;

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

/// Refuses growth past the limits and remembers what was refused: a guest's allocator turns a refusal into a trap that says
/// nothing.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_bytes: usize,
    memory_used: usize,
    table_elements: usize,
    pub(super) met: Option<Met>,
}

/// Memories and tables that the instances of one component may have; a Python component has dozens of instances.
const INSTANCES_MAX: usize = 64;
const MEMORIES_MAX: usize = 4;
const TABLES_MAX: usize = 16;

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { memory_bytes: limits.memory_bytes, memory_used: 0, table_elements: limits.table_elements, met: None }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        // All memories of the call together.
        let wanted = self.memory_used.saturating_sub(current).saturating_add(desired);
        if wanted > self.memory_bytes {
            self.met = Some(Met { limit: "memory", wanted, allowed: self.memory_bytes });
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
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }
}
