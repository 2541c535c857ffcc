//! [`SharedCapture`]: the door of each pipeline to the stream that they share.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::commands::Command;
use super::driver::Driver;
use super::options::SharingOptions;
use super::place::Want;
use super::stream::TenantStream;
use crate::edges::{
    Admitted, ChangeCapture, ChangeStream, Failure, FailureClass, OpenRequest, RowReader, SharedSource, SlotReport,
    TenantSource,
};

/// How long an answer about the slot serves every pipeline.
const SLOT_REPORT_FRESH_FOR: Duration = Duration::from_secs(5);

/// A source that several pipelines capture together.
pub struct SharedCapture {
    source: Arc<dyn SharedSource>,
    options: SharingOptions,
    commands: mpsc::UnboundedSender<Command>,
    admitting: Semaphore,
    tenants: std::sync::Mutex<HashSet<String>>,
    slot: Mutex<Option<(Instant, Option<SlotReport>)>>,
    _driver: AbortOnDropHandle<()>,
}

impl SharedCapture {
    /// Shares `source` among pipelines; on the runtime that this is called in.
    pub fn new(source: Arc<dyn SharedSource>, options: SharingOptions) -> Arc<Self> {
        // Bounded by the pipelines: each has a few under way.
        let (commands, received) = mpsc::unbounded_channel();
        let driver = Driver::new(Arc::clone(&source), options.clone(), commands.clone(), received);
        let admitting = Semaphore::new(options.admitted_at_once.max(1));
        let _driver = AbortOnDropHandle::new(tokio::spawn(driver.run()));
        Arc::new(Self {
            source,
            options,
            commands,
            admitting,
            tenants: Default::default(),
            slot: Mutex::default(),
            _driver,
        })
    }

    /// There is a pipeline of that name. From now on the others wait for it when they begin (for a while), and what it has not
    /// confirmed is kept, up to `max_lag` bytes: then it is parked. So all that will share it are named before the first runs.
    pub fn expect(&self, name: &str, max_lag: u64) {
        self.names().insert(name.to_owned());
        self.tell(Command::Expect { tenant: name.to_owned(), max_lag });
    }

    /// The capture of a pipeline, which is expected with it.
    pub fn tenant(self: &Arc<Self>, name: &str, max_lag: u64, rows: Arc<dyn TenantSource>) -> Arc<dyn ChangeCapture> {
        self.expect(name, max_lag);
        Arc::new(Tenant { name: name.to_owned(), shared: Arc::clone(self), rows })
    }

    /// A pipeline is not coming, or not soon: the others need not wait for it. What it has not confirmed is kept all the same.
    pub fn not_coming(&self, name: &str) {
        self.tell(Command::Away { tenant: name.to_owned() });
    }

    /// A pipeline does not exist any more: nothing is kept for it.
    pub fn remove(&self, name: &str) {
        self.names().remove(name);
        self.tell(Command::Remove { tenant: name.to_owned() });
    }

    fn names(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, command: Command) {
        // Without the driver there is nobody to tell.
        let _ = self.commands.send(command);
    }

    /// Ends when the driver has, which is a mistake of docmill.
    pub(super) fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        let commands = self.commands.clone();
        async move { commands.closed().await }
    }

    pub(super) fn source(&self) -> &Arc<dyn SharedSource> {
        &self.source
    }

    pub(super) fn options(&self) -> &SharingOptions {
        &self.options
    }

    /// How often a pipeline that nothing concerns is told how far the others are.
    pub(super) fn idle_every(&self) -> Duration {
        self.options.idle_every + self.options.idle_every_more * self.names().len() as u32
    }
}

impl fmt::Debug for SharedCapture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCapture").field("source", &self.source).finish_non_exhaustive()
    }
}

/// One pipeline's capture of a source that it shares.
#[derive(Debug)]
struct Tenant {
    name: String,
    shared: Arc<SharedCapture>,
    rows: Arc<dyn TenantSource>,
}

impl Tenant {
    /// Whether its tables' changes have been recorded for a while, once they are what they must be.
    async fn admit(&self, request: &OpenRequest<'_>) -> Result<bool, Failure> {
        let admitted = {
            let _turn = self.shared.admitting.acquire().await;
            self.rows.admit(request.tables).await?
        };
        // Not in turn: a transaction of somebody else may be open for hours.
        if admitted == Admitted::Recorded {
            self.rows.quiet(request.tables, &request.observer).await?;
        }
        Ok(admitted != Admitted::Unrecorded)
    }
}

#[async_trait]
impl ChangeCapture for Tenant {
    async fn open(&self, request: &OpenRequest<'_>) -> Result<Box<dyn ChangeStream>, Failure> {
        let quiet = match self.admit(request).await {
            Ok(quiet) => quiet,
            Err(failure) => {
                if failure.class != FailureClass::Transient {
                    self.shared.not_coming(&self.name);
                }
                return Err(failure);
            }
        };
        let (reply, answer) = oneshot::channel();
        let want = Want {
            tables: request.tables.to_vec(),
            quiet,
            known: request.known,
            since: request.since.clone(),
            on_lost: request.on_lost,
            observer: Arc::clone(&request.observer),
            reply,
        };
        self.shared.tell(Command::Join { tenant: self.name.clone(), want });
        // It answers everybody, as long as it is there.
        let gone =
            |_| Err(Failure::fatal("the task that reads changes for several pipelines has ended by an internal error"));
        let joined = answer.await.unwrap_or_else(gone)?;
        let denied = self.rows.denied(request.tables);
        let stream = TenantStream::open(Arc::clone(&self.shared), request, joined, denied).await?;
        Ok(Box::new(stream))
    }

    async fn mark(&self, token: u64) -> Result<(), Failure> {
        self.shared.tell(Command::Marks { tenant: self.name.clone(), token });
        self.shared.source.mark(token).await
    }

    async fn slot(&self) -> Result<Option<SlotReport>, Failure> {
        let mut known = self.shared.slot.lock().await;
        if let Some((asked, report)) = &*known
            && asked.elapsed() < SLOT_REPORT_FRESH_FOR
        {
            return Ok(report.clone());
        }
        let report = self.shared.source.slot().await?;
        *known = Some((Instant::now(), report.clone()));
        Ok(report)
    }

    fn reader(&self) -> Arc<dyn RowReader> {
        self.rows.reader()
    }
}
