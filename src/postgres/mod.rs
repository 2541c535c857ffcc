//! PostgreSQL as a source: changes through logical decoding, rows through declared statements. Knows `model` and `edges`;
//! no type of a driver leaves it.
//!
//! ```text
//! open       server, tables, privileges ─▶ publication ─▶ slot ─▶ START_REPLICATION ─▶ quiet point
//! stream     pgoutput ─▶ relation ─▶ fence ─▶ events            (confirm, mark, heartbeat)
//! reader     prepare ─▶ query_set ─▶ pool ─▶ snapshot, ids      chunk, estimate
//! link       capture tells readers on which server, and whether, they may read
//! ```
//!
//! The crate's embedder has **ring** as rustls' provider; the connections here bring it themselves.

mod array_text;
mod catalog;
mod catalog_sign;
mod catalog_watch;
mod cells;
mod check;
mod chunk;
mod connect;
mod datetime;
mod error;
mod fence;
mod fence_snapshot;
mod fetch;
mod heartbeat;
mod identity;
mod ids;
mod link;
mod open;
mod options;
mod params;
pub mod pgoutput;
mod plan;
mod pool;
mod privileges;
mod problem;
mod publication;
mod query_set;
mod quiet_point;
mod quote;
mod reader;
mod relation;
mod server;
mod settings;
mod slot;
mod source;
mod stream;
mod text_value;
mod tls;
mod types;
#[cfg(feature = "fail-points")]
mod unordered;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

pub use check::check;
pub use options::PostgresOptions;

use crate::edges::{ChangeCapture, ChangeStream, Failure, OpenRequest, RowReader, SlotReport};
use chunk::Chunks;
use connect::Connection;
use pool::Pool;
use reader::Reader;
use source::Source;

/// A PostgreSQL source.
#[derive(Debug)]
pub struct Postgres {
    source: Arc<Source>,
    reader: Arc<Reader>,
    /// Kept between two looks at the slot.
    watcher: Mutex<Option<Connection>>,
}

impl Postgres {
    /// A source that connects when it is used, on the runtime that this is called in.
    ///
    /// # Errors
    ///
    /// `Fatal` when a connection string is not understood, or outside of a tokio runtime.
    pub fn new(options: PostgresOptions) -> Result<Arc<Self>, Failure> {
        let source = Arc::new(Source::new(options)?);
        let reader = Arc::new(Reader { pool: Pool::new(Arc::clone(&source)), chunks: Chunks::default() });
        Ok(Arc::new(Self { source, reader, watcher: Mutex::new(None) }))
    }
}

#[async_trait]
impl ChangeCapture for Postgres {
    async fn open(&self, request: &OpenRequest<'_>) -> Result<Box<dyn ChangeStream>, Failure> {
        Ok(Box::new(open::open(&self.source, request).await?))
    }

    async fn mark(&self, token: u64) -> Result<(), Failure> {
        // On a connection of its own: markers are few, and one that waits must not hold up the stream.
        heartbeat::emit(&self.source.connect_control().await?, &token.to_string()).await
    }

    async fn slot(&self) -> Result<Option<SlotReport>, Failure> {
        let mut kept = self.watcher.lock().await;
        let control = match kept.take().filter(|control| !control.client.is_closed()) {
            Some(control) => control,
            None => self.source.connect_control().await?,
        };
        let facts = slot::facts(&control.client, &self.source.options.slot).await?;
        *kept = Some(control);
        Ok(facts.map(slot::SlotFacts::report))
    }

    fn reader(&self) -> Arc<dyn RowReader> {
        Arc::clone(&self.reader) as Arc<dyn RowReader>
    }
}
