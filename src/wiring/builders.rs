//! The builders of pipelines, loaded one after the other.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::index_names::IndexNames;
use crate::config::{PipelineSettings, Settings};
use crate::edges::{DocumentBuilder, Failure, GuestEnd};
use crate::wasm::{CompiledCache, Compiler, Runtime, RuntimeOptions, WasmBuilder};

/// Loads builders, and sees that no two pipelines write the same index.
pub(super) struct Builders {
    runtime: Arc<Runtime>,
    /// What the process's runtime has room for; it cannot grow.
    memory_bytes_max: usize,
    claims: Claims,
}

/// What pipelines have taken.
#[derive(Clone)]
pub(super) struct Claims {
    /// Which pipeline writes which index.
    names: IndexNames,
    /// The hash of the component that a pipeline runs.
    components: BTreeMap<String, [u8; 32]>,
}

impl Builders {
    /// `cached` says whether compiled builders are kept for the next start.
    pub(super) fn new(settings: &Settings, cached: bool) -> Result<Self, Failure> {
        let defaults = RuntimeOptions::default();
        let largest = settings.pipelines.iter().map(memory).max().unwrap_or_default();
        let memory_bytes_max = defaults.memory_bytes_max.max(largest);
        let guests = &settings.guests;
        let cache = |directory: &PathBuf| CompiledCache {
            directory: directory.clone(),
            bytes_max: guests.compiled_cache_bytes,
        };
        let runtime = Runtime::new(RuntimeOptions {
            memory_bytes_max,
            calls_at_once: guests.calls_at_once,
            // Only the program itself comes here: what it is told to compile is not trusted.
            compiler: Compiler::this_program(),
            cache: guests.compiled_cache.as_ref().filter(|_| cached).map(cache),
            ..defaults
        })?;
        Ok(Self {
            runtime,
            memory_bytes_max,
            claims: Claims { names: IndexNames::new(settings), components: BTreeMap::new() },
        })
    }

    /// Loads the builder of a pipeline, and claims its indexes for it.
    pub(super) async fn load(&mut self, pipeline: &PipelineSettings) -> Result<Arc<WasmBuilder>, Failure> {
        let PipelineSettings { name, limits, config, .. } = pipeline;
        if memory(pipeline) > self.memory_bytes_max {
            let (wanted, most) = (memory(pipeline), self.memory_bytes_max);
            let found =
                format!("limits.memory of pipeline {name} is {wanted} bytes, and this process has room for {most}");
            return Err(Failure::fatal(found).with_advice("start docmill again: the room is set aside at its start"));
        }
        let bytes = component(&pipeline.builder, limits.component_bytes)?;
        let builder = WasmBuilder::load(&self.runtime, &bytes, config.clone(), limits.clone(), name).await?;
        let indexes = || builder.declaration().indexes.iter();
        let mut names = self.claims.names.clone();
        names.release(name);
        names.take(pipeline, indexes().map(|index| index.name.as_str()))?;
        let declared = |index: &String| builder.declaration().index(index).is_some();
        if let Some(index) = pipeline.on_rejected.indexes.keys().find(|index| !declared(index)) {
            let known: Vec<_> = indexes().map(|index| index.name.as_str()).collect();
            let failure = Failure::fatal(format!("on_rejected of pipeline {name} names index {index}"));
            return Err(failure.with_advice(format!("its builder declares {}", known.join(", "))));
        }
        self.claims.names = names;
        self.claims.components.insert(name.clone(), Sha256::digest(&bytes).into());
        Ok(builder)
    }

    /// Whether the file of a pipeline's builder is not the one that it runs.
    pub(super) fn is_another(&self, pipeline: &PipelineSettings) -> bool {
        let bytes = component(&pipeline.builder, pipeline.limits.component_bytes);
        let hash: Option<[u8; 32]> = bytes.ok().map(|bytes| Sha256::digest(bytes).into());
        hash.is_none() || hash.as_ref() != self.claims.components.get(&pipeline.name)
    }

    /// What pipelines have taken, to be changed or put back.
    pub(super) fn claims(&mut self) -> &mut Claims {
        &mut self.claims
    }
}

impl Claims {
    /// These settings' pipelines are the ones that there are.
    pub(super) fn expect(&mut self, settings: &Settings) {
        self.names.expect(settings);
    }

    /// Nothing is that pipeline's any more.
    pub(super) fn release(&mut self, pipeline: &str) {
        self.names.release(pipeline);
        self.components.remove(pipeline);
    }
}

/// What a builder may have, whichever form its rows take.
fn memory(pipeline: &PipelineSettings) -> usize {
    pipeline.limits.memory_bytes.max(pipeline.limits.json_memory_bytes)
}

/// The bytes of a component, at most `bytes_max`, so that a wrong path cannot fill the memory.
fn component(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let shown = path.display();
    let refused = |error: std::io::Error| Failure::fatal(format!("failed to read builder {shown}")).with_source(error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(refused)?;
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() > bytes_max {
        let failure = Failure::fatal(format!("builder {shown} has more than {bytes_max} bytes"));
        let failure = failure.of_guest(GuestEnd::Limit("component_bytes"));
        return Err(failure.with_advice("build it smaller, or raise `component` in the pipeline's limits"));
    }
    Ok(bytes)
}
