//! A builder version: bytes that were looked at before they are compiled, imports that are allowed, exports that fit.

use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::{Builder, BuilderPre};
use super::host::CallState;
use super::limits::Limits;
use super::runtime::Runtime;
use crate::edges::Failure;

/// What a component may import.
const IMPORTS: [&str; 3] =
    ["docmill:builder/types@0.1.0", "docmill:builder/host@0.1.0", "docmill:builder/source@0.1.0"];

/// What it must export.
const EXPORT: &str = "docmill:builder/guest@0.1.0";

/// Compiles a component and checks its world.
///
/// # Errors
///
/// `Fatal`, saying which of the things a file can be it is.
pub(super) async fn load(
    runtime: &Arc<Runtime>,
    what: &str,
    bytes: &[u8],
    limits: &Limits,
) -> Result<BuilderPre<CallState>, Failure> {
    if limits.memory_bytes > runtime.options.memory_bytes_max {
        return Err(Failure::fatal(format!(
            "{what}: limits.memory of {} bytes is more than the process allows any guest ({})",
            limits.memory_bytes, runtime.options.memory_bytes_max
        )));
    }
    look_at(what, bytes, limits)?;
    let component = compiled(runtime, what, bytes, limits).await?;
    check_world(runtime, what, &component)?;
    let mut linker: Linker<CallState> = Linker::new(&runtime.engine);
    Builder::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)
        .map_err(|error| Failure::fatal("the builder's world could not be linked").with_source(Text(error)))?;
    let fits = linker.instantiate_pre(&component).and_then(BuilderPre::new);
    fits.map_err(|error| {
        Failure::fatal(format!("{what}: the component does not fit the world docmill:builder/builder@0.1.0"))
            .with_advice("build it against wit/v1/builder.wit of this docmill")
            .with_source(Text(error))
    })
}

fn look_at(what: &str, bytes: &[u8], limits: &Limits) -> Result<(), Failure> {
    let refused = |found: String, advice: &str| Err(Failure::fatal(format!("{what}: {found}")).with_advice(advice));
    if bytes.len() > limits.component_bytes {
        return refused(
            format!("{} bytes, limit component_bytes is {}", bytes.len(), limits.component_bytes),
            "strip it (`strip = true` in the release profile), or raise the limit",
        );
    }
    if Engine::detect_precompiled(bytes).is_some() {
        return refused("it is precompiled native code, which is never run".to_owned(), "give the .wasm component");
    }
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => refused(
            "it is a core WebAssembly module, not a component".to_owned(),
            "link it with wasm-component-ld (sdk/README.md), or run `wasm-tools component new` on it",
        ),
        _ => refused(
            "it is no WebAssembly component".to_owned(),
            "give the .wasm file that `guest-examples/build` makes",
        ),
    }
}

async fn compiled(runtime: &Arc<Runtime>, what: &str, bytes: &[u8], limits: &Limits) -> Result<Component, Failure> {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let known = || runtime.compiled.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get(&hash).cloned();
    if let Some(component) = known() {
        return Ok(component);
    }
    let _one_at_a_time = runtime.compiling.lock().await;
    if let Some(component) = known() {
        return Ok(component);
    }
    let began = Instant::now();
    let (engine, bytes) = (runtime.engine.clone(), bytes.to_vec());
    let compiling = tokio::task::spawn_blocking(move || Component::from_binary(&engine, &bytes));
    let component = match tokio::time::timeout(limits.compile, compiling).await {
        Ok(Ok(Ok(component))) => component,
        Ok(Ok(Err(error))) => {
            return Err(Failure::fatal(format!(
                "{what}: the component is damaged or uses features that are switched off"
            ))
            .with_source(Text(error)));
        }
        Ok(Err(error)) => return Err(Failure::fatal(format!("{what}: compiling it failed")).with_source(error)),
        Err(_) => return Err(Failure::fatal(format!("{what}: limit compile of {:?} met", limits.compile))),
    };
    tracing::debug!(took_ms = began.elapsed().as_millis() as u64, "{what}: compiled");
    let mut compiled = runtime.compiled.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if compiled.len() >= COMPILED_MAX {
        compiled.clear();
    }
    compiled.insert(hash, component.clone());
    Ok(component)
}

/// Compiled components kept for further pipelines that load the same bytes.
const COMPILED_MAX: usize = 64;

fn check_world(runtime: &Runtime, what: &str, component: &Component) -> Result<(), Failure> {
    let world = component.component_type();
    let foreign: Vec<&str> =
        world.imports(&runtime.engine).map(|(name, _)| name).filter(|name| !IMPORTS.contains(name)).collect();
    if !foreign.is_empty() {
        return Err(Failure::fatal(format!("{what}: it imports {}, which no builder is given", foreign.join(", ")))
            .with_advice(format!("a builder may import {} and nothing else", IMPORTS.join(", "))));
    }
    if world.exports(&runtime.engine).any(|(name, _)| name == EXPORT) {
        return Ok(());
    }
    let exports: Vec<&str> = world.exports(&runtime.engine).map(|(name, _)| name).take(10).collect();
    Err(Failure::fatal(format!(
        "{what}: it is a component of another world: it does not export {EXPORT} but {}",
        if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
    ))
    .with_advice("build it against wit/v1/builder.wit of this docmill"))
}

/// An error of the engine with its causes, as one text.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct Text(wasmtime::Error);
