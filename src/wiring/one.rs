//! One pipeline on its way: its builder is loaded, its sink reached, its engine run.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use super::builders::Builders;
use super::sinks::Sinks;
use super::sources::Sources;
use super::{Ended, Trouble};
use crate::Engine;
use crate::config::{PipelineSettings, Settings};
use crate::edges::{DocumentBuilder, Failure, FailureClass, Observer, Sink, Waiting};
use crate::pipeline::Summary;
use crate::telemetry::{All, Log, PipelineMetrics, Progress, Screen, Status};
use crate::wasm::WasmBuilder;

/// Between two attempts to reach a sink that does not answer; it doubles.
const RECONNECT_FIRST: Duration = Duration::from_millis(500);
const RECONNECT_LONGEST: Duration = Duration::from_secs(10);

/// Who is told of one pipeline.
pub(super) struct Watchers {
    pub(super) metrics: Arc<PipelineMetrics>,
    pub(super) status: Arc<Status>,
    pub(super) screen: Screen,
}

/// A builder, or the turn to load it.
pub(super) enum Build {
    Loaded(Arc<WasmBuilder>),
    Turn(Turn),
}

/// A place in the line of those that load a builder: one is loaded at a time, in the order in which pipelines were started, so that of two
/// that would write the same index it is always the same one that is refused.
pub(super) enum Turn {
    Now(OwnedMutexGuard<Builders>),
    Later(Pin<Box<dyn Future<Output = OwnedMutexGuard<Builders>> + Send>>),
}

impl Turn {
    /// Stands in line.
    pub(super) fn take(builders: &Arc<Mutex<Builders>>) -> Self {
        let mut waiting = Box::pin(Arc::clone(builders).lock_owned());
        // Asked once, it has its place; however many are asked for at once.
        match tokio::task::unconstrained(waiting.as_mut()).now_or_never() {
            Some(builders) => Turn::Now(builders),
            None => Turn::Later(waiting),
        }
    }

    async fn come(self) -> OwnedMutexGuard<Builders> {
        match self {
            Turn::Now(builders) => builders,
            Turn::Later(waiting) => waiting.await,
        }
    }
}

/// One run of a pipeline, from its builder to its end.
pub(super) struct One {
    pub(super) settings: Arc<Settings>,
    pub(super) pipeline: PipelineSettings,
    pub(super) builder: Build,
    pub(super) sinks: Arc<Sinks>,
    pub(super) sources: Arc<Sources>,
    pub(super) watchers: Watchers,
    /// Ends it in order.
    pub(super) stop: CancellationToken,
}

impl One {
    pub(super) async fn run(self) -> Ended {
        let name = self.pipeline.name.clone();
        let observer: Arc<dyn Observer> = Arc::new(All(vec![
            Arc::new(Log::new(&*name)),
            Arc::clone(&self.watchers.metrics) as _,
            Arc::clone(&self.watchers.status) as _,
            Arc::new(Progress::new(&*name, self.watchers.screen.clone())),
        ]));
        let Self { settings, pipeline, builder, sinks, sources, watchers, stop } = self;
        let running = Running { settings, pipeline, sinks, sources, stop };
        let result = match running.load(builder, &*observer).await {
            Ok(Some(builder)) => {
                watchers.status.builder_is(&builder.version().0);
                running.engine(builder, observer).await.map_err(Trouble::Running)
            }
            Ok(None) => Ok(Summary::default()),
            Err(failure) => Err(Trouble::Configuration(failure)),
        };
        Ended { pipeline: name, result }
    }
}

/// What it takes to run it.
struct Running {
    settings: Arc<Settings>,
    pipeline: PipelineSettings,
    sinks: Arc<Sinks>,
    sources: Arc<Sources>,
    stop: CancellationToken,
}

impl Running {
    /// Its builder; `None` when told to stop first.
    async fn load(&self, builder: Build, observer: &dyn Observer) -> Result<Option<Arc<WasmBuilder>>, Failure> {
        let turn = match builder {
            Build::Loaded(builder) => return Ok(Some(builder)),
            Build::Turn(turn) => turn,
        };
        let loading = async { turn.come().await.load(&self.pipeline).await };
        tokio::select! {
            builder = loading => builder.map(Some).inspect_err(|failure| observer.on_guest_failed(failure)),
            () = self.stop.cancelled() => Ok(None),
        }
    }

    async fn engine(self, builder: Arc<WasmBuilder>, observer: Arc<dyn Observer>) -> Result<Summary, Failure> {
        let pipeline = &self.pipeline;
        let source = self.sources.capture(&self.settings, pipeline)?;
        let Some(sink) = self.reach_sink(&*observer).await? else { return Ok(Summary::default()) };
        Engine::new(source, builder, sink)
            .with_name(&*pipeline.name)
            .with_schema(&*pipeline.schema)
            .with_observer(observer)
            .with_limits(self.settings.flow_limits(pipeline))
            .with_batch(pipeline.batch)
            .with_failure_policies(pipeline.on_rejected.clone())
            .with_on_lost_slot(pipeline.on_lost_slot)
            .skip_backfill(pipeline.skip_backfill)
            .with_shutdown(self.stop.clone())
            .run()
            .await
    }

    /// The sink, however long it takes to answer; `None` when told to stop first.
    async fn reach_sink(&self, observer: &dyn Observer) -> Result<Option<Arc<dyn Sink>>, Failure> {
        let mut pause = RECONNECT_FIRST;
        loop {
            let failure = tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                sink = self.sinks.get(&self.settings, &self.pipeline) => match sink {
                    Ok(sink) => {
                        observer.on_waiting(None);
                        return Ok(Some(sink));
                    }
                    Err(failure) => failure,
                },
            };
            observer.on_error(&failure);
            if failure.class != FailureClass::Transient {
                return Err(failure);
            }
            observer.on_waiting(Some(Waiting::Sink));
            observer.on_retry("sink.connect", failure.message());
            tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RECONNECT_LONGEST),
            }
        }
    }
}
