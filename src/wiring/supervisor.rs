//! The supervisor: owns the running pipelines by name, and starts, pauses and ends them as it is told.
//!
//! ```text
//! start ─▶ running ─┬─ told to pause ─▶ drains, confirms ─▶ paused ─┬─ resume ─▶ start
//!                   ├─ fails on too many documents ──────▶ paused ─┘
//!                   └─ fails otherwise ─▶ failed ── resume ─▶ start
//! ```
//!
//! A paused pipeline holds its place: its slot, its indexes, its entry in the status. Commands are done one after the other, each to its
//! end; pipelines run on meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::builders::Builders;
use super::one::{Build, One, Turn, Watchers};
use super::sinks::Sinks;
use super::sources::Sources;
use super::{Ended, Trouble};
use crate::config::{PipelineSettings, Settings};
use crate::edges::Failure;
use crate::pipeline::Summary;
use crate::server::{Ask, Command, Refusal};
use crate::telemetry::{Metrics, PausedBy, PipelineMetrics, Roster, Screen, Status};
use crate::wasm::WasmBuilder;

pub(super) struct Supervisor {
    pub(super) settings: Arc<Settings>,
    pub(super) builders: Arc<Mutex<Builders>>,
    pub(super) sinks: Arc<Sinks>,
    sources: Arc<Sources>,
    pub(super) metrics: Metrics,
    pub(super) roster: Roster,
    pub(super) pipelines: BTreeMap<String, Pipeline>,
    running: JoinSet<Ended>,
    names: HashMap<Id, String>,
    screen: Screen,
    shutdown: CancellationToken,
}

/// What is known of one pipeline.
pub(super) struct Pipeline {
    pub(super) standing: Standing,
    status: Arc<Status>,
    metrics: Arc<PipelineMetrics>,
    /// How it ended last.
    last: Option<Result<Summary, Trouble>>,
}

/// Where it is in its life.
pub(super) enum Standing {
    Running(CancellationToken),
    Paused(PausedBy),
    Over,
}

impl Pipeline {
    pub(super) fn is_running(&self) -> bool {
        matches!(self.standing, Standing::Running(_))
    }

    fn pause(&mut self, by: PausedBy, failure: Option<&Failure>) {
        self.standing = Standing::Paused(by);
        self.status.paused(by, failure);
        self.metrics.ended();
        self.metrics.paused(true);
    }
}

impl Supervisor {
    /// With no pipeline yet.
    pub(super) fn new(
        settings: Arc<Settings>,
        metrics: Metrics,
        roster: Roster,
        screen: Screen,
        shutdown: CancellationToken,
    ) -> Result<Self, Failure> {
        let builders = Arc::new(Mutex::new(Builders::new(&settings, true)?));
        Ok(Self {
            settings,
            builders,
            sinks: Arc::default(),
            sources: Arc::default(),
            metrics,
            roster,
            pipelines: BTreeMap::new(),
            running: JoinSet::new(),
            names: HashMap::new(),
            screen,
            shutdown,
        })
    }

    /// Runs all pipelines until `shutdown`, or until none runs and none is paused; how each of them ended.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, reload: Arc<Notify>) -> Vec<Ended> {
        let settings = Arc::clone(&self.settings);
        self.sources.expect(&settings);
        for pipeline in &settings.pipelines {
            self.add(&pipeline.name);
            match pipeline.paused {
                true => self.pause_as_configured(&pipeline.name),
                false => self.start(pipeline, None),
            }
        }
        let shutdown = self.shutdown.clone();
        while self.pipelines.values().any(|pipeline| !matches!(pipeline.standing, Standing::Over)) {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(joined) = self.running.join_next_with_id() => self.ended(joined),
                Some(command) = commands.recv() => tokio::select! {
                    () = self.obey(command) => {}
                    // What a command waits for must not hold up the end: a compilation, a pipeline that drains.
                    () = shutdown.cancelled() => {}
                },
                () = reload.notified() => tokio::select! {
                    () = self.reload_for_a_signal() => {}
                    () = shutdown.cancelled() => {}
                },
            }
        }
        while let Some(joined) = self.running.join_next_with_id().await {
            self.ended(joined);
        }
        let ended = |(pipeline, known): (String, Pipeline)| Ended {
            pipeline,
            result: known.last.unwrap_or_else(|| Ok(Summary::default())),
        };
        self.pipelines.into_iter().map(ended).collect()
    }

    async fn obey(&mut self, command: Command) {
        let answer = match &command.ask {
            Ask::Pause(name) => self.pause(name).await,
            Ask::Resume(name) => self.resume(name),
            Ask::Reload => self.reload().await,
        };
        // Whoever asked may have gone away.
        let _ = command.answer.send(answer);
    }

    async fn pause(&mut self, name: &str) -> Result<Value, Refusal> {
        match &self.known(name)?.standing {
            Standing::Paused(PausedBy::Operator) => return Ok(json!({ "pipeline": name, "changed": false })),
            Standing::Paused(_) => {}
            Standing::Over => {
                let found = format!("pipeline {name} does not run: it ended with a failure");
                return Err(Refusal::conflict(format!("{found}; resume starts it again")));
            }
            Standing::Running(_) => self.stop(&[name]).await,
        }
        let pipeline = self.known(name)?;
        // It may have failed while it drained: what was not confirmed comes again, so pausing it is done all the same.
        if let Some(Err(trouble)) = &pipeline.last {
            tracing::warn!(pipeline = %name, "paused, and it did not end in order: {}", trouble.failure().chain());
        }
        pipeline.pause(PausedBy::Operator, None);
        tracing::info!(pipeline = %name, "paused by an operator");
        Ok(json!({ "pipeline": name, "changed": true }))
    }

    fn resume(&mut self, name: &str) -> Result<Value, Refusal> {
        if self.known(name)?.is_running() {
            return Ok(json!({ "pipeline": name, "changed": false }));
        }
        let settings = Arc::clone(&self.settings);
        if let Some(pipeline) = settings.pipelines.iter().find(|pipeline| pipeline.name == name) {
            self.start(pipeline, None);
        }
        tracing::info!(pipeline = %name, "resumed by an operator");
        Ok(json!({ "pipeline": name, "changed": true }))
    }

    fn known(&mut self, name: &str) -> Result<&mut Pipeline, Refusal> {
        let known = self.pipelines.keys().cloned().collect::<Vec<_>>().join(", ");
        let unknown = || Refusal::unknown(format!("there is no pipeline {name}; known: {known}"));
        self.pipelines.get_mut(name).ok_or_else(unknown)
    }

    /// A pipeline that does not run yet.
    pub(super) fn add(&mut self, name: &str) {
        let status = Status::new(name);
        self.roster.add(Arc::clone(&status));
        let metrics = Arc::new(self.metrics.pipeline(name));
        let pipeline = Pipeline { standing: Standing::Over, status, metrics, last: None };
        self.pipelines.insert(name.to_owned(), pipeline);
    }

    /// Nothing of it is left here; what it has in the source and the sink stays.
    pub(super) fn remove(&mut self, name: &str) {
        self.pipelines.remove(name);
        self.sources.remove(name);
        self.roster.remove(name);
        self.metrics.forget(name);
    }

    pub(super) fn pause_as_configured(&mut self, name: &str) {
        if let Some(pipeline) = self.pipelines.get_mut(name) {
            pipeline.pause(PausedBy::Configuration, None);
            tracing::info!(pipeline = %name, "paused by its configuration");
        }
    }

    pub(super) fn start(&mut self, settings: &PipelineSettings, builder: Option<Arc<WasmBuilder>>) {
        let Some(pipeline) = self.pipelines.get_mut(&settings.name) else { return };
        let stop = self.shutdown.child_token();
        pipeline.status.starting();
        pipeline.metrics.starting();
        pipeline.standing = Standing::Running(stop.clone());
        let one = One {
            settings: Arc::clone(&self.settings),
            pipeline: settings.clone(),
            builder: builder.map_or_else(|| Build::Turn(Turn::take(&self.builders)), Build::Loaded),
            sinks: Arc::clone(&self.sinks),
            sources: Arc::clone(&self.sources),
            watchers: Watchers {
                metrics: Arc::clone(&pipeline.metrics),
                status: Arc::clone(&pipeline.status),
                screen: self.screen.clone(),
            },
            stop,
        };
        self.names.insert(self.running.spawn(one.run()).id(), settings.name.clone());
    }

    /// Ends these in order, those of them that run, beside each other; how long that takes is bounded by their `drain_for`.
    pub(super) async fn stop(&mut self, names: &[&str]) {
        for name in names {
            if let Some(Pipeline { standing: Standing::Running(stop), .. }) = self.pipelines.get(*name) {
                stop.cancel();
            }
        }
        let runs = |this: &Self, name: &&str| this.pipelines.get(*name).is_some_and(Pipeline::is_running);
        while names.iter().any(|name| runs(self, name)) {
            let Some(joined) = self.running.join_next_with_id().await else { return };
            self.ended(joined);
        }
    }

    fn ended(&mut self, joined: Result<(Id, Ended), JoinError>) {
        let (id, result) = match joined {
            Ok((id, ended)) => (id, ended.result),
            // A mistake of docmill in one pipeline; the others go on.
            Err(error) => {
                let id = error.id();
                let failure = Failure::fatal("the pipeline ended by an internal error").with_source(error);
                (id, Err(Trouble::Running(failure)))
            }
        };
        let one_of_many = self.pipelines.len() > 1;
        let Some(name) = self.names.remove(&id) else { return };
        self.sources.ended(&name);
        let Some(pipeline) = self.pipelines.get_mut(&name) else { return };
        let failure = result.as_ref().err().map(Trouble::failure);
        match failure {
            Some(failure) if failure.pauses() && !self.shutdown.is_cancelled() => {
                tracing::error!(pipeline = %name, "paused: {}", failure.chain());
                pipeline.pause(PausedBy::Failures, Some(failure));
            }
            failure => {
                // The only one is in the report, which comes at once.
                if let Some(failure) = failure
                    && one_of_many
                {
                    tracing::error!(pipeline = %name, "the pipeline ended: {}", failure.chain());
                }
                pipeline.standing = Standing::Over;
                pipeline.status.ended(failure);
                pipeline.metrics.ended();
            }
        }
        pipeline.last = Some(result);
    }
}
