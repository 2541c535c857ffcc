//! The open stream: messages of the replication connection in, events out, each transaction behind the fence.
//!
//! ```text
//! worker of pgwire-replication ──▶ take(message) ──▶ ready ──▶ fence ──▶ next()
//!   (feedback goes on by itself)      └ a Relation with unknown types waits for a look at the catalog
//! ```
//!
//! Everything between two awaits is in `self`, so that a dropped `next()` loses nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pgwire_replication::{Lsn, ReplicationClient, ReplicationEvent};

use super::catalog_watch::{CatalogWatch, Looked, Noticed};
use super::connect::Connection;
use super::error::replication_failed;
use super::fence::Fence;
use super::heartbeat::{self, Heartbeat, MESSAGE_PREFIX};
use super::link::LinkGuard;
use super::overtaken::Overtaken;
use super::pgoutput::{self, Message, Timestamp};
use super::privilege_watch::PrivilegeWatch;
use super::relation::{Changed, Description, Relations, Tuples, Untold};
use super::{slot, types};
use crate::edges::{CaptureEvent, ChangeStream, Failure, Lost, StreamStart};
use crate::model::{Change, ChangeKind, Position};

/// How long `close` waits until the source has the last confirmed position.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Stream {
    pub start: StreamStart,
    pub replication: ReplicationClient,
    /// For markers, heartbeats and looks at the catalog.
    pub control: Arc<Connection>,
    pub fence: Fence,
    pub relations: Relations,
    pub heartbeat: Option<Heartbeat>,
    pub catalog_watch: CatalogWatch,
    pub privilege_watch: PrivilegeWatch,
    pub overtaken: Overtaken,
    /// Why the stream must be opened again, once what is ready is out.
    pub reopen: Option<String>,
    /// Reads may begin as long as this is held.
    pub open: Option<LinkGuard>,
    /// The highest position that was confirmed in this stream.
    pub confirmed: AtomicU64,
    pub inside: Option<Inside>,
    pub ready: VecDeque<CaptureEvent>,
    /// What is ready must not go out before this transaction is visible.
    pub to_pass: Option<(u32, Position)>,
    /// A description that waits for types to be looked up; nothing is received meanwhile.
    pub described: Option<pgoutput::Relation>,
}

/// The transaction that is being received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inside {
    xid: u32,
    commit: Position,
    committed_at_us: i64,
    /// Something of it needed the fence, which it passes before that goes out.
    fenced: bool,
}

impl Stream {
    async fn advance(&mut self) -> Result<CaptureEvent, Failure> {
        loop {
            if let Some(failure) = self.privilege_watch.lost() {
                return Err(failure);
            }
            if !self.ready.is_empty() {
                if let Some((xid, commit)) = self.to_pass {
                    if !self.overtaken.begin(&mut self.fence, xid, commit).await? {
                        self.fence.pass(xid, commit).await?;
                    }
                    self.to_pass = None;
                }
                if let Some(event) = self.ready.pop_front()
                    && let Some(event) = self.overtaken.take(event)
                {
                    return Ok(event);
                }
                continue;
            }
            if self.inside.is_none() {
                self.ready.extend(self.overtaken.shown(&mut self.fence).await?);
                if !self.ready.is_empty() {
                    continue;
                }
            }
            if let Some(why) = self.reopen.take() {
                return Err(Failure::transient(why)
                    .with_advice("the stream is opened again, and what was missed assembled again"));
            }
            if let Some(relation) = &self.described {
                let unknown = self.relations.unknown_types(relation);
                if !unknown.is_empty() {
                    let forms = types::look_up(&self.control.client, &unknown).await?;
                    self.relations.learn(forms);
                }
                match self.relations.describe(relation) {
                    None | Some(Description::Same) => {}
                    Some(Description::Another) => self.catalog_watch.hurry(),
                    // Before the changes that it describes, so that the pass is on record before they are confirmed.
                    Some(Description::Untold(table)) => {
                        self.ready.extend(self.catalog_watch.described_without_keys(&table))
                    }
                    Some(Description::OfLeaves(table)) => {
                        // One that was begun earlier may have seen the catalog before this.
                        for _ in 0..=usize::from(self.catalog_watch.is_looking()) {
                            match self.catalog_watch.look(&self.control).await? {
                                Looked::At(noticed) => self.notice(noticed),
                                // It cannot be known now, so the table counts as one that lost its keys.
                                Looked::NotYet => {
                                    self.ready.extend(self.catalog_watch.described_without_keys(&table));
                                    break;
                                }
                            }
                        }
                    }
                }
                self.described = None;
                continue;
            }
            let received = tokio::select! {
                biased;
                // First, because a stream that always has something must not starve it.
                noticed = self.catalog_watch.run(&self.control) => {
                    let noticed = noticed?;
                    self.notice(Some(noticed));
                    continue;
                }
                received = self.replication.recv() => received,
                failure = heartbeat::run(self.heartbeat.as_mut(), &self.control) => return Err(failure),
                failure = self.privilege_watch.run() => return Err(failure),
                () = self.overtaken.look() => continue,
            };
            if let Some(heartbeat) = &mut self.heartbeat {
                heartbeat.heard();
            }
            match received {
                Ok(Some(event)) => self.take(event)?,
                Ok(None) => return Err(Failure::transient("the replication connection ended")),
                Err(error) => return Err(replication_failed("read the stream of changes", error)),
            }
        }
    }

    fn notice(&mut self, noticed: Option<Noticed>) {
        let Some(Noticed { tables, reopen }) = noticed else { return };
        self.reopen = self.reopen.take().or(reopen);
        if !tables.is_empty() {
            // Of no transaction, so it waits for none.
            self.ready.push_back(CaptureEvent::Catalog { tables });
        }
    }

    /// Takes in one message of the worker: what of it goes out is ready then.
    fn take(&mut self, event: ReplicationEvent) -> Result<(), Failure> {
        match event {
            ReplicationEvent::Begin { final_lsn, xid, commit_time_micros } => {
                self.inside = Some(Inside {
                    xid,
                    commit: Position::new(final_lsn.as_u64()),
                    committed_at_us: Timestamp(commit_time_micros).unix_micros(),
                    fenced: false,
                });
            }
            ReplicationEvent::Commit { end_lsn, commit_time_micros, .. } => {
                if let Some(heartbeat) = &mut self.heartbeat {
                    heartbeat.put_off();
                }
                let next_xid = self.inside.take().map_or(0, |inside| self.fence.next_xid(inside.xid));
                self.ready.push_back(CaptureEvent::End {
                    position: Position::new(end_lsn.as_u64()),
                    committed_at_us: Timestamp(commit_time_micros).unix_micros(),
                    next_xid,
                });
            }
            // Inside a transaction it says nothing: its commit is still to come.
            ReplicationEvent::KeepAlive { wal_end, .. } if self.inside.is_none() => {
                self.ready.push_back(CaptureEvent::Idle { position: Position::new(wal_end.as_u64()) });
            }
            ReplicationEvent::Message { transactional: true, prefix, content, .. } if prefix == MESSAGE_PREFIX => {
                let token = std::str::from_utf8(&content).ok().and_then(|text| text.parse().ok());
                if let (Some(token), Some(inside)) = (token, self.inside) {
                    self.give(CaptureEvent::Marker { token, position: inside.commit });
                }
            }
            ReplicationEvent::XLogData { data, server_time_micros, .. } => {
                let message = pgoutput::decode(data).map_err(|error| {
                    Failure::fatal("failed to understand a message of the source's stream").with_source(error)
                })?;
                self.take_message(message, Timestamp(server_time_micros))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn take_message(&mut self, message: Message, sent: Timestamp) -> Result<(), Failure> {
        match &message {
            Message::Insert(insert) => self.change(insert.relation, Tuples::Insert(&insert.new), sent),
            Message::Update(update) => {
                self.change(update.relation, Tuples::Update(update.old.as_ref(), &update.new), sent)
            }
            Message::Delete(delete) => self.change(delete.relation, Tuples::Delete(&delete.old), sent),
            Message::Truncate(truncate) => {
                truncate.relations.iter().try_for_each(|relation| self.change(*relation, Tuples::Truncate, sent))
            }
            _ => {
                // The rest of them comes as events of their own, or does not matter.
                if let Message::Relation(relation) = message {
                    self.described = Some(relation);
                }
                Ok(())
            }
        }
    }

    fn change(&mut self, relation: u32, tuples: Tuples<'_>, sent: Timestamp) -> Result<(), Failure> {
        let Some(inside) = self.inside else {
            return Err(Failure::transient("failed to read the stream: a change came outside of a transaction"));
        };
        if let Some(Changed { relation, kind, untold }) = self.relations.change(relation, tuples)? {
            let ask = match (&kind, untold) {
                (_, Some(Untold::Null(key))) => {
                    self.catalog_watch.suspect_null(&relation.table, &relation.columns[key].name)
                }
                (_, Some(Untold::NoOldRow)) => self.catalog_watch.suspect(&relation.table),
                (ChangeKind::Update { .. } | ChangeKind::Delete { .. }, None) => {
                    self.catalog_watch.changed(&relation.table)
                }
                _ => None,
            };
            self.ready.extend(ask);
            let sent_after = sent.unix_micros().saturating_sub(inside.committed_at_us);
            self.give(CaptureEvent::Change(Change {
                position: inside.commit,
                committed_at_us: inside.committed_at_us,
                sent_after: Duration::from_micros(u64::try_from(sent_after).unwrap_or(0)),
                relation,
                kind,
            }));
        }
        Ok(())
    }

    /// Makes an event of the current transaction ready, behind the fence. What does not concern us need not pass it.
    fn give(&mut self, event: CaptureEvent) {
        if let Some(inside) = &mut self.inside
            && !inside.fenced
        {
            inside.fenced = true;
            self.to_pass = Some((inside.xid, inside.commit));
        }
        self.ready.push_back(event);
    }
}

#[async_trait]
impl ChangeStream for Stream {
    fn start(&self) -> &StreamStart {
        &self.start
    }

    async fn next(&mut self) -> Result<CaptureEvent, Failure> {
        let result = self.advance().await;
        if result.is_err() {
            // No read begins from here on, even if the caller keeps this for a while.
            self.open = None;
        }
        result
    }

    fn lost(&self) -> Lost {
        // A server that is shut down ends its sessions, and then waits until what it sent was confirmed, which may take long when
        // the sink is away. It does not tell the walsender's end, so the other session tells.
        let ended = self.control.ended();
        Box::pin(async move {
            ended.await;
            Failure::transient("the source ended a session of the stream: it is shut down, or somebody ended it")
        })
    }

    fn confirm(&self, position: Position) {
        self.confirmed.fetch_max(position.bytes(), Ordering::Relaxed);
        self.replication.update_applied_lsn(Lsn::from_u64(position.bytes()));
    }

    async fn close(mut self: Box<Self>) {
        self.open = None;
        let metrics = self.replication.metrics();
        // The worker sends it within its interval; without it nothing was confirmed in this stream.
        let confirmed = async {
            let wanted = Position::new(self.confirmed.load(Ordering::Relaxed));
            while metrics.last_applied_lsn().as_u64() < wanted.bytes() && self.replication.is_running() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            while let Ok(Some(slot)) = slot::facts(&self.control.client, &self.start.identity.slot).await
                && slot.confirmed.is_some_and(|confirmed| confirmed < wanted)
                && self.replication.is_running()
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, confirmed).await.is_err() {
            tracing::debug!("the stream was closed before the source had the last confirmed position");
        }
        self.replication.stop();
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.replication.shutdown()).await;
    }
}
