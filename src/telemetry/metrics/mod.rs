//! [`Metrics`]: what pipelines do, for Prometheus.

mod labels;
pub mod names;
mod pipeline;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use labels::{ByClass, ByEnd, ByKind, ByLimit, ByOrigin, ByReason, ByStage, ByTrap, ByWait, OfIndex, OfPipeline};
use names::Name;
pub use pipeline::PipelineMetrics;

/// The form of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Commit to durable: from 5 ms to 5 min.
const LAG_BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 150.0, 300.0];
/// One call or one batch: from half a millisecond to 10 s.
const CALL_BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

type Count<L> = Family<L, Counter>;
type Level<L> = Family<L, Gauge>;
type Seconds<L> = Family<L, Gauge<f64, AtomicU64>>;
type Spread<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of this process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    families: Arc<Families>,
    /// Pipelines that are gone. Their series are not shown; when one of that name comes again, its counters go on.
    gone: Arc<RwLock<BTreeSet<String>>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

struct Families {
    changes_captured: Count<OfPipeline>,
    changes_captured_bytes: Count<OfPipeline>,
    queue_changes: Level<OfPipeline>,
    queue_bytes: Level<OfPipeline>,
    batches_resolved: Count<OfPipeline>,
    documents_resolved: Count<OfPipeline>,
    resolve_seconds: Spread<OfPipeline>,
    documents_built: Count<OfIndex>,
    builder_call_seconds: Spread<OfIndex>,
    guest_limits: Count<ByLimit>,
    guest_traps: Count<ByTrap>,
    guest_failures: Count<ByEnd>,
    documents_written: Count<ByOrigin>,
    documents_written_bytes: Count<OfIndex>,
    documents_deleted: Count<OfIndex>,
    writes: Count<OfIndex>,
    writes_stale: Count<OfIndex>,
    documents_rejected: Count<ByKind>,
    lag_seconds: Spread<OfIndex>,
    last_lag_seconds: Seconds<OfPipeline>,
    confirmed_position_bytes: Level<OfPipeline>,
    pass_documents: Level<OfIndex>,
    pass_documents_expected: Level<OfIndex>,
    passes_running: Level<OfIndex>,
    passes_done: Count<ByReason>,
    slot_retained_bytes: Level<OfPipeline>,
    slot_safe_bytes: Level<OfPipeline>,
    fence_seconds: Spread<OfPipeline>,
    live: Level<OfPipeline>,
    waiting: Level<ByWait>,
    retries: Count<ByStage>,
    failures: Count<ByClass>,
    running: Level<OfPipeline>,
    paused: Level<OfPipeline>,
}

impl Metrics {
    /// Metrics of no pipeline yet; `version` is docmill's.
    pub fn new(version: &str) -> Self {
        let mut registry = Registry::with_prefix(names::PREFIX);
        let (build, help) = names::BUILD;
        registry.register(build, help, Info::new(vec![("version".to_owned(), version.to_owned())]));
        let families = Families::register(&mut registry);
        Self { registry: Arc::new(registry), families: Arc::new(families), gone: Arc::default() }
    }

    /// The observer of one pipeline.
    pub fn pipeline(&self, name: &str) -> PipelineMetrics {
        self.gone.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        PipelineMetrics::new(Arc::clone(&self.families), name)
    }

    /// That pipeline is gone.
    pub fn forget(&self, name: &str) {
        self.gone.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    /// Everything as text, in the form of [`CONTENT_TYPE`].
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut text, &self.registry);
        // The registry has no way to take out every series of one pipeline.
        let gone = self.gone.read().unwrap_or_else(PoisonError::into_inner);
        if gone.is_empty() {
            return text;
        }
        // Names have no letter that would be escaped.
        let labels: Vec<String> = gone.iter().map(|name| format!("pipeline=\"{name}\"")).collect();
        let is_gone = |line: &str| labels.iter().any(|label| line.contains(label));
        text.split_inclusive('\n').filter(|line| line.starts_with('#') || !is_gone(line)).collect()
    }
}

impl Families {
    fn register(registry: &mut Registry) -> Self {
        fn add<M: Metric + Clone>(registry: &mut Registry, (name, help): Name, metric: M) -> M {
            registry.register(name, help, metric.clone());
            metric
        }
        fn spread<L: Clone + std::hash::Hash + Eq>(make: fn() -> Histogram) -> Spread<L> {
            Family::new_with_constructor(make)
        }
        let lag = || Histogram::new(LAG_BUCKETS);
        let call = || Histogram::new(CALL_BUCKETS);
        let r = registry;
        Self {
            changes_captured: add(r, names::CHANGES_CAPTURED, Family::default()),
            changes_captured_bytes: add(r, names::CHANGES_CAPTURED_BYTES, Family::default()),
            queue_changes: add(r, names::QUEUE_CHANGES, Family::default()),
            queue_bytes: add(r, names::QUEUE_BYTES, Family::default()),
            batches_resolved: add(r, names::BATCHES_RESOLVED, Family::default()),
            documents_resolved: add(r, names::DOCUMENTS_RESOLVED, Family::default()),
            resolve_seconds: add(r, names::RESOLVE_SECONDS, spread(call)),
            documents_built: add(r, names::DOCUMENTS_BUILT, Family::default()),
            builder_call_seconds: add(r, names::BUILDER_CALL_SECONDS, spread(call)),
            guest_limits: add(r, names::GUEST_LIMITS, Family::default()),
            guest_traps: add(r, names::GUEST_TRAPS, Family::default()),
            guest_failures: add(r, names::GUEST_FAILURES, Family::default()),
            documents_written: add(r, names::DOCUMENTS_WRITTEN, Family::default()),
            documents_written_bytes: add(r, names::DOCUMENTS_WRITTEN_BYTES, Family::default()),
            documents_deleted: add(r, names::DOCUMENTS_DELETED, Family::default()),
            writes: add(r, names::WRITES, Family::default()),
            writes_stale: add(r, names::WRITES_STALE, Family::default()),
            documents_rejected: add(r, names::DOCUMENTS_REJECTED, Family::default()),
            lag_seconds: add(r, names::LAG_SECONDS, spread(lag)),
            last_lag_seconds: add(r, names::LAST_LAG_SECONDS, Family::default()),
            confirmed_position_bytes: add(r, names::CONFIRMED_POSITION_BYTES, Family::default()),
            pass_documents: add(r, names::PASS_DOCUMENTS, Family::default()),
            pass_documents_expected: add(r, names::PASS_DOCUMENTS_EXPECTED, Family::default()),
            passes_running: add(r, names::PASSES_RUNNING, Family::default()),
            passes_done: add(r, names::PASSES_DONE, Family::default()),
            slot_retained_bytes: add(r, names::SLOT_RETAINED_BYTES, Family::default()),
            slot_safe_bytes: add(r, names::SLOT_SAFE_BYTES, Family::default()),
            fence_seconds: add(r, names::FENCE_SECONDS, spread(call)),
            live: add(r, names::LIVE, Family::default()),
            waiting: add(r, names::WAITING, Family::default()),
            retries: add(r, names::RETRIES, Family::default()),
            failures: add(r, names::FAILURES, Family::default()),
            running: add(r, names::RUNNING, Family::default()),
            paused: add(r, names::PAUSED, Family::default()),
        }
    }
}
