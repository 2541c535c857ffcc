//! Reload: the configuration is read again, and only what it says anew is done. Everything that can be wrong is looked at first: with a
//! problem nothing changes.
//!
//! ```text
//! file ─▶ Settings ─▶ differences ─▶ builders of what is new or changed, loaded ─▶ end what is gone or changed ─▶ start
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::supervisor::{Standing, Supervisor};
use crate::config::{self, Loaded, PipelineSettings, Settings};
use crate::server::Refusal;
use crate::telemetry::PausedBy;

/// What is to be done, by names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Differences {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
    same: Vec<String>,
}

impl Supervisor {
    /// For SIGHUP: what came of it is in the log only.
    pub(super) async fn reload_for_a_signal(&mut self) {
        if let Err(refusal) = self.reload().await {
            tracing::error!("the configuration is not reloaded, and everything runs on as it was: {refusal}");
        }
    }

    pub(super) async fn reload(&mut self) -> Result<Value, Refusal> {
        let file = self.settings.file.clone();
        let Loaded { settings, warnings } = config::load(&file).map_err(|problems| {
            Refusal::invalid(format!("{} has problems", file.display()), problems.lines().collect())
        })?;
        let differences = self.differences(&settings).await;
        let mut ready = self.load(&settings, &differences).await?;
        let mut notes = warnings;
        if settings.server != self.settings.server {
            notes.push("what changed in [server] takes effect at the next start".to_owned());
        }
        self.end(&differences).await;
        self.settings = Arc::new(settings);
        let now = Arc::clone(&self.settings);
        let kept = now.pipelines.iter().filter(|pipeline| differences.same.contains(&pipeline.name));
        self.sinks.keep(&now, kept);
        for name in &differences.removed {
            self.remove(name);
        }
        for name in &differences.added {
            self.add(name);
        }
        for pipeline in &now.pipelines {
            self.begin(pipeline, &differences, ready.remove(&pipeline.name)).await;
        }
        let Differences { added, removed, changed, same } = differences;
        tracing::info!(?added, ?removed, restarted = ?changed, "the configuration was reloaded");
        Ok(json!({ "added": added, "removed": removed, "restarted": changed, "unchanged": same, "notes": notes }))
    }

    async fn differences(&self, new: &Settings) -> Differences {
        let builders = self.builders.lock().await;
        let mut differences = Differences::default();
        for pipeline in &new.pipelines {
            let name = pipeline.name.clone();
            let Some(known) = self.pipelines.get(&name) else {
                differences.added.push(name);
                continue;
            };
            // One that waits without a builder loads it when it starts.
            let waits = matches!(known.standing, Standing::Paused(PausedBy::Configuration | PausedBy::Operator));
            let another = !waits && builders.is_another(pipeline);
            match another || !self.settings.runs_alike(new, &name) {
                true => differences.changed.push(name),
                false => differences.same.push(name),
            }
        }
        let is_gone = |name: &&String| !new.pipelines.iter().any(|pipeline| pipeline.name == **name);
        differences.removed = self.pipelines.keys().filter(is_gone).cloned().collect();
        differences
    }

    /// The builders of what is added or changed, or everything that is wrong with them.
    async fn load(
        &self,
        new: &Settings,
        differences: &Differences,
    ) -> Result<BTreeMap<String, Arc<crate::wasm::WasmBuilder>>, Refusal> {
        let mut builders = self.builders.lock().await;
        let before = builders.claims().clone();
        builders.claims().expect(new);
        let Differences { added, removed, changed, .. } = differences;
        removed.iter().chain(changed).for_each(|name| builders.claims().release(name));
        let (mut ready, mut problems) = (BTreeMap::new(), Vec::new());
        for pipeline in &new.pipelines {
            if !added.contains(&pipeline.name) && !changed.contains(&pipeline.name) {
                continue;
            }
            match builders.load(pipeline).await {
                Ok(builder) => drop(ready.insert(pipeline.name.clone(), builder)),
                Err(failure) => problems.push(format!("pipeline {}: {}", pipeline.name, failure.chain())),
            }
        }
        if problems.is_empty() {
            return Ok(ready);
        }
        *builders.claims() = before;
        Err(Refusal::invalid(format!("{} has problems", new.file.display()), problems))
    }

    async fn end(&mut self, differences: &Differences) {
        let ending: Vec<&str> = differences.removed.iter().chain(&differences.changed).map(String::as_str).collect();
        self.stop(&ending).await;
    }

    /// Starts or pauses a pipeline as the new settings and the operator say.
    async fn begin(
        &mut self,
        pipeline: &PipelineSettings,
        differences: &Differences,
        builder: Option<Arc<crate::wasm::WasmBuilder>>,
    ) {
        let name = &pipeline.name;
        let Some(known) = self.pipelines.get(name) else { return };
        let same = differences.same.contains(name);
        match (&known.standing, pipeline.paused) {
            (Standing::Paused(PausedBy::Operator), _) | (Standing::Paused(PausedBy::Configuration), true) => {}
            (_, true) => {
                self.stop(&[name]).await;
                self.pause_as_configured(name);
            }
            (Standing::Paused(PausedBy::Configuration), false) => self.start(pipeline, builder),
            // What failed fails again, unless something about it is another.
            (Standing::Paused(PausedBy::Failures) | Standing::Over | Standing::Running(_), false) if same => {}
            (_, false) => self.start(pipeline, builder),
        }
    }
}
