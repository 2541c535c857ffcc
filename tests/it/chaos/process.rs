//! docmill's lives: it is killed, told to stop, stopped where it is, and started again, as a supervisor would when it ends by
//! itself; its highest memory over all lives.

use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::lane::{Journal, Lane};
use crate::support::command::{Docmill, Shop};
use crate::support::postgres::blocking;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long the supervisor waits before it starts one again that ended by itself.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// An orderly end takes 30 s at most (the flow's `drain_for`), and a little.
const TERM_MAX: Duration = Duration::from_secs(45);

/// What happens to docmill itself.
#[derive(Debug, Clone, Copy)]
pub enum ProcessFault {
    Kill,
    Terminate,
    Freeze,
}

impl ProcessFault {
    pub const ALL: [Self; 5] = [Self::Kill, Self::Kill, Self::Kill, Self::Terminate, Self::Freeze];
}

/// `docmill run`, kept running.
pub struct Process {
    shop: Shop,
    state: Mutex<State>,
    journal: Arc<Journal>,
    peak_mib: AtomicU64,
    lives: AtomicU32,
    ended_by_itself: AtomicU32,
}

struct State {
    docmill: Option<Docmill>,
    /// Down on purpose: nobody starts it.
    held: bool,
}

impl Process {
    /// Not started yet: [`supervise`](Self::supervise) starts it.
    pub fn new(shop: Shop, journal: Arc<Journal>) -> Arc<Self> {
        Arc::new(Self {
            shop,
            state: Mutex::new(State { docmill: None, held: false }),
            journal,
            peak_mib: AtomicU64::new(0),
            lives: AtomicU32::new(0),
            ended_by_itself: AtomicU32::new(0),
        })
    }

    /// Starts it whenever it does not run and should.
    pub async fn supervise(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.look().await;
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&self) {
        let mut state = self.state.lock().await;
        if let Some(docmill) = &state.docmill {
            self.peak_mib.fetch_max(docmill.peak_memory_mib(), Ordering::Relaxed);
            let Some(status) = docmill.exit_status() else { return };
            self.ended_by_itself.fetch_add(1, Ordering::Relaxed);
            let log = docmill.log();
            let said = log.lines().last().unwrap_or_default();
            self.journal.note(&format!("docmill ended by itself, {status}: {said}"));
            state.docmill = None;
            drop(state);
            tokio::time::sleep(RESTART_PAUSE).await;
            state = self.state.lock().await;
        }
        if state.docmill.is_none() && !state.held {
            let off = std::env::var("DOCMILL_CHAOS_FAIL_POINTS").unwrap_or_default();
            state.docmill = Some(self.shop.run_with_fail_points(&off));
            self.lives.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Faults until the lane is at its end; then it runs.
    pub async fn fail(self: Arc<Self>, mut lane: Lane<ProcessFault>) -> Lane<ProcessFault> {
        while let Some(fault) = lane.next().await {
            // Some are started again at once, some later.
            let down = if lane.chance(50) { Duration::ZERO } else { lane.time(200..3_000) };
            let frozen = lane.time(300..5_000);
            // A supervisor kills what does not end when told to.
            let patience = lane.time(1_000..12_000);
            match fault {
                ProcessFault::Kill => {
                    if let Some(docmill) = self.take().await {
                        self.journal.fault("kill -9 docmill", &format!("down {down:?}"));
                        blocking(move || docmill.kill()).await;
                        self.give_back(down).await;
                    }
                }
                ProcessFault::Terminate => {
                    if let Some(docmill) = self.take().await {
                        let begin = Instant::now();
                        let ended = self.told_to_end(docmill, patience).await;
                        let how = ended.map_or("killed".to_owned(), |status| status.to_string());
                        self.journal.fault("SIGTERM docmill", &format!("{how} after {:?}", begin.elapsed()));
                        self.give_back(down).await;
                    }
                }
                ProcessFault::Freeze => {
                    self.journal.fault("SIGSTOP docmill", &format!("for {frozen:?}"));
                    self.signal(libc::SIGSTOP).await;
                    tokio::time::sleep(frozen).await;
                    self.signal(libc::SIGCONT).await;
                }
            }
        }
        lane
    }

    /// Ends the last life in order; how it ended; `None` if it had to be killed.
    pub async fn finish(&self) -> Option<ExitStatus> {
        let docmill = self.take().await.expect("docmill runs at the end");
        self.told_to_end(docmill, TERM_MAX).await
    }

    /// How the pipeline stands; `None` while it does not answer.
    pub async fn status(&self) -> Option<Value> {
        let state = self.state.lock().await;
        let docmill = state.docmill.as_ref()?;
        tokio::time::timeout(Duration::from_secs(5), docmill.status()).await.ok()?
    }

    pub fn peak_mib(&self) -> u64 {
        self.peak_mib.load(Ordering::Relaxed)
    }

    /// How often it was started, and how often it ended without being told.
    pub fn lives(&self) -> (u32, u32) {
        (self.lives.load(Ordering::Relaxed), self.ended_by_itself.load(Ordering::Relaxed))
    }

    /// Everything it ever printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.shop.path().join("log")).unwrap_or_default()
    }

    /// Copies its log to where it stays when the test ends; where that is.
    pub fn keep_log(&self) -> String {
        let named = std::env::var_os("DOCMILL_CHAOS_LOG").map(std::path::PathBuf::from);
        let kept =
            named.unwrap_or_else(|| std::env::temp_dir().join(format!("docmill-chaos-{}.log", std::process::id())));
        let copied = std::fs::copy(self.shop.path().join("log"), &kept);
        copied.map_or_else(|error| error.to_string(), |_| kept.display().to_string())
    }

    async fn signal(&self, signal: i32) {
        if let Some(docmill) = &self.state.lock().await.docmill {
            docmill.signal(signal);
        }
    }

    /// Takes it away from the supervisor, which starts none until [`give_back`](Self::give_back).
    async fn take(&self) -> Option<Docmill> {
        let mut state = self.state.lock().await;
        let docmill = state.docmill.take_if(|docmill| docmill.is_running())?;
        self.peak_mib.fetch_max(docmill.peak_memory_mib(), Ordering::Relaxed);
        state.held = true;
        Some(docmill)
    }

    async fn give_back(&self, down: Duration) {
        tokio::time::sleep(down).await;
        self.state.lock().await.held = false;
        self.look().await;
    }

    /// SIGTERM, and SIGKILL when it does not end; how it ended, if by itself.
    async fn told_to_end(&self, docmill: Docmill, patience: Duration) -> Option<ExitStatus> {
        docmill.signal(libc::SIGTERM);
        let begin = Instant::now();
        while docmill.is_running() && begin.elapsed() < patience {
            self.peak_mib.fetch_max(docmill.peak_memory_mib(), Ordering::Relaxed);
            tokio::time::sleep(LOOK).await;
        }
        let ended = docmill.exit_status();
        blocking(move || docmill.kill()).await;
        ended
    }
}
