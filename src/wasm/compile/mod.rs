//! From bytes to native code: looked at first, compiled once, one at a time, and kept in memory and on disk.
//!
//! ```text
//! bytes ─▶ look ─▶ kept in memory? ─▶ in the cache's directory? ─▶ its turn ─▶ compiler: a child process, or a thread here
//!                        ▲                     │ any doubt: as if it were not there         │
//!                        └──── loaded ◀────────┴───────── written to the cache ◀────────────┘
//! ```

mod cache;
mod cached_file;
mod child;
mod compiler;
mod inside;
mod kept;
mod look;

use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::failures::Cause;
use super::limits::Limits;
use super::runtime::{Runtime, RuntimeOptions};
use crate::edges::Failure;
use cache::Cache;
pub use cache::CompiledCache;
pub use compiler::{COMPILE_COMMAND, Compiler};
pub use inside::compile_component;
use kept::{Hash, Kept};

/// What was compiled, and the turn of what is to be.
pub(super) struct Compiled {
    kept: Kept,
    cache: Option<Arc<Cache>>,
    /// Compiling takes all cores: one at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Compiled {
    pub(super) fn new(engine: &Engine, options: &RuntimeOptions) -> Self {
        let cache = options.cache.as_ref().and_then(|cache| Cache::open(cache, engine));
        Self { kept: Kept::default(), cache: cache.map(Arc::new), turn: Arc::default() }
    }
}

/// A component, compiled unless it is there already.
///
/// # Errors
///
/// `Fatal`, saying which of the things that a file can be it is, or which limit compiling it met; `Transient` when another one takes
/// too long.
pub(super) async fn compile(
    runtime: &Runtime,
    what: &str,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Arc<Component>, Failure> {
    look::at(what, bytes, limits)?;
    let hash: Hash = Sha256::digest(bytes).into();
    let compiled = &runtime.compiled;
    if let Some(component) = compiled.kept.get(&hash) {
        return Ok(component);
    }
    if let Some(component) = cached(runtime, what, hash).await {
        return Ok(compiled.kept.put(hash, component));
    }
    let turn = Arc::clone(&compiled.turn).lock_owned();
    let turn = tokio::time::timeout(limits.compile, turn).await.map_err(|_| {
        Failure::transient(format!(
            "{what}: another component has been compiling for longer than the limit compile of {:?}",
            limits.compile
        ))
    })?;
    if let Some(component) = compiled.kept.get(&hash) {
        return Ok(component);
    }
    let began = Instant::now();
    let native = match &runtime.options.compiler {
        Compiler::InProcess => in_process(runtime, turn, what, bytes, limits).await?,
        Compiler::Child { program, arguments } => {
            let native = child::compile(program, arguments, what, bytes, limits).await?;
            drop(turn);
            native
        }
    };
    tracing::debug!(took_ms = began.elapsed().as_millis() as u64, bytes = native.len(), "{what}: compiled");
    let (engine, cache) = (runtime.engine.clone(), compiled.cache.clone());
    let loading = runtime.threads().spawn_blocking(move || {
        let component = load(&engine, &native)?;
        // What cannot be loaded is not worth keeping.
        if let Some(cache) = cache {
            cache.put(&hash, &native);
        }
        Ok(component)
    });
    let loaded = loading.await.map_err(|error| failed(what).with_source(error))?;
    let component = loaded.map_err(|error: wasmtime::Error| refused(what, Cause::from(error)))?;
    Ok(compiled.kept.put(hash, component))
}

/// From the cache's directory. Whatever is wrong there, the component is compiled again.
async fn cached(runtime: &Runtime, what: &str, hash: Hash) -> Option<Component> {
    let cache = Arc::clone(runtime.compiled.cache.as_ref()?);
    let engine = runtime.engine.clone();
    let loading = runtime.threads().spawn_blocking(move || cache.get(&hash).map(|native| load(&engine, &native)));
    match loading.await.ok()?? {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::warn!("{what}: its compiled form in the cache does not fit, it is compiled again: {error:#}");
            None
        }
    }
}

/// Native code becomes callable.
fn load(engine: &Engine, native: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: whoever writes these bytes can do in this process whatever they like. They come from our own compiler, in this process
    // or in a child of ours, or from a file that it was written to, which only we may write (`cached_file`). Nothing else gets here:
    // bytes of a user are refused when they look like this (`look`). A mistake in the compiler is no worse in a child than here.
    unsafe { Component::deserialize(engine, native) }
}

async fn in_process(
    runtime: &Runtime,
    turn: OwnedMutexGuard<()>,
    what: &str,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Vec<u8>, Failure> {
    let (engine, bytes) = (runtime.engine.clone(), bytes.to_vec());
    let compiling = runtime.threads().spawn_blocking(move || {
        // It goes on when nobody waits any more, and keeps its turn until it is done.
        let _turn = turn;
        engine.precompile_component(&bytes)
    });
    match tokio::time::timeout(limits.compile, compiling).await {
        Ok(Ok(Ok(native))) => Ok(native),
        Ok(Ok(Err(error))) => Err(refused(what, Cause::from(error))),
        Ok(Err(error)) => Err(failed(what).with_source(error)),
        Err(_) => Err(child::too_long(what, limits.compile)),
    }
}

fn refused(what: &str, cause: Cause) -> Failure {
    Failure::fatal(format!("{what}: the component is damaged, or uses features that are switched off"))
        .with_advice("`wasm-tools validate` says whether it is damaged; build it without threads, WASI and experimental features")
        .with_source(cause)
}

fn failed(what: &str) -> Failure {
    Failure::fatal(format!("{what}: compiling it failed"))
}
