//! The sinks, each connected once: pipelines share one where its name and their index prefix are the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::config::{PipelineSettings, Settings, SinkSettings};
use crate::edges::{Failure, Sink};
use crate::ndjson::Ndjson;
use crate::opensearch::OpenSearch;

type Cell = Arc<OnceCell<Arc<dyn Sink>>>;

/// By name and prefix.
#[derive(Default)]
pub(super) struct Sinks {
    cells: Mutex<HashMap<(String, String), Cell>>,
}

impl Sinks {
    /// Lines are one stream, whatever indexes they are of.
    fn key(settings: &Settings, pipeline: &PipelineSettings) -> (String, String) {
        let prefix = match settings.sinks.get(&pipeline.sink) {
            Some(SinkSettings::Search(_)) => pipeline.index_prefix.clone(),
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
                    let mut options = search.options(&pipeline.index_prefix);
                    options.late_window = pipeline.late_window.unwrap_or(options.late_window);
                    OpenSearch::connect(options).await? as _
                }
                SinkSettings::Lines(path) => Ndjson::file(path)? as _,
                SinkSettings::Stdout => Ndjson::stdout() as _,
            })
        };
        cell.get_or_try_init(connect).await.cloned()
    }

    /// Lets go of those that none of these pipelines uses: their connections and files are closed, and made anew when they are wanted
    /// again, with the settings of then.
    pub(super) fn keep<'p>(&self, settings: &Settings, pipelines: impl Iterator<Item = &'p PipelineSettings>) {
        let used: Vec<_> = pipelines.map(|pipeline| Self::key(settings, pipeline)).collect();
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| used.contains(key));
    }
}
