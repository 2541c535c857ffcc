//! The sources of pipelines: each slot is read once, however many pipelines read it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{PipelineSettings, Settings};
use crate::edges::{ChangeCapture, Failure, SharedSource};
use crate::postgres::{Postgres, PostgresOptions, PostgresTenant};
use crate::tenants::{SharedCapture, SharingOptions};

/// What is kept for a pipeline that shares a slot and does not say how much: enough for hours, and an end before a disk is full.
const SHARED_MAX_LAG: u64 = 10 << 30;

/// The source's name, and the slot.
type Key = (String, String);

/// The captures of pipelines.
#[derive(Default)]
pub(super) struct Sources(Mutex<Known>);

#[derive(Default)]
struct Known {
    slots: HashMap<Key, Slot>,
    /// Which slot each pipeline shares.
    of: HashMap<String, Key>,
}

/// One slot.
struct Slot {
    options: PostgresOptions,
    postgres: Arc<Postgres>,
    shared: Arc<SharedCapture>,
}

impl Sources {
    /// Names to each slot all the pipelines that will read it, so that they begin together, and what a paused one has not
    /// confirmed is kept.
    pub(super) fn expect(&self, settings: &Settings) {
        let mut known = self.lock();
        for pipeline in &settings.pipelines {
            // What keeps one from it is said when it starts.
            if let Ok(Some(slot)) = known.slot(settings, pipeline) {
                slot.shared.expect(&pipeline.name, max_lag(settings, pipeline));
                if pipeline.paused {
                    slot.shared.not_coming(&pipeline.name);
                }
            }
        }
    }

    /// The capture of a pipeline that starts.
    pub(super) fn capture(
        &self,
        settings: &Settings,
        pipeline: &PipelineSettings,
    ) -> Result<Arc<dyn ChangeCapture>, Failure> {
        let options = settings.postgres_options(pipeline);
        let mut known = self.lock();
        let Some(slot) = known.slot(settings, pipeline)? else { return Ok(Postgres::new(options)?) };
        let rows = PostgresTenant::new(&slot.postgres, options)?;
        Ok(slot.shared.tenant(&pipeline.name, max_lag(settings, pipeline), rows))
    }

    /// A pipeline has ended: the others need not wait for it. What it has not confirmed is kept.
    pub(super) fn ended(&self, name: &str) {
        if let Some(slot) = self.lock().slot_of(name) {
            slot.shared.not_coming(name);
        }
    }

    /// There is no such pipeline any more, or it reads elsewhere: nothing is kept for it here.
    pub(super) fn remove(&self, name: &str) {
        let mut known = self.lock();
        if let Some(slot) = known.slot_of(name) {
            slot.shared.remove(name);
        }
        known.of.remove(name);
        let Known { slots, of } = &mut *known;
        slots.retain(|key, _| of.values().any(|used| used == key));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The slot that a pipeline shares, made when it is the first; `None` for one that reads rows from another server than changes
    /// and has its slot for itself: then its own stream waits for that server.
    fn slot(&mut self, settings: &Settings, pipeline: &PipelineSettings) -> Result<Option<&Slot>, Failure> {
        let (name, key) = (&pipeline.name, key(pipeline));
        let own = settings.postgres_options(pipeline);
        let PostgresOptions { schema, rows_per_call_max, bytes_per_call_max, .. } = PostgresOptions::default();
        let options =
            PostgresOptions { reader_url: None, schema, rows_per_call_max, bytes_per_call_max, ..own.clone() };
        if let Some(before) = self.of.get(name).filter(|before| **before != key)
            && let Some(slot) = self.slots.get(before)
        {
            slot.shared.remove(name);
        }
        // Other settings of the source: all its pipelines start again.
        self.slots.retain(|known, slot| *known != key || slot.options == options);
        if !self.slots.contains_key(&key) {
            let postgres = Postgres::shared(options.clone())?;
            if readers(settings, pipeline) == 1 && PostgresTenant::new(&postgres, own).is_err() {
                return Ok(None);
            }
            let shared = SharedCapture::new(Arc::clone(&postgres) as Arc<dyn SharedSource>, SharingOptions::default());
            self.slots.insert(key.clone(), Slot { options, postgres, shared });
        }
        self.of.insert(name.clone(), key.clone());
        Ok(self.slots.get(&key))
    }

    fn slot_of(&self, name: &str) -> Option<&Slot> {
        self.slots.get(self.of.get(name)?)
    }
}

fn key(pipeline: &PipelineSettings) -> Key {
    (pipeline.source.clone(), pipeline.slot.clone())
}

/// How many pipelines read its slot.
fn readers(settings: &Settings, pipeline: &PipelineSettings) -> usize {
    settings.pipelines.iter().filter(|other| key(other) == key(pipeline)).count()
}

fn max_lag(settings: &Settings, pipeline: &PipelineSettings) -> u64 {
    let shared = readers(settings, pipeline) > 1;
    pipeline.max_lag.unwrap_or(if shared { SHARED_MAX_LAG } else { u64::MAX })
}
