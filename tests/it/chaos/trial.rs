//! One trial: its servers, what goes on beside each other, and what must hold when it is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use docmill::embedded::EmbeddedPostgres;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::lane::{Journal, Lane};
use super::process::{Process, ProcessFault};
use super::report;
use super::servers::{PostgresFault, SearchFault, fail_postgres, fail_search};
use super::traffic::{TrafficFault, fail_traffic};
use super::work::{Large, Sizes, Truncating};
use crate::support::command::Shop;
use crate::support::http::FaultyServer;
use crate::support::opensearch::{Node, OpenSearch};
use crate::support::postgres::{Database, connect, private};
use crate::support::shop::{self, ShopDocuments, await_documents};
use crate::support::writers::{Counts, Load, Writers};

const SECONDS: u64 = 40;
/// Longer than this no request is held by the proxy or by a frozen OpenSearch.
const HELD_MAX: Duration = Duration::from_secs(7);
/// docmill's memory over all its lives.
const MEMORY_MIB_MAX: u64 = 256;
/// For docmill to catch up when writes and faults are over, and for the slot to follow; a longer trial leaves more behind.
const SETTLE_MAX: Duration = Duration::from_secs(180);

/// What a trial is drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub seed: u64,
    pub seconds: u64,
    pub hold: Duration,
    pub sizes: Sizes,
}

impl Setting {
    fn from_environment() -> Self {
        let number = |name: &str| {
            std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number")))
        };
        let seconds = number("DOCMILL_CHAOS_SECONDS").unwrap_or(SECONDS);
        // A short trial has not the time to write a hundred thousand documents again and again.
        let documents_max = if seconds < 100 { 5_000 } else { 100_000 };
        Self {
            seed: number("DOCMILL_CHAOS_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>())),
            seconds,
            hold: Duration::from_secs(number("DOCMILL_CHAOS_HOLD").unwrap_or(0)),
            sizes: Sizes { rows_max: 100_000, documents_max, users: 2_000, products: 400 },
        }
    }
}

/// Everything that takes part.
pub struct Trial {
    pub setting: Setting,
    pub journal: Arc<Journal>,
    pub process: Arc<Process>,
    pub database: Database,
    /// Read past the proxy.
    pub search: OpenSearch,
    postgres: Arc<EmbeddedPostgres>,
    proxy: Arc<FaultyServer>,
    node: Mutex<Option<Node>>,
}

impl Trial {
    /// Starts the servers and makes the shop.
    pub async fn start() -> Self {
        let setting = Setting::from_environment();
        println!("chaos: DOCMILL_CHAOS_SEED={} DOCMILL_CHAOS_SECONDS={}", setting.seed, setting.seconds);
        // A frozen docmill must not hold up a restart for the minute that is the default.
        let settings = [("wal_sender_timeout", "10s"), ("max_wal_size", "256MB")];
        let (postgres, node) = tokio::join!(private(&settings), Node::start(&[]));
        connect(&postgres.url()).await.batch_execute("create database shop").await.expect("a database");
        let database = Database { name: "shop".to_owned(), url: postgres.url_of("shop") };
        shop::create(&database, setting.sizes.users, setting.sizes.products).await;
        let proxy = FaultyServer::before(&node.url()).await;
        proxy.forget_bodies();
        let behind = OpenSearch::at(&proxy.url);
        let shop = Shop::new(&database, &behind, "");
        shop.reconfigure(|text| {
            let text = text.replace("[sources.main]\n", "[sources.main]\nheartbeat = \"5s\"\n");
            text.replace("type = \"opensearch\"\n", "type = \"opensearch\"\nrequest_timeout = \"10s\"\n")
        });
        let journal = Arc::new(Journal::new());
        let process = Process::new(shop, Arc::clone(&journal));
        let mut search = behind;
        search.url = node.url();
        Self {
            setting,
            journal,
            process,
            database,
            search,
            postgres: Arc::new(postgres),
            proxy: Arc::new(proxy),
            node: Mutex::new(Some(node)),
        }
    }

    /// Work and faults, for the trial's time; what the writers did. Then all is up, and docmill is kept running.
    pub async fn rage(&self) -> Counts {
        let Setting { seed, seconds, sizes, .. } = self.setting;
        let over = CancellationToken::new();
        let mut supervisor = JoinSet::new();
        supervisor.spawn(Arc::clone(&self.process).supervise(over.clone()));
        let writers = self.writers();

        let until = Instant::now() + Duration::from_secs(seconds);
        let mut lanes = JoinSet::new();
        lanes.spawn(Arc::clone(&self.process).fail(Lane::new(seed, 1, &ProcessFault::ALL, until, 2_000..9_000)));
        let lane = Lane::new(seed, 2, &PostgresFault::ALL, until, 1_000..7_000);
        lanes.spawn(fail_postgres(lane, Arc::clone(&self.postgres), Arc::clone(&self.journal)));
        let lane = Lane::new(seed, 4, &TrafficFault::ALL, until, 300..3_000);
        lanes.spawn(fail_traffic(lane, Arc::clone(&self.proxy), sizes.users, HELD_MAX, Arc::clone(&self.journal)));
        let lane = Lane::new(seed, 3, &SearchFault::ALL, until, 2_000..9_000);
        let node = self.node.lock().await.take().expect("the node is there until the trial is over");
        let node = fail_search(lane, node, Arc::clone(&self.journal)).await;
        *self.node.lock().await = Some(node);
        while let Some(ended) = lanes.join_next().await {
            if let Err(error) = ended {
                self.fail(&format!("a lane of faults ended: {error}")).await;
            }
        }
        let counts = writers.stop().await;
        self.journal.note("writes and faults are over");
        // The supervisor goes on until the test ends.
        supervisor.detach_all();
        counts
    }

    fn writers(&self) -> Writers {
        let Setting { seed, sizes, .. } = self.setting;
        let url = &self.database.url;
        let load =
            Load { writers: 3, seed, users: sizes.users, products: sizes.products, pause: Duration::from_millis(25) };
        let (mut large, mut truncating) = (Large::new(seed, sizes), Truncating::new(seed, sizes));
        Writers::start_at(url, &load).and(url, move || large.plan(), Duration::from_millis(1_500)).and(
            url,
            move || truncating.plan(),
            Duration::from_millis(3_000),
        )
    }

    /// Waits until all is as it must be, and says what it was like. Panics when it does not come to that.
    pub async fn settle(&self, counts: Counts) {
        let settle_max = SETTLE_MAX + Duration::from_secs(self.setting.seconds / 5);
        let begin = Instant::now();
        let end = connect(&self.database.url).await;
        let end: String =
            end.query_one("select pg_current_wal_flush_lsn()::text", &[]).await.expect("a position").get(0);
        self.equal(settle_max, "after the writes").await;
        let equal_after = begin.elapsed();
        while !self.confirmed(&end).await || self.process.status().await.is_none_or(|status| status["phase"] != "live")
        {
            if begin.elapsed() > settle_max {
                let status = self.process.status().await;
                self.fail(&format!("the slot is not confirmed to {end}, or it is not live: {status:?}")).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let confirmed_after = begin.elapsed();
        let status = self.process.finish().await;
        if !status.is_some_and(|status| status.success()) {
            self.fail(&format!("told to stop when all was done, it ended with {status:?}")).await;
        }
        // Nothing came late and undid something.
        self.equal(Duration::ZERO, "after the end").await;
        let refused = self.search.documents("docmill-quarantine").await.unwrap_or_default();
        if !refused.is_empty() {
            self.fail(&format!("documents are quarantined: {refused:?}")).await;
        }
        let peak = self.process.peak_mib();
        println!("{}", report::figures(self, &counts, equal_after, confirmed_after));
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
    pub async fn fail(&self, what: &str) -> ! {
        let text = report::failure(self, what);
        if !self.setting.hold.is_zero() {
            println!(
                "{text}\nheld for {:?}: PostgreSQL {}, OpenSearch {}",
                self.setting.hold, self.database.url, self.search.url
            );
            tokio::time::sleep(self.setting.hold).await;
        }
        panic!("{text}");
    }
}
