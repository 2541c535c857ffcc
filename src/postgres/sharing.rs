//! One stream for many flows: the slot is copied for whoever falls behind, and each flow's role is asked what it may see.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::error::SqlState;

use super::error::failed;
use super::options::PostgresOptions;
use super::privilege_watch::PrivilegeWatch;
use super::{Postgres, open, quote, slot};
use crate::edges::{
    Admitted, CapturedTable, ChangeCapture, Failure, Lost, Observer, RowReader, SharedSource, StreamStart, TenantSource,
};
use crate::model::{ParsePositionError, Position};

/// How often it is tried to drop a copy that somebody still reads, and how long to wait between.
const DROP_TRIES_MAX: usize = 50;
const DROP_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

#[async_trait]
impl SharedSource for Postgres {
    async fn stand(&self, tables: &[CapturedTable]) -> Result<StreamStart, Failure> {
        open::stand(&self.source, tables).await
    }

    async fn copy(&self, name: &str) -> Result<(), Failure> {
        slot::check_name(name)?;
        self.drop_copy(name).await?;
        let (of, control) = (&self.source.options.slot, self.source.connect_control().await?);
        let sql = "select pg_copy_logical_replication_slot($1, $2)";
        match control.client.execute(sql, &[&of.as_str(), &name]).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let full = error.code() == Some(&SqlState::CONFIGURATION_LIMIT_EXCEEDED);
                let failure = failed(format!("copy slot {of} to {name}"), error);
                Err(match full {
                    true => failure.with_advice("raise max_replication_slots of the server and restart it"),
                    false => failure,
                })
            }
        }
    }

    async fn copies(&self) -> Result<Vec<(String, Position)>, Failure> {
        let tried = "look for copies of the slot";
        let control = self.source.connect_control().await?;
        let sql = "select slot_name::text, confirmed_flush_lsn::text from pg_replication_slots \
                   where slot_name ~ $1 and plugin = 'pgoutput' and database = current_database() \
                     and confirmed_flush_lsn is not null";
        // A slot's name holds nothing that a pattern takes for more than itself.
        let pattern = format!("^{}__[0-9a-f]{{16}}$", self.source.options.slot);
        let rows = control.client.query(sql, &[&pattern]).await.map_err(|error| failed(tried, error))?;
        rows.iter()
            .map(|row| {
                let position = row.get::<_, &str>(1).parse().map_err(|error: ParsePositionError| {
                    Failure::transient(format!("failed to {tried}")).with_source(error)
                })?;
                Ok((row.get(0), position))
            })
            .collect()
    }

    async fn drop_copy(&self, name: &str) -> Result<(), Failure> {
        let control = self.source.connect_control().await?;
        for _ in 1..DROP_TRIES_MAX {
            match control.client.execute("select pg_drop_replication_slot($1)", &[&name]).await {
                Ok(_) => return Ok(()),
                Err(error) if error.code() == Some(&SqlState::UNDEFINED_OBJECT) => return Ok(()),
                // Whoever read it is on the way out.
                Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => tokio::time::sleep(DROP_PAUSE).await,
                Err(error) => return Err(failed(format!("drop slot {name}"), error)),
            }
        }
        Err(Failure::transient(format!("failed to drop slot {name}: it is in use for {:?}", DROP_PAUSE * 50))
            .with_advice(format!("select pg_drop_replication_slot({});", quote::literal(name))))
    }

    fn on_copy(&self, name: &str) -> Result<Arc<dyn ChangeCapture>, Failure> {
        slot::check_name(name)?;
        let options = PostgresOptions { slot: name.to_owned(), heartbeat: None, ..self.source.options.clone() };
        Ok(Postgres::over(self.source.for_copy(options)))
    }
}

/// What a flow reads of a source whose stream it shares with others.
#[derive(Debug)]
pub struct PostgresTenant {
    postgres: Arc<Postgres>,
}

impl PostgresTenant {
    /// `options` say how rows are read: `reader_url`, `schema` and the limits of reads. Slot and publication are those of
    /// `shared`.
    ///
    /// # Errors
    ///
    /// `Fatal` when `reader_url` is not understood, or leads to another host or port than the shared stream comes from: what
    /// the one has shown, another server may not have yet.
    pub fn new(shared: &Postgres, options: PostgresOptions) -> Result<Arc<Self>, Failure> {
        let source = shared.source.for_tenant(options)?;
        let (reads, captures) = (&source.reader, &source.capture);
        if (&reads.host, reads.port) != (&captures.host, captures.port) {
            let found = format!(
                "rows would be read from {}:{}, and the stream that is shared comes from {}:{}",
                reads.host, reads.port, captures.host, captures.port
            );
            return Err(Failure::fatal(found).with_advice("say `slot = \"own\"` for this pipeline"));
        }
        Ok(Arc::new(Self { postgres: Postgres::over(source) }))
    }
}

#[async_trait]
impl TenantSource for PostgresTenant {
    async fn admit(&self, tables: &[CapturedTable]) -> Result<Admitted, Failure> {
        open::admit(&self.postgres.reader.pool, tables).await
    }

    async fn quiet(&self, tables: &[CapturedTable], observer: &Arc<dyn Observer>) -> Result<(), Failure> {
        open::quiet(&self.postgres.source, tables, &**observer).await
    }

    fn denied(&self, tables: &[CapturedTable]) -> Lost {
        let mut watch = PrivilegeWatch::new(&self.postgres.source, tables);
        Box::pin(async move { watch.run().await })
    }

    fn reader(&self) -> Arc<dyn RowReader> {
        self.postgres.reader()
    }
}
