//! What is measured: programs that copy the shop's users into an index until they are told to end.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::figure::{Course, Meter};
use crate::ground::{Ground, Place};
use crate::machine;
use crate::{docmill, engine, peers};

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// The released binary.
    Docmill,
    /// Another build of it.
    Before,
    /// docmill as a library, in a process of its own, with another sink or builder.
    Engine(engine::Kind),
    /// `stored` is whether orders carry their totals, kept by whoever writes lines.
    Flusso {
        stored: bool,
    },
    Pgsync,
}

/// One of them, running.
#[async_trait]
pub trait Running: Send {
    /// Its processes, without the servers and without what is below one of them already.
    fn pids(&self) -> Vec<u32>;
    /// Those whose memory is its own.
    fn memory_pids(&self) -> Vec<u32> {
        self.pids()
    }
    /// Panics with its last words if it has ended by itself.
    fn must_run(&self);
    /// Writes so far.
    async fn written(&mut self, place: &Place) -> u64 {
        self.must_run();
        place.writes().await
    }
    /// Whether that user has that name where it writes.
    async fn has(&mut self, place: &Place, id: i64, name: &str) -> bool {
        self.must_run();
        place.has(id, name).await
    }
    /// Between two looks at what was written.
    fn look_every(&self) -> Duration {
        LOOK_EVERY
    }
    /// Waits until it follows changes, if that is not so as soon as everything is written.
    async fn await_live(&mut self, _: &Place) {}
    /// Ends it in order; what it was started with stays for another start.
    async fn end(self: Box<Self>, place: &Place);
    /// Puts what it holds where it can be compared, if that is not a search engine.
    async fn dump(&mut self) {}
}

impl System {
    pub fn name(self) -> &'static str {
        match self {
            System::Docmill => "docmill",
            System::Before => "docmill before",
            System::Engine(kind) => kind.name(),
            System::Flusso { stored: false } => crate::table::FLUSSO,
            System::Flusso { stored: true } => "flusso, totals stored",
            System::Pgsync => "PGSync",
        }
    }

    /// Whether its documents are in the search engine.
    pub fn writes_to_search(self) -> bool {
        !matches!(self, System::Engine(kind) if kind.null_sink)
    }

    /// Whether the changes of S2 and S3 are made while it runs: those that wait for it take it quadratic time.
    pub fn takes_changes_live(self) -> bool {
        self == System::Pgsync
    }

    fn is_peer(self) -> bool {
        matches!(self, System::Flusso { .. } | System::Pgsync)
    }

    /// Starts it, for the first time in that place or again.
    pub async fn start(self, place: &Place) -> Box<dyn Running> {
        match self {
            System::Docmill => docmill::start(place, false),
            System::Before => docmill::start(place, true),
            System::Engine(kind) => engine::start(kind, place),
            System::Flusso { stored } => peers::flusso::start(place, stored).await,
            System::Pgsync => peers::pgsync::start(place).await,
        }
    }

    /// How many documents are not what SQL says when a run has arrived. A peer's last ones may be on their way still.
    pub async fn wrong(self, running: &mut dyn Running, place: &Place) -> usize {
        let patience = if self.is_peer() { LATE } else { Duration::ZERO };
        self.wrong_after(running, place, patience).await
    }

    /// How many are not after `patience`; looks until then, at least once.
    pub async fn wrong_after(self, running: &mut dyn Running, place: &Place, patience: Duration) -> usize {
        let begin = Instant::now();
        loop {
            let wrong = match self {
                System::Engine(kind) if kind.null_sink => engine::wrong(running, place).await,
                System::Flusso { .. } | System::Pgsync => peers::wrong(self, place).await,
                _ => crate::check::wrong(place).await,
            };
            if wrong == 0 || begin.elapsed() >= patience {
                return wrong;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// When a run has arrived.
#[derive(Clone, Debug)]
pub enum Until {
    /// That many documents were written.
    Written(u64),
    /// What was changed last is there.
    Has(i64, String),
    /// The slot was confirmed to the end of the log.
    Confirmed,
}

/// Without a write for that long it is over, if it has arrived.
const QUIET: Duration = Duration::from_secs(2);
/// Between two looks where a look costs the search engine about a millisecond.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(1_800);
/// A document that is wrong for that long after a run stays wrong.
pub const LATE: Duration = Duration::from_secs(30);

/// Follows a run to its last write, from the look before its first, and counts the CPU between them. What is done before anything is
/// written (`from_start`) belongs to it where that is the work: of a system that was just started.
pub async fn follow(
    ground: &Ground,
    place: &Place,
    running: &mut dyn Running,
    until: Until,
    from_start: bool,
) -> Course {
    let started = Instant::now();
    let base = running.written(place).await;
    let (mut last, mut last_at, mut cpu) = (base, Instant::now(), [0.0; 3]);
    let mut begin = (Instant::now(), Meter::start(ground, &running.pids()));
    loop {
        if last == base && !from_start {
            begin = (Instant::now(), Meter::start(ground, &running.pids()));
        }
        tokio::time::sleep(running.look_every()).await;
        let written = running.written(place).await;
        if written != last {
            (last, last_at, cpu) = (written, Instant::now(), begin.1.used());
        }
        assert!(started.elapsed() < PATIENCE, "it does not arrive: {last} writes");
        if last == base || last_at.elapsed() < QUIET {
            continue;
        }
        let arrived = match &until {
            Until::Written(count) => last - base >= *count,
            Until::Has(id, name) => running.has(place, *id, name).await,
            Until::Confirmed => place.confirmed().await,
        };
        if arrived {
            let rss_mib = running.memory_pids().iter().map(|pid| machine::peak_memory_mib(*pid)).sum();
            return Course { took: last_at - begin.0, cpu, rss_mib };
        }
    }
}
