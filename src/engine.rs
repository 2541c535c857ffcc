//! The embedder's door: a source, a builder and a sink, and everything else with a default.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::edges::{ChangeCapture, DocumentBuilder, Failure, Observer, OnLostSlot, Silent, Sink, WorkQueue};
use crate::pipeline::{BatchPolicy, FailurePolicies, Flow, FlowLimits, Summary};

/// An engine that keeps a sink in step with a source.
///
/// TLS: where a source or a sink uses it, install a `rustls` crypto provider first
/// (`rustls::crypto::ring::default_provider().install_default()`); the library does not choose one for its host.
#[derive(Debug)]
#[must_use = "an engine does nothing until it is run"]
pub struct Engine {
    flow: Flow,
}

impl Engine {
    /// An engine over these three, with every default.
    pub fn new(source: Arc<dyn ChangeCapture>, documents: Arc<dyn DocumentBuilder>, sink: Arc<dyn Sink>) -> Self {
        let limits = FlowLimits::default();
        let flow = Flow {
            name: "docmill".to_owned(),
            schema: "public".to_owned(),
            source,
            documents,
            sink,
            observer: Arc::new(Silent),
            live: None,
            batch: BatchPolicy::default(),
            policies: FailurePolicies::default(),
            limits,
            skip_backfill: false,
            on_lost: OnLostSlot::default(),
            shutdown: CancellationToken::new(),
        };
        Self { flow }
    }

    /// The pipeline's name (default `docmill`): what its state is kept under in the sink.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.flow.name = name.into();
        self
    }

    /// The schema of tables that the builder names without one (default `public`).
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.flow.schema = schema.into();
        self
    }

    /// Who is told what happens (default: nobody).
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.flow.observer = observer;
        self
    }

    /// How many events wait between capture and batch (default 10,000; at least 1). Their bytes are bounded besides
    /// ([`FlowLimits::queue_bytes_max`]).
    pub fn with_queue_capacity(mut self, events: usize) -> Self {
        self.flow.limits.queue_events_max = events.max(1);
        self
    }

    /// When a batch of changes closes. `max_changes` is at least 1, `max_delay` at most a minute.
    pub fn with_batch(mut self, mut batch: BatchPolicy) -> Self {
        batch.max_changes = batch.max_changes.max(1);
        batch.max_delay = batch.max_delay.min(BatchPolicy::MAX_DELAY_LONGEST);
        self.flow.batch = batch;
        self
    }

    /// What happens to a document that is refused for itself (default: the engine stops).
    pub fn with_failure_policies(mut self, policies: FailurePolicies) -> Self {
        self.flow.policies = policies;
        self
    }

    /// Every other limit of the flow.
    pub fn with_limits(mut self, limits: FlowLimits) -> Self {
        self.flow.limits = limits;
        self
    }

    /// Takes an empty destination as filled: only documents that changes touch from now on are written.
    pub fn skip_backfill(mut self, skip: bool) -> Self {
        self.flow.skip_backfill = skip;
        self
    }

    /// What happens when changes since the checkpoint are lost (default: everything is assembled again).
    pub fn with_on_lost_slot(mut self, on_lost: OnLostSlot) -> Self {
        self.flow.on_lost = on_lost;
        self
    }

    /// Where the halves meet for live changes (default: in this process's memory).
    pub fn with_work_queue(mut self, queue: Arc<dyn WorkQueue>) -> Self {
        self.flow.live = Some(queue);
        self
    }

    /// Ends the engine when cancelled: it stops capturing, drains what it has, makes it durable, confirms it and returns.
    pub fn with_shutdown(mut self, shutdown: CancellationToken) -> Self {
        self.flow.shutdown = shutdown;
        self
    }

    /// Runs until shut down.
    ///
    /// # Errors
    ///
    /// When something needs a person: the failure says what was tried, on what, what was found and what to do.
    /// Everything that passes by itself is tried again inside. In either case nothing was confirmed to the source that is
    /// not durable in the sink.
    pub async fn run(self) -> Result<Summary, Failure> {
        let span = tracing::info_span!(
            "engine.run",
            pipeline = %self.flow.name,
            skip_backfill = self.flow.skip_backfill,
            queue_capacity = self.flow.limits.queue_events_max,
            max_changes = self.flow.batch.max_changes,
            max_delay_ms = self.flow.batch.max_delay.as_millis() as u64,
        );
        self.flow.run().instrument(span).await
    }
}
