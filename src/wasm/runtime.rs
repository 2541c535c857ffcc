//! What lives as long as the process: one engine with its pool, the thread that ticks epochs, and small runtimes of
//! its own for guest calls, so that a guest that burns its whole budget on every thread never delays capture or HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use wasmtime::Engine;

use super::compile::{Compiled, CompiledCache, Compiler};
use super::engine;
use super::failures::Cause;
use crate::edges::{Failure, FairShare, Shares};

/// Limits of the process for guests of all pipelines together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeOptions {
    /// Threads that run guests.
    pub threads: usize,
    /// Guest calls under way at the same time, shared fairly among pipelines ([`FairShare`]); further calls wait.
    pub calls_at_once: usize,
    /// Bytes of linear memory that any builder's limits may allow.
    pub memory_bytes_max: usize,
    /// CPU time after which a call goes on on threads of the lowest priority, so that short calls never stand behind long ones; for a
    /// second after such a call those of the same pipeline begin there.
    pub long_call_cpu: Duration,
    /// Who compiles components. By default this process; whoever does not trust their authors names a program.
    pub compiler: Compiler,
    /// Where compiled components are kept between starts; nowhere by default.
    pub cache: Option<CompiledCache>,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            calls_at_once: 64,
            memory_bytes_max: 256 << 20,
            // More than any honest small call takes, and a few ticks.
            long_call_cpu: Duration::from_millis(50),
            compiler: Compiler::InProcess,
            cache: None,
        }
    }
}

/// Between two ticks of the epoch: how soon a guest is noticed that has used its CPU budget up.
const TICK: Duration = Duration::from_millis(10);

/// How much lower than the rest of the process the guests' threads run: a spinning guest loses against everything else.
const NICE: i32 = 5;

/// The threads for long calls ([`lane`](super::lane)) run when nobody else wants to.
const LONG_NICE: i32 = 19;

/// Long calls that run at the same time, for each of their threads; some of them may wait for the database.
const LONG_CALLS_PER_THREAD: usize = 4;

/// The process's runtime for guests.
pub struct Runtime {
    pub(super) engine: Engine,
    /// A call under way has one, from before it is instantiated: a pool without room is an error, not a wait.
    pub(super) slots: FairShare,
    /// A long call has one of these besides.
    pub(super) long_slots: FairShare,
    pub(super) options: RuntimeOptions,
    pub(super) compiled: Compiled,
    threads: Handle,
    long_threads: Handle,
    owned: Vec<tokio::runtime::Runtime>,
}

impl Runtime {
    /// A runtime for guests.
    ///
    /// # Errors
    ///
    /// `Fatal` when the machine does not give the address space or the threads.
    pub fn new(options: RuntimeOptions) -> Result<Arc<Self>, Failure> {
        let calls = calls_at_once(&options);
        let engine = Engine::new(&engine::pooled(&options, calls)).map_err(|error| {
            Failure::fatal("the WebAssembly engine could not be set up")
                .with_advice("lower calls_at_once where address space is short (`ulimit -v`)")
                .with_source(Cause::from(error))
        })?;
        let count = options.threads.max(1);
        let threads = threads("docmill-guest", count, NICE)?;
        let long_threads = self::threads("docmill-long", count, LONG_NICE)?;
        tick(&engine)?;
        Ok(Arc::new(Self {
            slots: FairShare::new(Shares::of(calls as usize)),
            long_slots: FairShare::new(Shares::of(count * LONG_CALLS_PER_THREAD)),
            compiled: Compiled::new(&engine, &options),
            engine,
            options,
            threads: threads.handle().clone(),
            long_threads: long_threads.handle().clone(),
            owned: vec![threads, long_threads],
        }))
    }

    /// Where guests run.
    pub(super) fn threads(&self) -> &Handle {
        &self.threads
    }

    /// Where guests run that have run for long.
    pub(super) fn long_threads(&self) -> &Handle {
        &self.long_threads
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Waiting for the threads panics inside async code, which is where the last user may let go.
        for threads in self.owned.drain(..) {
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

fn threads(name: &str, count: usize, nice: i32) -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(count)
        .thread_name(name)
        .on_thread_start(move || lower_priority(nice))
        .enable_time()
        .build()
        .map_err(|error| Failure::fatal("the threads for guests could not be started").with_source(error))
}

#[cfg(target_os = "linux")]
fn lower_priority(nice: i32) {
    // SAFETY: all calls take plain numbers; on Linux a thread's id names that thread alone. A refusal changes nothing.
    unsafe {
        let thread = libc::syscall(libc::SYS_gettid) as libc::id_t;
        // Lower than the process, whose operator may have lowered or raised it as a whole.
        let process = libc::getpriority(libc::PRIO_PROCESS, thread);
        libc::setpriority(libc::PRIO_PROCESS, thread, process + nice);
    }
}

#[cfg(not(target_os = "linux"))]
fn lower_priority(_nice: i32) {}
