//! Settings become running pipelines. The only place that names PostgreSQL, WebAssembly and the sinks
//! together.
//!
//! ```text
//! Settings ─▶ builders, one after the other ─▶ per pipeline: sink (shared by name and prefix), source ─▶ Engine::run
//!                                              └─ observers: log, metrics, status, progress ─▶ server
//! ```
//!
//! Pipelines run beside each other; one that fails is reported, and the others go on.

mod builders;
mod check;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Engine;
use crate::config::{PipelineSettings, Settings, SinkSettings};
use crate::edges::{DocumentBuilder, Failure, FailureClass, Observer, Sink, Waiting};
use crate::ndjson::Ndjson;
use crate::opensearch::OpenSearch;
use crate::pipeline::Summary;
use crate::postgres::Postgres;
use crate::server::{Served, Server};
use crate::telemetry::{All, Log, Metrics, PipelineMetrics, Progress, Screen, Status};
use crate::wasm::WasmBuilder;
use builders::Builders;
pub use check::check;

/// Between two attempts to reach a sink that does not answer; it doubles.
const RECONNECT_FIRST: Duration = Duration::from_millis(500);
const RECONNECT_LONGEST: Duration = Duration::from_secs(10);

/// How long open requests may take when everything else has ended.
const SERVER_GRACE: Duration = Duration::from_secs(2);

/// How a pipeline ended.
#[derive(Debug)]
pub struct Ended {
    /// Its name.
    pub pipeline: String,
    /// What it did, or why it ended.
    pub result: Result<Summary, Trouble>,
}

/// Why a pipeline ended by itself.
#[derive(Debug)]
pub enum Trouble {
    /// It never began: its builder, or what it is to write, is not as it must be.
    Configuration(Failure),
    /// It failed while it ran.
    Running(Failure),
}

impl Trouble {
    /// What happened.
    pub fn failure(&self) -> &Failure {
        match self {
            Trouble::Configuration(failure) | Trouble::Running(failure) => failure,
        }
    }
}

/// Runs all pipelines until `shutdown`, or until none is left; how each of them ended.
///
/// # Errors
///
/// `Fatal` when the server's port or the runtime for guests cannot be had: then nothing was begun.
pub async fn run(settings: Settings, screen: Screen, shutdown: CancellationToken) -> Result<Vec<Ended>, Failure> {
    let settings = Arc::new(settings);
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
    let statuses: Vec<_> = settings.pipelines.iter().map(|pipeline| Status::new(&*pipeline.name)).collect();
    let served = Served { metrics: metrics.clone(), pipelines: statuses.clone().into() };
    let server = Server::bind(&settings.server.listen, &settings.server.names, served).await?;
    tracing::info!("serving /health, /ready, /metrics and /api/v1/status on http://{}", server.address());
    let serving = CancellationToken::new();
    let server = async {
        let late = async {
            serving.cancelled().await;
            tokio::time::sleep(SERVER_GRACE).await;
        };
        // Whoever does not finish a request must not hold up the end.
        tokio::select! {
            ended = server.run(serving.clone()) => ended,
            () = late => Ok(()),
        }
    };

    let pipelines = async {
        let ended = run_pipelines(&settings, &metrics, &statuses, &screen, &shutdown).await;
        serving.cancel();
        ended
    };
    let (ended, server) = tokio::join!(pipelines, server);
    if let Err(failure) = server {
        tracing::error!("{}", failure.chain());
    }
    ended
}

async fn run_pipelines(
    settings: &Arc<Settings>,
    metrics: &Metrics,
    statuses: &[Arc<Status>],
    screen: &Screen,
    shutdown: &CancellationToken,
) -> Result<Vec<Ended>, Failure> {
    let mut builders = Builders::new(settings, true)?;
    let sinks = Arc::new(Sinks::new(settings));
    let mut running = JoinSet::new();
    let mut names = HashMap::new();
    for (pipeline, status) in settings.pipelines.iter().zip(statuses) {
        let builder = tokio::select! {
            builder = builders.load(pipeline) => builder,
            () = shutdown.cancelled() => break,
        };
        if let Ok(builder) = &builder {
            status.builder_is(&builder.version().0);
        }
        let watchers = Watchers {
            metrics: Arc::new(metrics.pipeline(&pipeline.name)),
            status: Arc::clone(status),
            screen: screen.clone(),
        };
        let one = One {
            settings: Arc::clone(settings),
            pipeline: pipeline.clone(),
            sinks: Arc::clone(&sinks),
            shutdown: shutdown.clone(),
        };
        names.insert(running.spawn(one.run(builder, watchers)).id(), pipeline.name.clone());
    }
    let mut ended = Vec::new();
    while let Some(joined) = running.join_next_with_id().await {
        ended.push(match joined {
            Ok((_, one)) => one,
            // A mistake of docmill in one pipeline; the others go on.
            Err(error) => {
                let pipeline = names.get(&error.id()).cloned().unwrap_or_default();
                let failure = Failure::fatal("the pipeline ended by an internal error").with_source(error);
                Ended { pipeline, result: Err(Trouble::Running(failure)) }
            }
        });
    }
    Ok(ended)
}

/// Who is told of one pipeline.
struct Watchers {
    metrics: Arc<PipelineMetrics>,
    status: Arc<Status>,
    screen: Screen,
}

/// One pipeline on its way.
struct One {
    settings: Arc<Settings>,
    pipeline: PipelineSettings,
    sinks: Arc<Sinks>,
    shutdown: CancellationToken,
}

impl One {
    async fn run(self, builder: Result<Arc<WasmBuilder>, Failure>, watchers: Watchers) -> Ended {
        let name = self.pipeline.name.clone();
        let one_of_many = self.settings.pipelines.len() > 1;
        let observer: Arc<dyn Observer> = Arc::new(All(vec![
            Arc::new(Log::new(&*name)),
            Arc::clone(&watchers.metrics) as _,
            Arc::clone(&watchers.status) as _,
            Arc::new(Progress::new(&*name, watchers.screen.clone())),
        ]));
        let result = match builder {
            Ok(builder) => self.engine(builder, observer).await.map_err(Trouble::Running),
            Err(failure) => Err(Trouble::Configuration(failure)),
        };
        let failure = result.as_ref().err().map(Trouble::failure);
        // The only one is in the report, which comes at once.
        if let Some(failure) = failure
            && one_of_many
        {
            tracing::error!(pipeline = %name, "the pipeline ended: {}", failure.chain());
        }
        watchers.status.ended(failure);
        watchers.metrics.ended();
        Ended { pipeline: name, result }
    }

    async fn engine(self, builder: Arc<WasmBuilder>, observer: Arc<dyn Observer>) -> Result<Summary, Failure> {
        let pipeline = &self.pipeline;
        let source = Postgres::new(self.settings.postgres_options(pipeline))?;
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
            .with_shutdown(self.shutdown.clone())
            .run()
            .await
    }

    /// The sink, however long it takes to answer; `None` when told to stop first.
    async fn reach_sink(&self, observer: &dyn Observer) -> Result<Option<Arc<dyn Sink>>, Failure> {
        let mut pause = RECONNECT_FIRST;
        loop {
            let failure = tokio::select! {
                () = self.shutdown.cancelled() => return Ok(None),
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
                () = self.shutdown.cancelled() => return Ok(None),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RECONNECT_LONGEST),
            }
        }
    }
}

/// The sinks, each connected once: pipelines share one where its name and their index prefix are the same.
struct Sinks {
    cells: HashMap<(String, String), OnceCell<Arc<dyn Sink>>>,
}

impl Sinks {
    fn new(settings: &Settings) -> Self {
        let keys = settings.pipelines.iter().map(|pipeline| Self::key(settings, pipeline));
        Self { cells: keys.map(|key| (key, OnceCell::new())).collect() }
    }

    /// Lines are one stream, whatever indexes they are of.
    fn key(settings: &Settings, pipeline: &PipelineSettings) -> (String, String) {
        let prefix = match settings.sinks.get(&pipeline.sink) {
            Some(SinkSettings::Search(_)) => pipeline.index_prefix.clone(),
            _ => String::new(),
        };
        (pipeline.sink.clone(), prefix)
    }

    async fn get(&self, settings: &Settings, pipeline: &PipelineSettings) -> Result<Arc<dyn Sink>, Failure> {
        let unknown = || Failure::fatal(format!("there is no sink {}", pipeline.sink));
        let cell = self.cells.get(&Self::key(settings, pipeline)).ok_or_else(unknown)?;
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
}
