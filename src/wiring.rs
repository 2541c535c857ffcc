//! Settings become running pipelines. The only file that names PostgreSQL, WebAssembly and the sinks together.
//!
//! ```text
//! Settings ─▶ builders, one after the other ─▶ per pipeline: sink (shared by name and prefix), source ─▶ Engine::run
//!                                              └─ observers: log, metrics, status, progress ─▶ server
//! ```
//!
//! Pipelines run beside each other; one that fails is reported, and the others go on.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Engine;
use crate::config::{PipelineSettings, Settings, SinkSettings};
use crate::edges::{DocumentBuilder, Failure, FailureClass, Finding, Observer, Sink, Waiting};
use crate::ndjson::Ndjson;
use crate::opensearch::OpenSearch;
use crate::pipeline::{Summary, captured_tables};
use crate::postgres::{self, Postgres};
use crate::server::{Served, Server};
use crate::telemetry::{All, Log, Metrics, PipelineMetrics, Progress, Screen, Status};
use crate::wasm::{Runtime, RuntimeOptions, WasmBuilder};

/// Between two attempts to reach a sink that does not answer; it doubles.
const RECONNECT_FIRST: Duration = Duration::from_millis(500);
const RECONNECT_LONGEST: Duration = Duration::from_secs(30);

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
    let server = server.run(serving.clone());

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
    let mut builders = Builders::new(settings)?;
    let sinks = Arc::new(Sinks::new(settings));
    let mut running = JoinSet::new();
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
        running.spawn(one.run(builder, watchers));
    }
    Ok(running.join_all().await)
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
        if let Some(failure) = failure {
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
            .with_limits(pipeline.flow_limits())
            .with_batch(pipeline.batch)
            .with_failure_policies(pipeline.on_rejected.clone())
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

/// Loads builders, and sees that no two pipelines write the same index.
struct Builders {
    runtime: Arc<Runtime>,
    /// Which pipeline writes it, by sink and full name of the index.
    writers: BTreeMap<(String, String), String>,
}

impl Builders {
    fn new(settings: &Settings) -> Result<Self, Failure> {
        let defaults = RuntimeOptions::default();
        let memory = |pipeline: &PipelineSettings| pipeline.limits.memory_bytes.max(pipeline.limits.json_memory_bytes);
        let largest = settings.pipelines.iter().map(memory).max().unwrap_or_default();
        let memory_bytes_max = defaults.memory_bytes_max.max(largest);
        let runtime = Runtime::new(RuntimeOptions { memory_bytes_max, ..defaults })?;
        Ok(Self { runtime, writers: BTreeMap::new() })
    }

    async fn load(&mut self, pipeline: &PipelineSettings) -> Result<Arc<WasmBuilder>, Failure> {
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
                SinkSettings::Search(search) => OpenSearch::connect(search.options(&pipeline.index_prefix)).await? as _,
                SinkSettings::Lines(path) => Ndjson::file(path)? as _,
                SinkSettings::Stdout => Ndjson::stdout() as _,
            })
        };
        cell.get_or_try_init(connect).await.cloned()
    }
}

/// Looks at everything that running these settings needs, and changes nothing: the findings of each pipeline.
///
/// # Errors
///
/// `Fatal` when the runtime for guests cannot be had.
pub async fn check(settings: &Settings) -> Result<Vec<(String, Vec<Finding>)>, Failure> {
    let mut builders = Builders::new(settings)?;
    let mut all = Vec::new();
    for pipeline in &settings.pipelines {
        let mut findings = Vec::new();
        let builder = builders.load(pipeline).await;
        let declaration = match &builder {
            Ok(builder) => {
                let declaration = builder.declaration();
                let indexes: Vec<_> = declaration.indexes.iter().map(|index| index.name.as_str()).collect();
                let found = format!("{}, makes {}", builder.version().short(), indexes.join(", "));
                findings.push(Finding::ok(format!("builder {}", pipeline.builder.display()), found));
                Some(declaration)
            }
            Err(failure) => {
                findings.push(finding(format!("builder {}", pipeline.builder.display()), failure));
                None
            }
        };
        let tables = declaration.map(|known| captured_tables(known, &pipeline.schema)).unwrap_or_default();
        findings.extend(postgres::check(&settings.postgres_options(pipeline), &tables, declaration).await);
        let indexes = declaration.map(|known| known.indexes.as_slice()).unwrap_or_default();
        match settings.sinks.get(&pipeline.sink) {
            Some(SinkSettings::Search(search)) => {
                match OpenSearch::connect(search.options(&pipeline.index_prefix)).await {
                    Ok(sink) => findings.extend(sink.check(indexes).await),
                    Err(failure) => findings.push(finding(format!("sink {}", pipeline.sink), &failure)),
                }
            }
            Some(SinkSettings::Lines(path)) => findings.push(lines(path)),
            Some(SinkSettings::Stdout) | None => {}
        }
        all.push((pipeline.name.clone(), findings));
    }
    Ok(all)
}

fn finding(subject: String, failure: &Failure) -> Finding {
    let mut found = failure.message().to_owned();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        found.push_str(&format!(": {error}"));
        cause = error.source();
    }
    let finding = Finding::error(subject, found);
    match failure.advice() {
        Some(advice) => finding.with_remedy(advice),
        None => finding,
    }
}

/// Whether a file of lines could be written, without making it.
fn lines(path: &Path) -> Finding {
    let subject = format!("sink {}", path.display());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (path.is_dir(), directory.is_dir()) {
        (true, _) => Finding::error(subject, "it is a directory").with_remedy("name a file with `path`"),
        (_, false) => Finding::error(subject, format!("there is no directory {}", directory.display()))
            .with_remedy(format!("mkdir -p {}", directory.display())),
        _ => Finding::ok(subject, "documents are added to it"),
    }
}
