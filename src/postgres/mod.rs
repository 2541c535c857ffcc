//! PostgreSQL as a source: changes through logical decoding, rows through declared statements. Knows `model` and `edges`;
//! no type of a driver leaves it.
//!
//! ```text
//! open       server, tables, privileges ─▶ publication ─▶ slot ─▶ START_REPLICATION ─▶ quiet point
//! stream     pgoutput ─▶ relation ─▶ fence ─▶ events            (confirm, mark, heartbeat)
//! reader     roles, prepare ─▶ plan (functions, calls) ─▶ query_set ─▶ pool ─▶ snapshot, ids      chunk, estimate
//! sharing    one stream for many flows: copies of the slot, and what each flow's role may see
//! link       capture tells readers on which server, and whether, they may read
//! ```
//!
//! The crate's embedder has **ring** as rustls' provider; the connections here bring it themselves.

mod array_text;
mod calls;
mod catalog;
mod catalog_sign;
mod catalog_watch;
mod cells;
mod check;
mod chunk;
mod connect;
mod connections;
mod datetime;
mod error;
mod fence;
mod fence_snapshot;
mod fetch;
mod functions;
mod heartbeat;
mod identity;
mod ids;
mod link;
mod lost_slot;
mod open;
mod options;
mod overtaken;
mod params;
pub mod pgoutput;
mod plan;
mod pool;
mod privilege_watch;
mod privileges;
mod problem;
mod publication;
mod query_set;
mod quiet_point;
mod quote;
mod reader;
mod relation;
mod roles;
mod server;
mod settings;
mod sharing;
mod slot;
mod slot_reports;
mod socket;
mod source;
mod stream;
mod text_value;
mod tls;
mod types;

use std::sync::Arc;

use async_trait::async_trait;

pub use check::check;
pub use functions::is_never_allowed;
pub use options::PostgresOptions;
pub use sharing::PostgresTenant;

use crate::edges::{ChangeCapture, ChangeStream, Failure, OpenRequest, RowReader, SlotReport};
use chunk::Chunks;
use pool::Pool;
use reader::Reader;
use slot_reports::SlotReports;
use source::Source;

/// A PostgreSQL source.
#[derive(Debug)]
pub struct Postgres {
    source: Arc<Source>,
    reader: Arc<Reader>,
    slot_reports: SlotReports,
}

impl Postgres {
    /// A source that connects when it is used, on the runtime that this is called in.
    ///
    /// # Errors
    ///
    /// `Fatal` when a connection string is not understood, or outside of a tokio runtime.
    pub fn new(options: PostgresOptions) -> Result<Arc<Self>, Failure> {
        Ok(Self::over(Source::new(options, true)?))
    }

    /// A source whose stream several flows share. Nothing is read through it: each flow reads as a role of its own, by a
    /// [`PostgresTenant`].
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn shared(options: PostgresOptions) -> Result<Arc<Self>, Failure> {
        Ok(Self::over(Source::new(PostgresOptions { reader_url: None, ..options }, false)?))
    }

    fn over(source: Source) -> Arc<Self> {
        let source = Arc::new(source);
        let reader = Arc::new(Reader { pool: Pool::new(Arc::clone(&source)), chunks: Chunks::default() });
        Arc::new(Self { source, reader, slot_reports: SlotReports::default() })
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
        self.slot_reports.ask(&self.source).await
    }

    fn reader(&self) -> Arc<dyn RowReader> {
        Arc::clone(&self.reader) as Arc<dyn RowReader>
    }
}
