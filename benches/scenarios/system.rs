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
    Flusso,
    Pgsync,
}

/// One of them, running.
#[async_trait]
pub trait Running: Send {
    /// Its processes, without the servers.
    fn pids(&self) -> Vec<u32>;
    /// Writes so far.
    async fn written(&mut self, place: &Place) -> u64;
    /// Whether that user has that name where it writes.
    async fn has(&mut self, place: &Place, id: i64, name: &str) -> bool;
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
            System::Flusso => crate::table::FLUSSO,
            System::Pgsync => "PGSync",
        }
    }

    /// Whether its documents are in the search engine.
    pub fn writes_to_search(self) -> bool {
        !matches!(self, System::Engine(kind) if kind.null_sink)
    }

    /// Starts it, for the first time in that place or again.
    pub async fn start(self, place: &Place) -> Box<dyn Running> {
        match self {
            System::Docmill => docmill::start(place, false),
            System::Before => docmill::start(place, true),
            System::Engine(kind) => engine::start(kind, place),
            System::Flusso => peers::flusso::start(place).await,
            System::Pgsync => peers::pgsync::start(place).await,
        }
    }

    pub async fn wrong(self, running: &mut dyn Running, place: &Place) -> usize {
        match self {
            System::Engine(kind) if kind.null_sink => engine::wrong(running, place).await,
            System::Flusso | System::Pgsync => peers::wrong(self, place).await,
            _ => crate::check::wrong_users(place).await,
        }
    }
}

/// When a run has arrived.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// That many documents were written.
    Written(u64),
    /// What was changed last is there.
    Has(i64, &'static str),
}

/// Without a write for that long it is over, if it has arrived.
const QUIET: Duration = Duration::from_secs(2);
/// Between two looks; a look costs the search engine about a millisecond.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Follows a run from its first write to its last.
pub async fn follow(ground: &Ground, place: &Place, running: &mut dyn Running, until: Until) -> Course {
    let started = Instant::now();
    let base = running.written(place).await;
    let (mut last, mut last_at, mut begun) = (base, Instant::now(), None::<(Instant, Meter)>);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let written = running.written(place).await;
        if written != last {
            (last, last_at) = (written, Instant::now());
            begun.get_or_insert_with(|| (Instant::now(), Meter::start(ground, &running.pids())));
        }
        assert!(started.elapsed() < PATIENCE, "it does not arrive: {last} writes");
        let Some((begin, meter)) = &begun else { continue };
        if last_at.elapsed() < QUIET {
            continue;
        }
        let arrived = match until {
            Until::Written(count) => last - base >= count,
            Until::Has(id, name) => running.has(place, id, name).await,
        };
        if arrived {
            let rss_mib = running.pids().iter().map(|pid| machine::peak_memory_mib(*pid)).sum();
            return Course { took: last_at - *begin, cpu: meter.used(), rss_mib };
        }
    }
}
