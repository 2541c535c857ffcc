//! Systems that do the same work, each in its own best configuration.

pub mod flusso;
pub mod pgsync;

use crate::ground::Place;
use crate::system::System;

pub fn must_be_installed(_: System) {}

pub async fn wrong(_: System, place: &Place) -> usize {
    crate::check::wrong_users(place).await
}
