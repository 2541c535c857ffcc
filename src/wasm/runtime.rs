//! What lives as long as the process: one engine with its pool, the thread that ticks epochs, and a small runtime of
//! its own for guest calls, so that a guest that burns its whole budget on every thread never delays capture or HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::compile::Compiled;
use super::failures::Cause;
use crate::edges::Failure;

/// Limits of the process for guests of all pipelines together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeOptions {
    /// Threads that run guests.
    pub threads: usize,
    /// Guest calls under way at the same time; further calls wait.
    pub calls_at_once: usize,
    /// Bytes of linear memory that any builder's limits may allow.
    pub memory_bytes_max: usize,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            calls_at_once: 64,
            memory_bytes_max: 256 << 20,
        }
    }
}

/// Between two ticks of the epoch: how soon a guest is noticed that has used its CPU budget up.
const TICK: Duration = Duration::from_millis(10);

/// Elements of one table that the pool has room for.
pub(super) const TABLE_ELEMENTS_MAX: usize = 100_000;

/// A component may consist of many core instances (one of Python of 38), few of which have a memory or a table.
const CORE_INSTANCES_PER_CALL: u32 = 16;
const MEMORIES_PER_CALL: u32 = 2;
const TABLES_PER_CALL: u32 = 8;
const CORE_INSTANCES_MAX: u32 = 64;
const MEMORIES_MAX: u32 = 4;
const TABLES_MAX: u32 = 16;

/// Bytes of a memory that a call has used that stay with the pool, overwritten, so that the next call need not fault them in page by
/// page: what a call for a few documents uses. All slots together keep no more than 128 MiB.
const MEMORY_KEPT: usize = 1 << 20;

/// What the engine keeps of an instance outside its linear memory; large components need some.
const INSTANCE_BYTES_MAX: usize = 4 << 20;

/// The native stack of a guest call, and how much of it wasm may use: the rest is for host functions.
const STACK_BYTES: usize = 1 << 20;
const WASM_STACK_BYTES: usize = 512 << 10;

/// How much lower than the rest of the process the guests' threads run: a spinning guest loses against everything else.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// The process's runtime for guests.
pub struct Runtime {
    pub(super) engine: Engine,
    pub(super) slots: Arc<Semaphore>,
    pub(super) options: RuntimeOptions,
    pub(super) compiled: Compiled,
    threads: Handle,
    owned: Option<tokio::runtime::Runtime>,
}

impl Runtime {
    /// A runtime for guests.
    ///
    /// # Errors
    ///
    /// `Fatal` when the machine does not give the address space or the threads.
    pub fn new(options: RuntimeOptions) -> Result<Arc<Self>, Failure> {
        let engine = Engine::new(&config(&options)).map_err(|error| {
            Failure::fatal("the WebAssembly engine could not be set up")
                .with_advice("lower calls_at_once where address space is short (`ulimit -v`)")
                .with_source(Cause::from(error))
        })?;
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.threads.max(1))
            .thread_name("docmill-guest")
            .on_thread_start(lower_priority)
            .enable_time()
            .build()
            .map_err(|error| Failure::fatal("the threads for guests could not be started").with_source(error))?;
        tick(&engine)?;
        Ok(Arc::new(Self {
            engine,
            slots: Arc::new(Semaphore::new(calls_at_once(&options) as usize)),
            options,
            compiled: Compiled::default(),
            threads: threads.handle().clone(),
            owned: Some(threads),
        }))
    }

    /// Where guests run.
    pub(super) fn threads(&self) -> &Handle {
        &self.threads
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Waiting for the threads panics inside async code, which is where the last user may let go.
        if let Some(threads) = self.owned.take() {
            threads.shutdown_background();
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("options", &self.options).finish_non_exhaustive()
    }
}

/// At least one, at most what the pool can count.
fn calls_at_once(options: &RuntimeOptions) -> u32 {
    u32::try_from(options.calls_at_once).unwrap_or(u32::MAX).clamp(1, 10_000)
}

fn config(options: &RuntimeOptions) -> Config {
    let calls = calls_at_once(options);
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
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_init_cow(true)
        .epoch_interruption(true)
        // With it a call costs twenty times as much, and nothing here needs it.
        .concurrency_support(false)
        .async_stack_size(STACK_BYTES)
        .max_wasm_stack(WASM_STACK_BYTES)
        .wasm_component_model(true)
        // The same rows must give the same document.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false);
    config
}

/// Ticks the epoch for as long as the engine lives.
fn tick(engine: &Engine) -> Result<(), Failure> {
    let engine = engine.weak();
    let ticking = std::thread::Builder::new().name("docmill-epoch".to_owned()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    });
    match ticking {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(Failure::fatal("the thread that bounds guests' CPU time could not be started").with_source(error))
        }
    }
}

fn lower_priority() {
    #[cfg(target_os = "linux")]
    // SAFETY: both calls take plain numbers; on Linux a thread's id names that thread alone. A refusal changes nothing.
    unsafe {
        let thread = libc::syscall(libc::SYS_gettid) as libc::id_t;
        libc::setpriority(libc::PRIO_PROCESS, thread, NICE);
    }
}
