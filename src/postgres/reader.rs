//! [`Reader`]: rows of the source, on its read connections.

use std::sync::Arc;

use async_trait::async_trait;

use super::chunk::{self, Chunks};
use super::error::failed;
use super::pool::Pool;
use super::query_set::{self, Prepared};
use crate::edges::{Chunk, Failure, QuerySet, RowReader};
use crate::model::{Declaration, ParsePositionError, Position, TableName};

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    pub pool: Arc<Pool>,
    pub chunks: Chunks,
}

#[async_trait]
impl RowReader for Reader {
    async fn prepare(&self, declaration: &Declaration) -> Result<Arc<dyn QuerySet>, Failure> {
        let queries = query_set::prepare(&self.pool, declaration).await?;
        Ok(Arc::new(Prepared(Arc::new(queries))))
    }

    async fn chunk(
        &self,
        table: &TableName,
        keys: &[String],
        after: Option<&[String]>,
        limit: usize,
    ) -> Result<Chunk, Failure> {
        self.chunks.read(&self.pool, table, keys, after, limit.max(1)).await
    }

    async fn estimate(&self, table: &TableName) -> Result<Option<u64>, Failure> {
        chunk::estimate(&self.pool, table).await
    }

    async fn flush_position(&self) -> Result<Position, Failure> {
        let tried = "ask where the source's log ends";
        let sql = "select case when not pg_is_in_recovery() then pg_current_wal_flush_lsn()::text end";
        let mut lease = self.pool.lease().await?;
        let row = lease.work()?.client().query_one(sql, &[]).await;
        let mut answer: Option<String> = row.map_err(|error| failed(tried, error))?.get(0);
        lease.rest();
        drop(lease);
        if answer.is_none() {
            // A standby's end of the log is behind what the stream has shown of the primary's.
            let control = self.pool.source().connect_control().await?;
            let row = control.client.query_one(sql, &[]).await;
            answer = row.map_err(|error| failed(tried, error))?.get(0);
        }
        answer
            .unwrap_or_default()
            .parse()
            .map_err(|error: ParsePositionError| Failure::transient(format!("failed to {tried}")).with_source(error))
    }
}
