//! The engine's settings. Those of the code are the same in every process and with all options, so that code which a child made
//! runs here; those of the pool follow the options.

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmFeatures};

use super::runtime::RuntimeOptions;

/// Elements of one table that the pool has room for.
pub(super) const TABLE_ELEMENTS_MAX: usize = 100_000;

/// A component may consist of many core instances (one of Python of 38), few of which have a memory or a table.
const CORE_INSTANCES_PER_CALL: u32 = 16;
const MEMORIES_PER_CALL: u32 = 2;
const TABLES_PER_CALL: u32 = 8;
pub(super) const CORE_INSTANCES_MAX: u32 = 64;
pub(super) const MEMORIES_MAX: u32 = 4;
pub(super) const TABLES_MAX: u32 = 16;

/// Bytes of a memory that a call has used that stay with the pool, overwritten, so that the next call need not fault them in page by
/// page: what a call for a few documents uses. All slots together keep no more than 128 MiB.
const MEMORY_KEPT: usize = 1 << 20;

/// What the engine keeps of an instance outside its linear memory; large components need some.
const INSTANCE_BYTES_MAX: usize = 4 << 20;

/// The native stack of a guest call, and how much of it wasm may use: the rest is for host functions.
const STACK_BYTES: usize = 1 << 20;
const WASM_STACK_BYTES: usize = 512 << 10;

/// What compiled code depends on. Whoever compiles with it reserves no memory for guests.
///
/// The same rows give the same document, because nothing is left by which two calls on the same input could differ:
///
/// - WebAssembly itself is deterministic but for the bits of NaNs (canonical here, also in vectors), relaxed vector instructions
///   (off), threads and memory shared by them (off), and how far memory, tables and the stack may grow. The last are held to fixed
///   limits, and a call that meets one of them answers with a failure, never with a document, even when it goes on.
/// - What a guest can ask is its configuration, which is part of its version, and queries of the one moment that the call reads.
///   There is no clock, no random number and no environment: WASI is not linked, and a component that imports it is refused.
/// - Nothing of an earlier call is left: each has a fresh instance, whose memory the pool gives as the component describes it.
///
/// So making some calls twice and comparing would compare the engine with itself, and is left out. What does differ between two
/// moments is the order of rows of a query without `order by`, which a second call on the same rows would not show either.
pub(super) fn code() -> Config {
    let mut config = Config::new();
    config
        .memory_init_cow(true)
        .epoch_interruption(true)
        // With it a call costs twenty times as much, and nothing here needs it.
        .concurrency_support(false)
        .async_stack_size(STACK_BYTES)
        .max_wasm_stack(WASM_STACK_BYTES)
        .wasm_component_model(true)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_features(WasmFeatures::THREADS | WasmFeatures::SHARED_EVERYTHING_THREADS, false)
        .shared_memory(false);
    config
}

/// The same, with room for `calls` guests at once.
pub(super) fn pooled(options: &RuntimeOptions, calls: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls * CORE_INSTANCES_PER_CALL)
        .total_memories(calls * MEMORIES_PER_CALL)
        .total_tables(calls * TABLES_PER_CALL)
        .total_stacks(calls)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_memory_size(options.memory_bytes_max)
        // Where the kernel (6.7 or newer) does not say which pages were used, all that might have been would be overwritten, which
        // costs more than it saves.
        .linear_memory_keep_resident(if PoolingAllocationConfig::is_pagemap_scan_available() { MEMORY_KEPT } else { 0 })
        .pagemap_scan(Enabled::Auto)
        .table_elements(TABLE_ELEMENTS_MAX);
    let mut config = code();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}
