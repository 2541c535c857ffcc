//! The sinks, each connected once: pipelines of one search engine share its connections and the bounds on what is under way, and
//! those with one prefix all of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::config::{PipelineSettings, SearchSettings, Settings, SinkSettings};
use crate::edges::{Failure, Sink};
use crate::ndjson::Ndjson;
use crate::opensearch::OpenSearch;

type Cell<T> = Arc<OnceCell<Arc<T>>>;

/// See the module.
#[derive(Default)]
pub(super) struct Sinks {
    /// By name and prefix.
    cells: Mutex<HashMap<(String, String), Cell<dyn Sink>>>,
    /// By name.
    engines: Mutex<HashMap<String, Cell<OpenSearch>>>,
}

impl Sinks {
    /// Lines are one stream, whatever indexes they are of.
    fn key(settings: &Settings, pipeline: &PipelineSettings) -> (String, String) {
        let prefix = match settings.sinks.get(&pipeline.sink) {
            // What its builder may ask for is part of the sink.
            Some(SinkSettings::Search(_)) => {
                format!("{}\n{}", pipeline.index_prefix, pipeline.allow_settings.join("\n"))
            }
            _ => String::new(),
        };
        (pipeline.sink.clone(), prefix)
    }

    pub(super) async fn get(&self, settings: &Settings, pipeline: &PipelineSettings) -> Result<Arc<dyn Sink>, Failure> {
        let unknown = || Failure::fatal(format!("there is no sink {}", pipeline.sink));
        let cell = {
            let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(cells.entry(Self::key(settings, pipeline)).or_default())
        };
        let connect = || async {
            Ok(match settings.sinks.get(&pipeline.sink).ok_or_else(unknown)? {
                SinkSettings::Search(search) => {
                    let engine = self.engine(settings, pipeline, search).await?;
                    engine.for_builder(&pipeline.index_prefix, &pipeline.allow_settings).await? as _
                }
                SinkSettings::Lines(path) => Ndjson::file(path)? as _,
                SinkSettings::Stdout => Ndjson::stdout() as _,
            })
        };
        cell.get_or_try_init(connect).await.cloned()
    }

    /// The search engine, under the prefix of whoever came first.
    async fn engine(
        &self,
        settings: &Settings,
        pipeline: &PipelineSettings,
        search: &SearchSettings,
    ) -> Result<Arc<OpenSearch>, Failure> {
        let cell = {
            let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(engines.entry(pipeline.sink.clone()).or_default())
        };
        let mut options = search.options_for(pipeline);
        // It remembers deletions for as long as any of them needs.
        let windows = settings.pipelines.iter().filter(|other| other.sink == pipeline.sink);
        let windows = windows.map(|other| other.late_window.unwrap_or(options.late_window));
        options.late_window = windows.max().unwrap_or(options.late_window);
        cell.get_or_try_init(|| OpenSearch::connect(options)).await.cloned()
    }

    /// Lets go of those that none of these pipelines uses: their connections and files are closed, and made anew when they are wanted
    /// again, with the settings of then.
    pub(super) fn keep<'p>(&self, settings: &Settings, pipelines: impl Iterator<Item = &'p PipelineSettings>) {
        let used: Vec<_> = pipelines.map(|pipeline| Self::key(settings, pipeline)).collect();
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| used.contains(key));
        let engines = &mut *self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.retain(|name, _| used.iter().any(|(used, _)| used == name));
    }
}
