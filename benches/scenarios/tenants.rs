//! S7: the same work as one pipeline, as ten and as a hundred on one source, each with a schema and indexes of its own.

use std::fmt::Write;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use docmill::embedded::{SHOP_SCHEMA, free_port, shop_seed};
use reqwest::Method;
use serde_json::Value;

use crate::figure::{Figure, Meter};
use crate::ground::{Ground, Place};
use crate::scenario::last_name;
use crate::support::command::{Docmill, Shop};
use crate::support::difference::differences;
use crate::support::postgres::connect;
use crate::support::shop::oracle_statements;
use crate::system::{LATE, Running, Until, follow};

/// Pipelines, and what they are called in the table.
pub const TENANTS: [(u32, &str); 3] =
    [(1, "docmill, 1 pipeline"), (10, "docmill, 10 pipelines"), (100, "docmill, 100 pipelines")];

/// What the search engine takes at least: indexes, and what they are called.
pub const LIMITS: [(u32, &str); 2] =
    [(1, "bare updates in place, 1 index"), (100, "bare updates in place, 100 indexes")];

pub const SCENARIO: &str = "S7 roots of many pipelines, 1 a transaction";

/// How long it is looked at what pipelines need that have nothing to do.
const AT_REST: Duration = Duration::from_secs(5);

/// How long all of them may take to be live.
const PATIENCE: Duration = Duration::from_secs(600);

/// `users` and `changes` are those of all pipelines together.
pub async fn measure(ground: &Ground, (tenants, name): (u32, &'static str), users: u32, changes: u32) -> Figure {
    let place = ground.bare_place("tenants").await;
    let each = users / tenants;
    let client = connect(&place.database.url).await;
    create(&place, tenants, each).await;
    let shop = configure(&place, tenants, "");
    let (sessions, begin) = (sessions(&client).await, Instant::now());
    let docmill = shop.run();
    live(&docmill, tenants).await;
    eprintln!("{name}: filled and live after {:.1?}", begin.elapsed());
    place.settled().await;
    let sessions = self::sessions(&client).await - sessions;

    // A start takes its time too, and is measured below; so they run already, and their process stands still while changes are made.
    let last = last_name();
    docmill.freeze();
    let block = format!(
        "do $$ begin for i in 1..{changes} loop \
           execute format('update t%s.users set name = %L where id = %s', i % {tenants}, 'changed ' || i, 1 + (i::int8 * 7919) / {tenants} % ({each} - 1)); \
           commit; end loop; end $$"
    );
    client.batch_execute("set synchronous_commit = off").await.expect("a setting");
    client.batch_execute(&block).await.unwrap_or_else(|error| panic!("{block}: {error:?}"));
    for tenant in 0..tenants {
        let sql = format!("update t{tenant}.users set name = '{last}' where id = {each}");
        client.batch_execute(&sql).await.expect("the last user");
    }
    place.settled().await;
    let mut running = Tenants { docmill, count: tenants };
    running.docmill.thaw();
    let course = follow(ground, &place, &mut running, Until::Has(i64::from(each), last), false).await;
    live(&running.docmill, tenants).await;
    eprintln!("{name}: {sessions} sessions of PostgreSQL for all to be filled and live");
    let wrong = wrong(&place, tenants).await;
    Box::new(running).end(&place).await;

    // Once more with nothing to do: how long that takes, and what a pipeline at rest needs.
    let started = Instant::now();
    let docmill = shop.run();
    live(&docmill, tenants).await;
    let (took, rss) = (started.elapsed(), crate::machine::peak_memory_mib(docmill.pid()));
    eprintln!("{name}: live again {took:.1?} after its start, {rss} MiB");
    place.settled().await;
    let meter = Meter::start(ground, &[docmill.pid()]);
    tokio::time::sleep(AT_REST).await;
    let [own, postgres, search] = meter.used().map(|seconds| seconds / AT_REST.as_secs_f64() * 100.0);
    eprintln!("{name}: at rest {own:.1} + {postgres:.1} + {search:.1} % of a core");
    assert!(docmill.terminate().success(), "it ends when told to");
    ground.clear(place).await;
    Figure { wrong, ..Figure::new(SCENARIO, name, changes.into(), course) }
}

/// A schema for each, with that many users.
pub async fn create(place: &Place, tenants: u32, users: u32) {
    let client = connect(&place.database.url).await;
    for tenant in 0..tenants {
        let sql = format!("create schema t{tenant}; set search_path = t{tenant}; {SHOP_SCHEMA}");
        client.batch_execute(&sql).await.expect("a schema");
        client.batch_execute(&shop_seed(users, 10)).await.expect("rows");
    }
}

/// A pipeline for each, and `more` of them.
pub fn configure(place: &Place, tenants: u32, more: &str) -> Shop {
    let port = free_port().expect("a free port");
    let mut text = format!(
        "[sources.main]\nurl = \"{}\"\nslot = \"docmill_{}\"\n\n[sinks.search]\ntype = \"opensearch\"\nurl = \"{}\"\n\n",
        place.database.url, place.database.name, place.search.url
    );
    for tenant in 0..tenants {
        let _ = write!(
            text,
            "[pipelines.t{tenant}]\nbuilder = \"shop.wasm\"\nschema = \"t{tenant}\"\nindex_prefix = \"{}t{tenant}-\"\n\
             config = {{ indexes = [\"users\"] }}\n\n",
            place.search.prefix
        );
    }
    let _ = write!(text, "{more}[server]\nlisten = \"127.0.0.1:{port}\"\n");
    Shop::of(&text, port)
}

/// Waits until every pipeline is live.
pub async fn live(docmill: &Docmill, tenants: u32) {
    let begin = Instant::now();
    loop {
        assert!(docmill.is_running(), "docmill ended: {}", docmill.log());
        let answer = docmill.get("/api/v1/status").await;
        let status: Value = answer.and_then(|(_, text)| serde_json::from_str(&text).ok()).unwrap_or_default();
        let pipelines = status["pipelines"].as_array().cloned().unwrap_or_default();
        if pipelines.iter().filter(|pipeline| pipeline["phase"] == "live").count() == tenants as usize {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "not all are live: {}", docmill.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many this database has had.
async fn sessions(client: &tokio_postgres::Client) -> i64 {
    let sql = "select sessions from pg_stat_database where datname = current_database()";
    client.query_one(sql, &[]).await.expect("PostgreSQL 14 or later").get(0)
}

/// All of them, in one process.
pub struct Tenants {
    pub docmill: Docmill,
    pub count: u32,
}

#[async_trait]
impl Running for Tenants {
    fn pids(&self) -> Vec<u32> {
        vec![self.docmill.pid()]
    }

    fn must_run(&self) {
        assert!(self.docmill.is_running(), "docmill ended: {}", self.docmill.log());
    }

    async fn written(&mut self, place: &Place) -> u64 {
        self.must_run();
        let path =
            format!("{}*users*/_stats/indexing?filter_path=_all.primaries.indexing.index_total", place.search.prefix);
        let stats: Value = place.search.must(Method::GET, &path, None).await;
        stats["_all"]["primaries"]["indexing"]["index_total"].as_u64().unwrap_or(0)
    }

    /// Whether the last user of every pipeline has that name.
    async fn has(&mut self, place: &Place, id: i64, name: &str) -> bool {
        self.must_run();
        for tenant in 0..self.count {
            let user = place.search.document(&format!("t{tenant}-users"), &id.to_string()).await;
            if user.is_none_or(|user| user["name"] != name) {
                return false;
            }
        }
        true
    }

    async fn end(self: Box<Self>, _: &Place) {
        assert!(self.docmill.terminate().success(), "it ends when told to");
    }
}

/// How many documents are wrong when what was changed last has had its time.
pub async fn arrived(running: &mut Tenants, place: &Place, tenants: u32) -> usize {
    let begin = Instant::now();
    loop {
        running.must_run();
        let found = wrong(place, tenants).await;
        if found == 0 || begin.elapsed() >= LATE {
            return found;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// How many documents of all pipelines are not what SQL says.
async fn wrong(place: &Place, tenants: u32) -> usize {
    let client = connect(&place.database.url).await;
    let oracle = oracle_statements().swap_remove(0);
    let mut wrong = 0;
    for tenant in 0..tenants {
        client.batch_execute(&format!("set search_path = t{tenant}")).await.expect("a schema");
        let sql = format!("select id, document::text from ({oracle}) oracle");
        let rows = client.query(&sql, &[]).await.expect("documents.sql is valid");
        let parsed = rows.iter().map(|row| (row.get(0), serde_json::from_str(row.get(1)).expect("jsonb is JSON")));
        let found = place.search.documents(&format!("t{tenant}-users")).await.unwrap_or_default();
        let found = differences("users", &parsed.collect(), &found);
        if found.total() > 0 {
            eprintln!("pipeline t{tenant}: {found}");
        }
        wrong += found.total();
    }
    wrong
}
