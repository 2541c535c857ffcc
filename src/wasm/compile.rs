//! From bytes to native code: looked at first, compiled once, one at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::failures::Cause;
use super::limits::Limits;
use super::runtime::Runtime;
use crate::edges::{Failure, GuestEnd};

/// What was compiled lately, and the turn of what is to be compiled.
#[derive(Default)]
pub(super) struct Compiled {
    /// By the hash of the bytes, the one used last at the end: the same file in many pipelines is compiled once.
    kept: Mutex<VecDeque<([u8; 32], Component)>>,
    /// Compiling takes all cores and cannot be interrupted: one at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Compiled components that are kept.
const KEPT_MAX: usize = 32;

impl Compiled {
    fn get(&self, hash: &[u8; 32]) -> Option<Component> {
        let mut kept = self.lock();
        let place = kept.iter().position(|(known, _)| known == hash)?;
        let entry = kept.remove(place)?;
        let component = entry.1.clone();
        kept.push_back(entry);
        Some(component)
    }

    fn put(&self, hash: [u8; 32], component: Component) {
        let mut kept = self.lock();
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((hash, component));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<([u8; 32], Component)>> {
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Compiles a component, unless it was lately.
///
/// # Errors
///
/// `Fatal`, saying which of the things that a file can be it is; `Transient` when another one takes too long.
pub(super) async fn compile(
    runtime: &Runtime,
    what: &str,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Component, Failure> {
    look_at(what, bytes, limits)?;
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    if let Some(component) = runtime.compiled.get(&hash) {
        return Ok(component);
    }
    let turn = Arc::clone(&runtime.compiled.turn).lock_owned();
    let turn = tokio::time::timeout(limits.compile, turn).await.map_err(|_| {
        Failure::transient(format!(
            "{what}: another component has been compiling for longer than the limit compile of {:?}",
            limits.compile
        ))
    })?;
    if let Some(component) = runtime.compiled.get(&hash) {
        return Ok(component);
    }
    let began = Instant::now();
    let (engine, bytes) = (runtime.engine.clone(), bytes.to_vec());
    let compiling = runtime.threads().spawn_blocking(move || {
        // It goes on when nobody waits any more, and keeps its turn until it is done.
        let _turn = turn;
        Component::from_binary(&engine, &bytes)
    });
    let component = match tokio::time::timeout(limits.compile, compiling).await {
        Ok(Ok(Ok(component))) => component,
        Ok(Ok(Err(error))) => {
            let message = format!("{what}: the component is damaged, or uses features that are switched off");
            return Err(Failure::fatal(message).with_source(Cause::from(error)));
        }
        Ok(Err(error)) => return Err(Failure::fatal(format!("{what}: compiling it failed")).with_source(error)),
        Err(_) => {
            let message = format!("{what}: compiling it takes longer than the limit compile of {:?}", limits.compile);
            let advice = "build it smaller, or raise `compile` in the pipeline's `limits`";
            return Err(Failure::fatal(message).of_guest(GuestEnd::Limit("compile")).with_advice(advice));
        }
    };
    tracing::debug!(took_ms = began.elapsed().as_millis() as u64, "{what}: compiled");
    runtime.compiled.put(hash, component.clone());
    Ok(component)
}

/// Says what is no component before anything parses it.
fn look_at(what: &str, bytes: &[u8], limits: &Limits) -> Result<(), Failure> {
    let refused = |found: String, advice: &str| Err(Failure::fatal(format!("{what}: {found}")).with_advice(advice));
    if bytes.len() > limits.component_bytes {
        let limit = limits.component_bytes;
        return refused(
            format!("its file of {} bytes is over the limit component_bytes of {limit}", bytes.len()),
            "strip it (`strip = true` in the release profile), or raise the limit",
        );
    }
    if Engine::detect_precompiled(bytes).is_some() {
        return refused(
            "its file is precompiled native code, which is never run".to_owned(),
            "give the .wasm component that it was made from",
        );
    }
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => refused(
            "its file is a core module, not a component".to_owned(),
            "link it with wasm-component-ld (sdk/README.md), or run `wasm-tools component new` on it",
        ),
        Some([0, b'a', b's', b'm', ..]) => refused(
            "its file is WebAssembly of a version that this host does not know".to_owned(),
            "build a component with a current toolchain",
        ),
        _ => refused(format!("its file of {} bytes is not WebAssembly", bytes.len()), "give the .wasm component"),
    }
}
