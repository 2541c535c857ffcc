//! A source that several flows read together: one record of changes, decoded once, while each reads rows as its own role.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{CapturedTable, ChangeCapture, Failure, Lost, Observer, RowReader, StreamStart};
use crate::model::Position;

/// A capture whose stream several flows share. Its stream brings what all of them captured; whether a role may see that is
/// each flow's own business ([`TenantSource`]).
#[async_trait]
pub trait SharedSource: ChangeCapture {
    /// How the source stands now, as the start of a stream of these tables that begins behind what was confirmed.
    async fn stand(&self, tables: &[CapturedTable]) -> Result<StreamStart, Failure>;

    /// Makes a copy of the record of changes, which begins where the record is confirmed now and stands still until somebody
    /// reads it. One of that name that is there is dropped first.
    async fn copy(&self, name: &str) -> Result<(), Failure>;

    /// The copies that are there, with the position to which each is confirmed.
    async fn copies(&self) -> Result<Vec<(String, Position)>, Failure>;

    /// Drops a copy, once nobody reads it. One that is not there is no error.
    async fn drop_copy(&self, name: &str) -> Result<(), Failure>;

    /// Changes from a copy.
    fn on_copy(&self, name: &str) -> Result<Arc<dyn ChangeCapture>, Failure>;
}

/// What is to be done before tables can be captured in a stream that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Nothing: their changes have been recorded for a while.
    Quiet,
    /// [`TenantSource::quiet`].
    Recorded,
    /// There is no record yet; opening the stream waits for all that is needed.
    Unrecorded,
}

/// One flow's part of a shared source: its role, its schema, its connections.
#[async_trait]
pub trait TenantSource: Debug + Send + Sync {
    /// Whether its role may capture and read these tables; makes sure that their changes are recorded, where there is a record
    /// already.
    ///
    /// # Errors
    ///
    /// As [`ChangeCapture::open`] has them.
    async fn admit(&self, tables: &[CapturedTable]) -> Result<Admitted, Failure>;

    /// Waits until every transaction that is not recorded in full is visible to a snapshot taken from now on: for as long as a
    /// transaction of somebody else is open.
    async fn quiet(&self, tables: &[CapturedTable], observer: &Arc<dyn Observer>) -> Result<(), Failure>;

    /// Ends when its role may not select any more what is captured for it.
    fn denied(&self, tables: &[CapturedTable]) -> Lost;

    /// Reads rows as its role, on the server that the shared stream comes from.
    fn reader(&self) -> Arc<dyn RowReader>;
}
