//! An engine with a sink of one's own, embedded in a program: `cargo run --example own_sink`.
//!
//! The source is a throw-away PostgreSQL with the shop in it, the builder is the shop's component, and documents go into a map in
//! this program's memory. It ends by itself once the map holds every document.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use docmill::Engine;
use docmill::edges::{
    Failure, Generation, IdPage, IndexAdmin, MemoryState, Ownership, Sink, State, Write, WriteOutcome,
};
use docmill::embedded::{EmbeddedPostgres, Options, SHOP_SCHEMA, shop_seed};
use docmill::model::{IndexDeclaration, QuarantineRecord, Version};
use docmill::postgres::{Postgres, PostgresOptions};
use docmill::wasm::{Limits, Runtime, RuntimeOptions, WasmBuilder};
use tokio_util::sync::CancellationToken;

/// Documents by index and id. A deletion is kept as `None`, so that a late write of an older version cannot undo it.
type Documents = BTreeMap<(String, String), (Version, Option<String>)>;

#[derive(Debug, Default)]
struct InMemory {
    documents: Mutex<Documents>,
    state: Arc<MemoryState>,
}

#[async_trait]
impl Sink for InMemory {
    async fn write(&self, writes: &[Write], _ownership: &dyn Ownership) -> Result<Vec<WriteOutcome>, Failure> {
        let mut documents = self.documents.lock().expect("no writer panics");
        let outcomes = writes.iter().map(|write| {
            let key = (write.generation.to_string(), write.id.clone());
            match documents.get(&key) {
                Some((current, _)) if *current > write.version => WriteOutcome::Stale { current: Some(*current) },
                _ => {
                    let text = write.document.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                    documents.insert(key, (write.version, text));
                    WriteOutcome::Written
                }
            }
        });
        Ok(outcomes.collect())
    }

    async fn quarantine(&self, records: &[QuarantineRecord]) -> Result<(), Failure> {
        records.iter().for_each(|record| eprintln!("{}: {}", record.document, record.rejection));
        Ok(())
    }

    fn indexes(&self) -> Arc<dyn IndexAdmin> {
        Arc::new(NoIndexes)
    }

    fn state(&self) -> Arc<dyn State> {
        Arc::clone(&self.state) as _
    }
}

/// A map needs no indexes made, and holds nothing when the program starts.
#[derive(Debug)]
struct NoIndexes;

const UUID: &str = "in memory";

#[async_trait]
impl IndexAdmin for NoIndexes {
    async fn ensure(&self, indexes: &[IndexDeclaration]) -> Result<Vec<Generation>, Failure> {
        let made = |index: &IndexDeclaration| Generation {
            name: index.name.clone(),
            uuid: UUID.to_owned(),
            created: true,
            empty: true,
        };
        Ok(indexes.iter().map(made).collect())
    }

    async fn uuid(&self, _generation: &str) -> Result<Option<String>, Failure> {
        Ok(Some(UUID.to_owned()))
    }

    async fn ids(&self, _generation: &str, _cursor: Option<String>, _limit: usize) -> Result<IdPage, Failure> {
        Ok(IdPage::default())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "a TLS provider is installed already")?;
    let postgres = tokio::task::spawn_blocking(|| EmbeddedPostgres::start(Options::default())).await??;
    let (client, connection) = tokio_postgres::connect(&postgres.url(), tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(SHOP_SCHEMA).await?;
    client.batch_execute(&shop_seed(100, 50)).await?;

    let source = Postgres::new(PostgresOptions { url: postgres.url(), ..PostgresOptions::default() })?;
    let runtime = Runtime::new(RuntimeOptions::default())?;
    let component = include_bytes!("../src/embedded/shop/shop.wasm");
    let builder = WasmBuilder::load(&runtime, component, serde_json::json!({}), Limits::default(), "shop").await?;
    let sink = Arc::new(InMemory::default());
    let shutdown = CancellationToken::new();
    let engine = Engine::new(source, builder, Arc::clone(&sink) as Arc<dyn Sink>).with_shutdown(shutdown.clone());
    let engine = tokio::spawn(engine.run());

    let count = || sink.documents.lock().expect("no writer panics").values().filter(|(_, text)| text.is_some()).count();
    while count() < 150 && !engine.is_finished() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.execute("update users set name = 'Ada' where id = 1", &[]).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    shutdown.cancel();
    let summary = engine.await??;
    let documents = sink.documents.lock().expect("no writer panics");
    let ada = documents.get(&("users".to_owned(), "1".to_owned())).and_then(|(_, text)| text.as_deref());
    println!("{} writes; users/1 is {}", summary.documents, ada.unwrap_or("missing"));
    match ada {
        Some(text) if text.contains("\"Ada\"") => Ok(()),
        _ => Err("the change did not arrive".into()),
    }
}
