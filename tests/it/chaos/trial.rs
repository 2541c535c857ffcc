//! One trial: its servers, its rounds of work and faults, and what must hold after each.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use docmill::embedded::EmbeddedPostgres;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::lane::{Journal, Lane};
use super::process::{Process, ProcessFault};
use super::report;
use super::servers::{PostgresFault, SearchFault, fail_postgres, fail_search};
use super::setting::{LATE_WINDOW, MEMORY_MIB_MAX, REQUEST_TIMEOUT, SETTLE_MAX, Setting};
use super::traffic::{TrafficFault, fail_traffic};
use super::work::{Large, Truncating};
use crate::support::command::Shop;
use crate::support::http::FaultyServer;
use crate::support::opensearch::{Node, OpenSearch};
use crate::support::postgres::{Database, connect, private};
use crate::support::shop::{self, ShopDocuments, await_documents};
use crate::support::writers::{Counts, Plan, Writers, ordinary};
use crate::support::writes::Dice;

/// Everything that takes part.
pub struct Trial {
    pub setting: Setting,
    pub journal: Arc<Journal>,
    pub process: Arc<Process>,
    pub database: Database,
    /// Read past the proxy.
    pub search: OpenSearch,
    /// What the writers of all rounds did.
    pub counts: Counts,
    /// How long the slowest round took to be equal and to be confirmed after its last write.
    pub slowest: (Duration, Duration),
    pub rounds: u32,
    postgres: Arc<EmbeddedPostgres>,
    proxy: Arc<FaultyServer>,
    node: Arc<tokio::sync::Mutex<Node>>,
    lanes: Option<Lanes>,
    /// They write all the time.
    small: Vec<Planner>,
    /// One writes large transactions, one truncates, for a part of the time.
    large: Vec<Planner>,
}

struct Lanes {
    process: Lane<ProcessFault>,
    postgres: Lane<PostgresFault>,
    search: Lane<SearchFault>,
    traffic: Lane<TrafficFault>,
}

/// What a writer does next, over all rounds.
type Planner = (Arc<Mutex<dyn FnMut() -> Plan + Send>>, Duration);

impl Trial {
    /// Starts the servers, makes the shop, and keeps docmill running.
    pub async fn start() -> Self {
        let setting = Setting::from_environment();
        let Setting { seed, sizes, .. } = setting;
        println!("chaos: DOCMILL_CHAOS_SEED={seed} DOCMILL_CHAOS_SECONDS={}", setting.seconds);
        // A frozen docmill must not hold up a restart for the minute that is the default.
        let settings = [("wal_sender_timeout", "10s"), ("max_wal_size", "256MB")];
        let (postgres, node) = tokio::join!(private(&settings), Node::start(&[]));
        connect(&postgres.url()).await.batch_execute("create database shop").await.expect("a database");
        let database = Database { name: "shop".to_owned(), url: postgres.url_of("shop") };
        shop::create(&database, sizes.users, sizes.products).await;
        let proxy = FaultyServer::before(&node.url()).await;
        proxy.forget_bodies();
        let mut search = OpenSearch::at(&proxy.url);
        let shop = Shop::new(&database, &search, &format!("late_window = \"{}s\"", LATE_WINDOW.as_secs()));
        shop.configure("[sources.main]\n", "[sources.main]\nheartbeat = \"5s\"\n");
        let timeout = format!("type = \"opensearch\"\nrequest_timeout = \"{}s\"\n", REQUEST_TIMEOUT.as_secs());
        shop.configure("type = \"opensearch\"\n", &timeout);
        search.url = node.url();
        let journal = Arc::new(Journal::new());
        let process = Process::new(shop, Arc::clone(&journal));
        // Ends with the test's runtime.
        tokio::spawn(Arc::clone(&process).supervise(CancellationToken::new()));
        let lanes = Lanes {
            process: Lane::new(seed, 1, &ProcessFault::ALL, 2_000..8_000),
            postgres: Lane::new(seed, 2, &PostgresFault::ALL, 1_000..6_000),
            search: Lane::new(seed, 3, &SearchFault::ALL, 2_000..9_000),
            traffic: Lane::new(seed, 4, &TrafficFault::ALL, 300..3_000),
        };
        let small = (0..3).map(|writer| {
            let mut dice = Dice::new(seed, writer, sizes.users, sizes.products);
            planner(move || ordinary(&mut dice), Duration::from_millis(25))
        });
        let (mut large, mut truncating) = (Large::new(seed, sizes), Truncating::new(seed, sizes));
        let large = vec![
            planner(move || large.plan(), Duration::from_millis(1_500)),
            planner(move || truncating.plan(), Duration::from_millis(3_000)),
        ];
        Self {
            setting,
            journal,
            process,
            database,
            search,
            counts: Counts::default(),
            slowest: Default::default(),
            rounds: 0,
            postgres: Arc::new(postgres),
            proxy: Arc::new(proxy),
            node: Arc::new(tokio::sync::Mutex::new(node)),
            lanes: Some(lanes),
            small: small.collect(),
            large,
        }
    }

    /// Work and faults until the trial's time is up, in rounds.
    pub async fn run(&mut self) {
        let mut left = self.setting.seconds;
        for round in self.setting.rounds() {
            let seconds = round.seconds.min(left);
            if seconds == 0 {
                break;
            }
            self.rage(Duration::from_secs(seconds), round.large_percent).await;
            self.settle().await;
            self.rounds += 1;
            left -= seconds;
        }
        self.end().await;
    }

    /// Work and faults for a time; then all is up. After a TRUNCATE everything is assembled again, and large transactions touch
    /// much, which would repair what is lost: so first the one ends, then the other, before the round does.
    async fn rage(&mut self, time: Duration, large_percent: u32) {
        self.journal.note(&format!("round of {time:?}, large transactions for {large_percent} % of it"));
        let until = Instant::now() + time;
        let small = self.writers(&self.small);
        let [large, truncating] = [0, 1].map(|writer| self.writers(&self.large[writer..=writer]));
        let lanes = self.lanes.take().expect("one round at a time");
        let process = tokio::spawn(Arc::clone(&self.process).fail(lanes.process.until(until)));
        let journal = || Arc::clone(&self.journal);
        let postgres = tokio::spawn(fail_postgres(lanes.postgres.until(until), Arc::clone(&self.postgres), journal()));
        let search = tokio::spawn(fail_search(lanes.search.until(until), Arc::clone(&self.node), journal()));
        let (proxy, users) = (Arc::clone(&self.proxy), self.setting.sizes.users);
        let traffic = tokio::spawn(fail_traffic(lanes.traffic.until(until), proxy, users, journal()));

        let large_time = time * large_percent / 100;
        tokio::time::sleep(large_time / 3).await;
        self.counts.add(truncating.stop().await);
        self.journal.note("no TRUNCATE from now on");
        tokio::time::sleep(large_time * 2 / 3).await;
        self.counts.add(large.stop().await);
        self.journal.note("only small transactions from now on");
        let lanes = Lanes {
            process: self.joined(process).await,
            postgres: self.joined(postgres).await,
            search: self.joined(search).await,
            traffic: self.joined(traffic).await,
        };
        self.lanes = Some(lanes);
        self.counts.add(small.stop().await);
        self.journal.note("writes and faults are over");
    }

    async fn joined<T>(&self, lane: JoinHandle<T>) -> T {
        match lane.await {
            Ok(lane) => lane,
            Err(error) => self.fail(&format!("a lane of faults ended: {error}")).await,
        }
    }

    fn writers(&self, planners: &[Planner]) -> Writers {
        planners.iter().fold(Writers::none(), |writers, (planner, pause)| {
            let planner = Arc::clone(planner);
            let plan = move || planner.lock().unwrap_or_else(PoisonError::into_inner)();
            writers.and(&self.database.url, plan, *pause)
        })
    }

    /// Waits until all is as it must be. Panics when it does not come to that.
    async fn settle(&mut self) {
        let begin = Instant::now();
        let end = connect(&self.database.url).await;
        let end = end.query_one("select pg_current_wal_flush_lsn()::text", &[]).await.expect("a position");
        let end: String = end.get(0);
        self.equal(SETTLE_MAX, "after the last write").await;
        let equal_after = begin.elapsed();
        while !self.confirmed(&end).await {
            if begin.elapsed() > SETTLE_MAX {
                let status = self.process.status().await;
                self.fail(&format!("the slot is not confirmed to {end}: {status:?}")).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let confirmed_after = begin.elapsed();
        self.journal.note(&format!("equal after {equal_after:.1?}, confirmed after {confirmed_after:.1?}"));
        self.slowest = (self.slowest.0.max(equal_after), self.slowest.1.max(confirmed_after));
    }

    /// Passes end, docmill ends in order, and nothing that comes late undoes anything. Then the figures.
    async fn end(&self) {
        let begin = Instant::now();
        while self.process.status().await.is_none_or(|status| status["phase"] != "live") {
            if begin.elapsed() > SETTLE_MAX {
                let status = self.process.status().await;
                self.fail(&format!("it is not live: {status:?}")).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let status = self.process.finish().await;
        if !status.is_some_and(|status| status.success()) {
            self.fail(&format!("told to stop when all was done, it ended with {status:?}")).await;
        }
        self.equal(Duration::ZERO, "after docmill's end").await;
        let refused = self.search.documents("docmill-quarantine").await.unwrap_or_default();
        if !refused.is_empty() {
            self.fail(&format!("documents are quarantined: {refused:?}")).await;
        }
        if std::env::var_os("DOCMILL_CHAOS_LOG").is_some() {
            self.process.keep_log();
        }
        println!("{}", report::figures(self));
        let peak = self.process.peak_mib();
        if peak == 0 || peak >= MEMORY_MIB_MAX {
            self.fail(&format!("docmill used {peak} MiB, it may use {MEMORY_MIB_MAX}")).await;
        }
    }

    async fn equal(&self, timeout: Duration, when: &str) {
        let find = async || ShopDocuments::from_opensearch(&self.search).await;
        if let Err(differences) = await_documents(&self.database.url, timeout, find).await {
            let versions = report::versions(self).await;
            self.fail(&format!("{when}, {timeout:?} later: {differences}\n{versions}")).await;
        }
    }

    /// Whether the slot is confirmed to this position.
    async fn confirmed(&self, position: &str) -> bool {
        let client = connect(&self.database.url).await;
        let query = format!(
            "select confirmed_flush_lsn >= '{position}' from pg_replication_slots where slot_name like 'docmill%'"
        );
        let rows = client.query(&query, &[]).await.expect("the slots");
        rows.len() == 1 && rows[0].get(0)
    }

    /// Says everything, leaves what can be looked at, and panics.
    async fn fail(&self, what: &str) -> ! {
        let text = report::failure(self, what);
        if !self.setting.hold.is_zero() {
            let Self { database, search, .. } = self;
            println!("{text}\nheld for {:?}: {}, {}", self.setting.hold, database.url, search.url);
            tokio::time::sleep(self.setting.hold).await;
        }
        panic!("{text}");
    }
}

fn planner(plan: impl FnMut() -> Plan + Send + 'static, pause: Duration) -> Planner {
    (Arc::new(Mutex::new(plan)), pause)
}
