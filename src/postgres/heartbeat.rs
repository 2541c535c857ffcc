//! The heartbeat: a transaction of our own in the log when there was none for a while, so that the slot moves on and a dead
//! connection is noticed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::connect::Connection;
use super::error::failed;
use crate::edges::Failure;

/// What our own messages in the log begin with.
pub(super) const MESSAGE_PREFIX: &str = "docmill";
const HEARTBEAT: &str = "heartbeat";
/// A stream that brought nothing for that long, although heartbeats were written, is taken for dead. Long, because the
/// server may be decoding what concerns nobody here.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// Writes a message into the log, inside a transaction: one outside may wait for somebody else's flush.
pub(super) async fn emit(control: &Connection, content: &str) -> Result<(), Failure> {
    control
        .client
        .execute("select pg_logical_emit_message(true, $1, $2::text)", &[&MESSAGE_PREFIX, &content])
        .await
        .map(drop)
        .map_err(|error| failed("write a marker into the source's log", error))
}

/// See the module.
pub(super) struct Heartbeat {
    every: Duration,
    due: Instant,
    /// When the stream brought anything last.
    heard: Instant,
    beating: Option<AbortOnDropHandle<Result<(), Failure>>>,
}

impl Heartbeat {
    pub fn new(every: Duration) -> Self {
        let now = Instant::now();
        Self { every, due: now + every, heard: now, beating: None }
    }

    /// The stream brought something.
    pub fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// The stream brought a transaction: there need not be another for a while.
    pub fn put_off(&mut self) {
        self.due = Instant::now() + self.every;
    }

    /// Beats for as long as it is polled; returns when that fails, or when nobody hears it. May be dropped at any time.
    pub async fn run(&mut self, control: &Arc<Connection>) -> Failure {
        loop {
            if let Some(beating) = &mut self.beating {
                let beaten = beating.await;
                self.beating = None;
                match beaten {
                    Ok(Ok(())) => {}
                    Ok(Err(failure)) => return failure,
                    Err(error) => return Failure::transient("failed to write a heartbeat").with_source(error),
                }
            }
            tokio::time::sleep_until(self.due.into()).await;
            let silence = self.heard.elapsed();
            if silence > SILENCE_MAX.max(self.every * 4) {
                return Failure::transient(format!(
                    "failed to read the stream of changes: nothing came for {} s, not even heartbeats",
                    silence.as_secs()
                ));
            }
            self.put_off();
            // Apart, so that dropping this future does not cut it.
            let control = Arc::clone(control);
            let beat = async move { emit(&control, HEARTBEAT).await };
            self.beating = Some(AbortOnDropHandle::new(Handle::current().spawn(beat)));
        }
    }
}

/// Runs a heartbeat where there is one; else never returns.
pub(super) async fn run(heartbeat: Option<&mut Heartbeat>, control: &Arc<Connection>) -> Failure {
    match heartbeat {
        Some(heartbeat) => heartbeat.run(control).await,
        None => std::future::pending().await,
    }
}
