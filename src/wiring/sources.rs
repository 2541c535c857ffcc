//! The sources of pipelines: each slot is read once, however many pipelines read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{PipelineSettings, Settings};
use crate::edges::{ChangeCapture, Failure, SharedSource};
use crate::postgres::{Postgres, PostgresOptions, PostgresTenant};
use crate::tenants::{SharedCapture, SharingOptions};

/// What is kept for a pipeline that shares a slot and does not say how much: enough for hours, and an end before a disk is full.
const SHARED_MAX_LAG: u64 = 10 << 30;

/// The captures of pipelines.
pub(super) struct Sources {
    /// By the source's name and the slot.
    slots: BTreeMap<(String, String), Slot>,
}

/// One slot.
struct Slot {
    postgres: Arc<Postgres>,
    shared: Arc<SharedCapture>,
    captures: BTreeMap<String, Result<Arc<dyn ChangeCapture>, Failure>>,
}

impl Sources {
    /// Names to each slot all the pipelines that will read it. What keeps one of them from it is kept for its
    /// [`capture`](Self::capture).
    pub(super) fn new(settings: &Settings) -> Self {
        let mut readers: BTreeMap<(String, String), Vec<&PipelineSettings>> = BTreeMap::new();
        for pipeline in &settings.pipelines {
            readers.entry((pipeline.source.clone(), pipeline.slot.clone())).or_default().push(pipeline);
        }
        let mut slots = BTreeMap::new();
        for (key, pipelines) in readers {
            let options = |pipeline: &PipelineSettings| settings.postgres_options(pipeline);
            let Some(first) = pipelines.first() else { continue };
            // Read by one pipeline, rows may come from another server than changes: then the stream waits for that one.
            let Ok(postgres) = Postgres::shared(options(first)) else { continue };
            if pipelines.len() == 1 && PostgresTenant::new(&postgres, options(first)).is_err() {
                continue;
            }
            let shared = SharedCapture::new(Arc::clone(&postgres) as Arc<dyn SharedSource>, SharingOptions::default());
            let mut slot = Slot { postgres, shared, captures: BTreeMap::new() };
            let max_lag = if pipelines.len() == 1 { u64::MAX } else { SHARED_MAX_LAG };
            for pipeline in pipelines {
                slot.add(pipeline, options(pipeline), max_lag);
            }
            slots.insert(key, slot);
        }
        Self { slots }
    }

    /// The capture of a pipeline, once.
    pub(super) fn capture(
        &mut self,
        settings: &Settings,
        pipeline: &PipelineSettings,
    ) -> Result<Arc<dyn ChangeCapture>, Failure> {
        let found = self.slot_of(pipeline).and_then(|slot| slot.captures.remove(&pipeline.name));
        match found {
            Some(capture) => capture,
            None => Ok(Postgres::new(settings.postgres_options(pipeline))?),
        }
    }

    /// What tells the other pipelines of its slot that a pipeline has ended, or is not coming.
    pub(super) fn neighbours(&mut self, pipeline: &PipelineSettings) -> Option<Arc<SharedCapture>> {
        self.slot_of(pipeline).map(|slot| Arc::clone(&slot.shared))
    }

    fn slot_of(&mut self, pipeline: &PipelineSettings) -> Option<&mut Slot> {
        self.slots.get_mut(&(pipeline.source.clone(), pipeline.slot.clone()))
    }
}

impl Slot {
    fn add(&mut self, pipeline: &PipelineSettings, options: PostgresOptions, max_lag: u64) {
        let max_lag = pipeline.max_lag.unwrap_or(max_lag);
        let rows = PostgresTenant::new(&self.postgres, options);
        let capture = rows.map(|rows| self.shared.tenant(&pipeline.name, max_lag, rows));
        self.captures.insert(pipeline.name.clone(), capture);
    }
}
