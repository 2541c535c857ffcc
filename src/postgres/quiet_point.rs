//! The quiet point: every transaction whose changes the stream will not bring is visible to every snapshot from now on.
//!
//! Neither the id of an ALTER PUBLICATION nor a snapshot's xmax will do: a commit that lies before the slot's start but still
//! waits for a standby is in neither, and a writer with a later id than the ALTER's is decoded without the table. So an id of
//! our own is taken afterwards, and everything before it must have ended.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::error::failed;
use crate::edges::{Failure, Observer, Waiting};

const POLL_MIN: Duration = Duration::from_millis(2);
const POLL_MAX: Duration = Duration::from_millis(200);
/// Waiting is reported after the first, and then again and again after the second.
const REPORT_AFTER: Duration = Duration::from_secs(2);
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Waits for it, for as long as it takes.
pub(super) async fn wait(client: &Client, observer: &dyn Observer) -> Result<(), Failure> {
    let tried = "wait until all transactions that began before have ended";
    // A transaction of its own, which ends with the statement.
    let own: String =
        client.query_one("select pg_current_xact_id()::text", &[]).await.map_err(|error| failed(tried, error))?.get(0);
    let waiting = async {
        let mut pause = POLL_MIN;
        loop {
            let sql = "select pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8";
            let row = client.query_one(sql, &[&own]).await?;
            if row.get(0) {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_MAX);
        }
    };
    reporting(client, "the quiet point", observer, waiting).await.map_err(|error| failed(tried, error))
}

/// Does `work`, and while it takes long says which transaction is the oldest.
pub(super) async fn reporting<T, E>(
    watcher: &Client,
    what: &str,
    observer: &dyn Observer,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut work = pin!(work);
    let began = Instant::now();
    let mut next = REPORT_AFTER;
    loop {
        match tokio::time::timeout(next, work.as_mut()).await {
            Ok(done) => {
                if next == REPORT_EVERY {
                    observer.on_waiting(None);
                }
                return done;
            }
            Err(_) => {
                next = REPORT_EVERY;
                observer.on_waiting(Some(Waiting::QuietPoint));
                let oldest = oldest_transaction(watcher).await;
                let waited = began.elapsed().as_secs();
                tracing::warn!(waited_s = waited, oldest, "{what} waits for an open transaction to end");
            }
        }
    }
}

async fn oldest_transaction(client: &Client) -> String {
    let sql = "select what from ( \
                 select 'pid ' || pid || coalesce(', open for ' || extract(epoch from clock_timestamp() - xact_start)::int8 || ' s', '') \
                          || coalesce(', waiting for ' || wait_event, '') as what, age(backend_xid) as age \
                 from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid() \
                 union all \
                 select 'prepared transaction ' || gid || ', since ' || prepared, age(transaction) from pg_prepared_xacts) t \
               order by age desc limit 1";
    match client.query_opt(sql, &[]).await {
        Ok(Some(row)) => row.get(0),
        Ok(None) => "not known".to_owned(),
        Err(_) => "could not be asked".to_owned(),
    }
}
