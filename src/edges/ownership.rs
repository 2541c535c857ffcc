//! Whether this process still owns its destination.

use std::fmt::Debug;

use async_trait::async_trait;

use super::Failure;

/// The proof that a destination is still this process's. One that stood still (a stopped process, a paused machine) may have been
/// replaced without knowing it, and what it sends then could bring a deleted document back.
#[async_trait]
pub trait Ownership: Debug + Send + Sync {
    /// Returns when the destination was this process's a short time ago. To be asked right before bytes leave, each time.
    ///
    /// # Errors
    ///
    /// `Fatal` when another process owns it by now; `Transient` when the flow stops before that is known.
    async fn prove(&self) -> Result<(), Failure>;
}

/// The owner of a destination that no other process can reach.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoleOwner;

#[async_trait]
impl Ownership for SoleOwner {
    async fn prove(&self) -> Result<(), Failure> {
        Ok(())
    }
}
