//! The builders of pipelines, loaded one after the other.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{PipelineSettings, Settings};
use crate::edges::{DocumentBuilder, Failure};
use crate::wasm::{CompiledCache, Compiler, Runtime, RuntimeOptions, WasmBuilder};

/// Loads builders, and sees that no two pipelines write the same index.
pub(super) struct Builders {
    runtime: Arc<Runtime>,
    /// Which pipeline writes it, by sink and full name of the index.
    writers: BTreeMap<(String, String), String>,
}

impl Builders {
    /// `cached` says whether compiled builders are kept for the next start.
    pub(super) fn new(settings: &Settings, cached: bool) -> Result<Self, Failure> {
        let defaults = RuntimeOptions::default();
        let memory = |pipeline: &PipelineSettings| pipeline.limits.memory_bytes.max(pipeline.limits.json_memory_bytes);
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
        Ok(Self { runtime, writers: BTreeMap::new() })
    }

    pub(super) async fn load(&mut self, pipeline: &PipelineSettings) -> Result<Arc<WasmBuilder>, Failure> {
        let PipelineSettings { name, limits, config, .. } = pipeline;
        let bytes = component(&pipeline.builder, limits.component_bytes)?;
        let builder = WasmBuilder::load(&self.runtime, &bytes, config.clone(), limits.clone(), name).await?;
        for index in builder.declaration().indexes.iter() {
            let full = format!("{}{}", pipeline.index_prefix, index.name);
            if let Some(other) = self.writers.insert((pipeline.sink.clone(), full.clone()), name.clone()) {
                let failure = Failure::fatal(format!("pipelines {other} and {name} would both write index {full}"));
                return Err(failure.with_advice("give one of them an `index_prefix` or another sink"));
            }
        }
        let declared = |index: &String| builder.declaration().index(index).is_some();
        if let Some(index) = pipeline.on_rejected.indexes.keys().find(|index| !declared(index)) {
            let known: Vec<_> = builder.declaration().indexes.iter().map(|index| index.name.as_str()).collect();
            let failure = Failure::fatal(format!("on_rejected of pipeline {name} names index {index}"));
            return Err(failure.with_advice(format!("its builder declares {}", known.join(", "))));
        }
        Ok(builder)
    }
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
        return Err(failure.with_advice("build it smaller, or raise `component` in the pipeline's limits"));
    }
    Ok(bytes)
}
