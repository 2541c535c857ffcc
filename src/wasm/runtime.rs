//! What lives as long as the process: one engine with its pool, the thread that ticks epochs, and a small runtime of its own
//! for guest calls, so that a guest that burns its whole budget on every thread never delays capture or HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::Component;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::edges::Failure;

/// Limits of the process for guests of all pipelines together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeOptions {
    /// Threads that run guests.
    pub threads: usize,
    /// Guest calls under way at the same time; further calls wait.
    pub calls_at_once: usize,
    /// The largest linear memory that any pipeline may allow its guests.
    pub memory_bytes_max: usize,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self { threads, calls_at_once: 64, memory_bytes_max: 256 << 20 }
    }
}

/// Between two ticks of the epoch: how soon a guest is noticed that uses its CPU budget up.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// A core instance's share of memory outside linear memory; large components need some.
const INSTANCE_BYTES_MAX: usize = 4 << 20;

/// Native stack of a guest call.
const STACK_BYTES: usize = 1 << 20;

/// How much lower than the rest of the process guest threads run: a spinning guest loses against everything else.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// The process's runtime for guests.
pub struct Runtime {
    pub(super) engine: Engine,
    pub(super) slots: Arc<Semaphore>,
    pub(super) options: RuntimeOptions,
    /// Compiled components by the hash of their bytes: the same file in many pipelines is compiled once.
    pub(super) compiled: Mutex<HashMap<[u8; 32], Component>>,
    /// Compiling takes all cores and cannot be interrupted: one at a time.
    pub(super) compiling: tokio::sync::Mutex<()>,
    threads: Option<tokio::runtime::Runtime>,
}

impl Runtime {
    /// A runtime for guests.
    ///
    /// # Errors
    ///
    /// `Fatal` when the machine does not give the address space or the threads.
    pub fn new(options: RuntimeOptions) -> Result<Arc<Self>, Failure> {
        let engine = Engine::new(&config(&options))
            .map_err(|error| Failure::fatal("the WebAssembly engine could not be set up").with_source(error))?;
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
            slots: Arc::new(Semaphore::new(options.calls_at_once.max(1))),
            options,
            compiled: Mutex::default(),
            compiling: tokio::sync::Mutex::new(()),
            threads: Some(threads),
        }))
    }

    /// Where guest calls run.
    pub(super) fn handle(&self) -> &tokio::runtime::Handle {
        self.threads.as_ref().expect("the runtime goes only with the last of its users").handle()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // A blocking shutdown panics inside async code, which is where the last user may let go.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("options", &self.options).finish_non_exhaustive()
    }
}

fn config(options: &RuntimeOptions) -> Config {
    let calls = u32::try_from(options.calls_at_once.max(1)).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    // A component may consist of many core instances, few of which have a memory.
    pool.total_component_instances(calls)
        .total_core_instances(calls.saturating_mul(16))
        .total_memories(calls.saturating_mul(2))
        .total_tables(calls.saturating_mul(8))
        .total_stacks(calls)
        .max_core_instances_per_component(64)
        .max_memories_per_component(4)
        .max_tables_per_component(16)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_memory_size(options.memory_bytes_max)
        .table_elements(100_000);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_reservation(options.memory_bytes_max as u64)
        .memory_init_cow(true)
        .epoch_interruption(true)
        // With it a call costs twenty times as much, and nothing here needs it.
        .concurrency_support(false)
        .async_stack_size(STACK_BYTES)
        .max_wasm_stack(STACK_BYTES / 2)
        .wasm_component_model(true)
        // The same rows must give the same document.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false);
    config
}

/// Ticks the epoch for as long as the engine lives.
fn tick(engine: &Engine) -> Result<(), Failure> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("docmill-epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })
        .map(|_| ())
        .map_err(|error| Failure::fatal("the thread that limits guests' CPU could not be started").with_source(error))
}

fn lower_priority() {
    #[cfg(target_os = "linux")]
    // SAFETY: both calls take plain numbers; on Linux a thread's id names that thread alone. A refusal changes nothing.
    unsafe {
        let thread = libc::syscall(libc::SYS_gettid) as libc::id_t;
        libc::setpriority(libc::PRIO_PROCESS, thread, NICE);
    }
}
