//! `docmill demo`: the whole thing with nothing installed but Rust.
//!
//! ```text
//! embedded PostgreSQL ─▶ shop, seeded ─▶ shop.wasm ─▶ backfill ─▶ changes trickle in, a line for each document they touch
//!    └─ at the end (--for, Ctrl-C): writes stop ─▶ caught up ─▶ every document against SQL ─▶ exit code
//! ```

mod changes;
mod compare;
mod memory;
mod read_back;
mod touched;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, wrong_usage};
use super::signals;
use crate::Engine;
use crate::config;
use crate::edges::{DocumentBuilder, Failure, FailureClass, Sink};
use crate::embedded::{EmbeddedPostgres, Options, SHOP_SCHEMA, shop_seed};
use crate::model::Position;
use crate::opensearch::{OpenSearch, OpenSearchOptions};
use crate::pipeline::Summary;
use crate::postgres::{Postgres, PostgresOptions};
use crate::telemetry::{All, Log, Progress, Screen};
use crate::wasm::{Compiler, Limits, Runtime, RuntimeOptions, WasmBuilder};
use changes::Shop;
use compare::Comparison;
use memory::Memory;
use touched::Touched;

/// The shop's builder, built from guest-examples/shop.
const SHOP_WASM: &[u8] = include_bytes!("../../embedded/shop/shop.wasm");
/// Before the names of indexes in a search engine, where somebody may have `users` of their own.
const INDEX_PREFIX: &str = "docmill-demo-";
/// A slot that is idle moves on that often, so that catching up is seen soon.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long everything that was written may take to be durable and confirmed.
const CATCH_UP_MAX: Duration = Duration::from_secs(120);

#[derive(Args)]
pub(super) struct Arguments {
    /// Write documents to this OpenSearch or Elasticsearch instead of this process's memory
    #[arg(long, value_name = "URL")]
    sink: Option<String>,
    /// End by itself after this long, such as 20s or 2m
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    time: Option<Duration>,
    /// Users in the shop, with five orders each
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    users: u32,
    /// Products in the shop
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    products: u32,
}

fn duration(text: &str) -> Result<Duration, String> {
    config::duration(text).ok_or_else(|| "expected a duration such as 20s or 2m".to_owned())
}

/// A line to standard output, beside what is drawn on the terminal.
fn say(screen: &Screen, text: &str) {
    // A reader that went away is no reason to end: the comparison's exit code still tells.
    screen.beside(|| drop(writeln!(std::io::stdout(), "{text}")));
}

pub(super) async fn run(arguments: Arguments, screen: &Screen) -> anyhow::Result<Exit> {
    let stop = CancellationToken::new();
    let first = "no more changes; catching up and comparing (again to stop at once)";
    let _signals = signals::heed(&stop, screen, first).context("failed to wait for signals")?;

    // A sink that cannot be had ends it before anything is started.
    let target = Target::open(arguments.sink.as_deref(), screen).await?;
    let postgres = start_postgres(screen).await?;
    let mut background = JoinSet::new();
    let client = connect(&postgres, &mut background).await?;
    let begun = Instant::now();
    client.batch_execute(SHOP_SCHEMA).await.context("failed to make the shop's tables")?;
    let seed = shop_seed(arguments.users, arguments.products);
    client.batch_execute(&seed).await.context("failed to fill the shop")?;
    let shop = format!("{} users, {} products", arguments.users, arguments.products);
    say(screen, &format!("shop: {shop}, in {:.1} s", begun.elapsed().as_secs_f64()));

    let begun = Instant::now();
    let options = RuntimeOptions { compiler: Compiler::this_program(), ..RuntimeOptions::default() };
    let runtime = Runtime::new(options)?;
    let builder = WasmBuilder::load(&runtime, SHOP_WASM, serde_json::json!({}), Limits::default(), "demo").await?;
    let version = builder.version().short().to_owned();
    say(screen, &format!("builder: shop.wasm {version}, compiled in {:.1} s", begun.elapsed().as_secs_f64()));

    let touched = Touched::new(screen.clone());
    let mut pipeline = Pipeline::start(&postgres, builder, &target, &touched, screen)?;
    if let Some(ended) = backfill(&mut pipeline, &touched, screen, &stop).await {
        return Err(ended);
    }

    if let Some(time) = arguments.time {
        say(screen, &format!("changes for {time:?}:"));
        let stop = stop.clone();
        background.spawn(async move {
            tokio::time::sleep(time).await;
            stop.cancel();
        });
    } else {
        say(screen, "changes, until Ctrl-C:");
        what_next(screen, &postgres, &target);
    }
    let changes = changes::trickle(&client, Shop::new(arguments.users, arguments.products), &touched, stop.clone());
    let committed = tokio::select! {
        committed = changes => committed?,
        ended = pipeline.ended() => return Err(ended),
    };
    let behind = written_position(&client).await?;
    pipeline.catch_up(&touched, behind).await?;
    let comparison = compare(&client, &target).await?;
    let summary = pipeline.stop().await?;
    report(screen, committed, &touched, &comparison, summary.confirmed);
    drop(client);
    tokio::task::spawn_blocking(move || drop(postgres)).await?;
    if comparison.different > 0 {
        return Ok(Exit::Found);
    }
    if arguments.time.is_some() {
        next_commands(screen);
    }
    Ok(Exit::Fine)
}

async fn start_postgres(screen: &Screen) -> anyhow::Result<EmbeddedPostgres> {
    say(screen, "starting a throw-away PostgreSQL");
    let options =
        Options { fsync: false, progress: |line| drop(writeln!(std::io::stdout(), "{line}")), ..Options::default() };
    let postgres = tokio::task::spawn_blocking(|| EmbeddedPostgres::start(options)).await??;
    let program = postgres.command("postgres").get_program().to_string_lossy().into_owned();
    let data = postgres.data();
    let text = format!("PostgreSQL {}: {program}, data in {}", postgres.major(), data.display());
    say(screen, &text);
    Ok(postgres)
}

async fn connect(postgres: &EmbeddedPostgres, background: &mut JoinSet<()>) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(&postgres.url(), NoTls).await?;
    // What goes wrong comes out of the client's calls.
    background.spawn(async move { drop(connection.await) });
    Ok(client)
}

/// Where the demo's documents go.
enum Target {
    Memory(Arc<Memory>),
    Search { url: String, sink: Arc<OpenSearch> },
}

impl Target {
    async fn open(url: Option<&str>, screen: &Screen) -> anyhow::Result<Self> {
        let Some(url) = url else {
            say(screen, "documents: in memory (--sink http://localhost:9200 writes them to an OpenSearch)");
            return Ok(Target::Memory(Memory::new()));
        };
        let options = OpenSearchOptions {
            url: url.to_owned(),
            index_prefix: INDEX_PREFIX.to_owned(),
            ..OpenSearchOptions::default()
        };
        let sink = OpenSearch::connect(options).await.map_err(|failure| match failure.class {
            FailureClass::Transient => failure.into(),
            _ => wrong_usage(failure.chain()),
        })?;
        say(screen, &format!("documents: in indexes {INDEX_PREFIX}users and {INDEX_PREFIX}products of the sink"));
        Ok(Target::Search { url: url.to_owned(), sink })
    }

    fn sink(&self) -> Arc<dyn Sink> {
        match self {
            Target::Memory(memory) => Arc::clone(memory) as _,
            Target::Search { sink, .. } => Arc::clone(sink) as _,
        }
    }

    async fn documents(&self, index: &str) -> anyhow::Result<BTreeMap<String, Value>> {
        match self {
            Target::Memory(memory) => memory
                .documents(index)
                .into_iter()
                .map(|(id, document)| Ok((id, serde_json::from_slice(&document)?)))
                .collect(),
            Target::Search { url, .. } => read_back::documents(url, &format!("{INDEX_PREFIX}{index}")).await,
        }
    }
}

/// The running engine.
struct Pipeline {
    engine: JoinSet<Result<Summary, Failure>>,
    shutdown: CancellationToken,
}

impl Pipeline {
    fn start(
        postgres: &EmbeddedPostgres,
        builder: Arc<WasmBuilder>,
        target: &Target,
        touched: &Arc<Touched>,
        screen: &Screen,
    ) -> anyhow::Result<Self> {
        let source = Postgres::new(PostgresOptions {
            url: postgres.url(),
            heartbeat: Some(HEARTBEAT),
            ..PostgresOptions::default()
        })?;
        let shutdown = CancellationToken::new();
        let observer = All(vec![
            Arc::new(Log::new("demo")),
            Arc::new(Progress::new("demo", screen.clone())),
            Arc::clone(touched) as _,
        ]);
        let engine = Engine::new(source, builder, target.sink())
            .with_name("demo")
            .with_observer(Arc::new(observer))
            .with_shutdown(shutdown.clone());
        let mut running = JoinSet::new();
        running.spawn(engine.run());
        Ok(Self { engine: running, shutdown })
    }

    /// Waits for the engine to end, which it does not do by itself unless something is wrong.
    async fn ended(&mut self) -> anyhow::Error {
        match self.engine.join_next().await {
            Some(Ok(Err(failure))) => anyhow::Error::new(failure).context("the pipeline ended"),
            Some(Err(error)) => anyhow::Error::new(error).context("the pipeline ended"),
            Some(Ok(Ok(_))) | None => anyhow::anyhow!("the pipeline ended before it was told to"),
        }
    }

    async fn catch_up(&mut self, touched: &Touched, behind: Position) -> anyhow::Result<()> {
        let mut confirmed = touched.confirmed();
        tokio::select! {
            reached = confirmed.wait_for(|position| *position >= behind) => drop(reached?),
            ended = self.ended() => return Err(ended),
            () = tokio::time::sleep(CATCH_UP_MAX) => {
                let reached = *touched.confirmed().borrow();
                bail!("it did not catch up within {CATCH_UP_MAX:?}: position {behind} was written, {reached} is confirmed");
            }
        }
        Ok(())
    }

    async fn stop(mut self) -> anyhow::Result<Summary> {
        self.shutdown.cancel();
        match self.engine.join_next().await {
            Some(ended) => Ok(ended??),
            None => bail!("the pipeline ended before it was told to"),
        }
    }
}

/// Waits until all documents are there; the reason when they will not be.
async fn backfill(
    pipeline: &mut Pipeline,
    touched: &Touched,
    screen: &Screen,
    stop: &CancellationToken,
) -> Option<anyhow::Error> {
    say(screen, "backfill:");
    let begun = Instant::now();
    let mut live = touched.live();
    tokio::select! {
        _ = live.wait_for(|live| *live) => {}
        ended = pipeline.ended() => return Some(ended),
        () = stop.cancelled() => return Some(anyhow::anyhow!("stopped before the backfill was done")),
    }
    let (filled, took) = (touched.tally().filled, begun.elapsed().as_secs_f64());
    say(screen, &format!("  {filled} documents in {took:.1} s, {:.0} a second", filled as f64 / took.max(0.001)));
    None
}

/// Where the log ends, so that whatever is committed lies before it.
async fn written_position(client: &Client) -> anyhow::Result<Position> {
    let row = client.query_one("select pg_current_wal_insert_lsn()::text", &[]).await?;
    let text: String = row.try_get(0)?;
    Ok(text.parse()?)
}

/// Compares every document with what SQL says.
async fn compare(client: &Client, target: &Target) -> anyhow::Result<Comparison> {
    let mut comparison = Comparison::default();
    for (index, expected) in compare::expected(client).await? {
        comparison.add(&index, &expected, &target.documents(&index).await?);
    }
    Ok(comparison)
}

fn report(screen: &Screen, committed: u64, touched: &Touched, comparison: &Comparison, confirmed: Position) {
    let tally = touched.tally();
    let ms = |duration: Duration| format!("{:.1} ms", duration.as_secs_f64() * 1_000.0);
    say(
        screen,
        &format!(
            "\n{committed} transactions touched documents {} times ({} deletions); \
             commit to durable: half within {}, 99 % within {}",
            tally.documents + tally.deleted,
            tally.deleted,
            ms(tally.p50),
            ms(tally.p99)
        ),
    );
    say(screen, &format!("everything up to position {confirmed} is durable and confirmed"));
    let Comparison { equal, different, shown } = comparison;
    match different {
        0 => say(screen, &format!("compared with SQL, field by field: all {equal} documents are equal")),
        _ => {
            say(screen, &format!("compared with SQL, field by field: {different} documents differ, {equal} are equal"));
            shown.iter().for_each(|line| say(screen, &format!("  {line}")));
        }
    }
}

/// Said while changes trickle in: what to try meanwhile.
fn what_next(screen: &Screen, postgres: &EmbeddedPostgres, target: &Target) {
    let sql = "update users set name = 'Ada' where id = 1";
    say(screen, &format!("  try: psql '{}' -c \"{sql}\"", postgres.url()));
    if matches!(target, Target::Search { .. }) {
        say(screen, &format!("  try: curl 'YOUR_SINK/{INDEX_PREFIX}users/_doc/1?pretty'"));
    }
}

/// Said at the end: where to go on.
fn next_commands(screen: &Screen) {
    say(
        screen,
        "next: docmill demo --sink http://localhost:9200      the same into an OpenSearch\n      \
         docmill check --config docmill.toml            what your own database and search engine still need\n      \
         guest-examples/minimal                         the shortest builder of your own",
    );
}
