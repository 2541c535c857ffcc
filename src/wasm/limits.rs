//! The limits of a guest, each with its name.

use std::time::Duration;

use super::failures::over;
use crate::edges::Failure;

/// What a guest may use, per call unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory, all memories together.
    pub memory_bytes: usize,
    /// The same for guests that take rows as JSON: an interpreter needs more.
    pub json_memory_bytes: usize,
    /// Elements of one table.
    pub table_elements: usize,
    /// Tables.
    pub tables: usize,
    /// Linear memories.
    pub memories: usize,
    /// Core instances; a Python component has 38.
    pub instances: usize,
    /// CPU time: what passes while the guest runs, without its waiting for the database.
    pub cpu: Duration,
    /// Time that a call takes, waiting for the database included, waiting for a free slot or a processor not; with a processor's, six times
    /// that at most.
    pub wall: Duration,
    /// Handles to resources that the parts of the component give one another.
    pub handles: usize,
    /// Bytes that the guest may hand to the host at once.
    pub bytes_from_guest: usize,
    /// Bytes of one document.
    pub document_bytes: usize,
    /// Levels of nesting of one document.
    pub document_depth: usize,
    /// Queries: those an `assemble` runs, or those a `resolve` answers with.
    pub queries: usize,
    /// Rows that an `assemble` may be given, its reads and what it asks for together.
    pub rows: usize,
    /// Bytes of rows that a call may be given.
    pub bytes_to_guest: usize,
    /// Ids that one answer of `resolve` may name.
    pub resolved_ids: usize,
    /// Bytes of log lines.
    pub log_bytes: usize,
    /// Bytes of one log line; longer ones are cut.
    pub log_line_bytes: usize,
    /// Bytes of log lines of all calls of this builder in one second.
    pub log_bytes_per_second: usize,
    /// Bytes of the component's file.
    pub component_bytes: usize,
    /// How long compiling the component may take before it is refused.
    pub compile: Duration,
    /// Bytes of memory that compiling it may take. It holds where a child process compiles ([`Compiler`](super::Compiler)).
    pub compile_memory_bytes: usize,
}

/// The key of a limit in the configuration of a pipeline; its name here where that is the same.
pub(super) fn setting(limit: &str) -> &str {
    match limit {
        "memory_bytes" | "json_memory_bytes" => "memory",
        "document_bytes" => "document",
        "log_bytes" => "log",
        "log_line_bytes" => "log_line",
        "log_bytes_per_second" => "log_per_second",
        "component_bytes" => "component",
        "compile_memory_bytes" => "compile_memory",
        same => same,
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            json_memory_bytes: 128 << 20,
            table_elements: 100_000,
            tables: 16,
            memories: 4,
            instances: 64,
            cpu: Duration::from_secs(2),
            wall: Duration::from_secs(10),
            handles: 1_000,
            bytes_from_guest: 16 << 20,
            document_bytes: 8 << 20,
            document_depth: 64,
            queries: 64,
            rows: 100_000,
            bytes_to_guest: 16 << 20,
            resolved_ids: 100_000,
            log_bytes: 16 << 10,
            log_line_bytes: 1 << 10,
            log_bytes_per_second: 64 << 10,
            component_bytes: 32 << 20,
            compile: Duration::from_secs(60),
            compile_memory_bytes: 2 << 30,
        }
    }
}

impl Limits {
    /// Whether a call was or may be given this much in rows.
    pub(super) fn check_given(&self, what: &str, rows: usize, bytes: usize) -> Result<(), Failure> {
        if rows > self.rows {
            return Err(over(what, "rows", rows, self.rows));
        }
        if bytes > self.bytes_to_guest {
            return Err(over(what, "bytes_to_guest", bytes, self.bytes_to_guest));
        }
        Ok(())
    }

    /// Whether a call may hold that many queries.
    pub(super) fn check_queries(&self, what: &str, queries: usize) -> Result<(), Failure> {
        if queries > self.queries {
            return Err(over(what, "queries", queries, self.queries));
        }
        Ok(())
    }
}

/// Bytes of a document's id at most, as search engines have it.
pub(super) const ID_BYTES_MAX: usize = 512;
