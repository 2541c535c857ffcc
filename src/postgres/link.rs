//! What capture and readers know of each other: whether a stream is open, on which server, and for the how-many-th time.
//!
//! While capture is lost no new read begins: a read then might go to a server that has not seen what was published, or that
//! will never have seen it (the old primary after a failover).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::server::ServerIdentity;
use crate::edges::Failure;

/// The state of capture as readers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    /// No stream was opened yet: statements may be prepared, estimates made.
    NotYet,
    /// A stream is open.
    Open {
        /// Goes up with every opening; connections of earlier ones are closed.
        epoch: u64,
        /// The server that the stream comes from.
        server: ServerIdentity,
    },
    /// The stream ended and none was opened since.
    Lost {
        /// Of the stream that ended.
        epoch: u64,
    },
}

impl Capture {
    fn epoch(&self) -> u64 {
        match self {
            Capture::NotYet => 0,
            Capture::Open { epoch, .. } | Capture::Lost { epoch } => *epoch,
        }
    }
}

/// Shared by one `Postgres` and all its readers.
#[derive(Clone, Debug)]
pub(super) struct Link(Arc<watch::Sender<Capture>>);

impl Link {
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Capture::NotYet)))
    }

    /// Whether it is the same one.
    pub fn is(&self, other: &Link) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A stream was opened. It is lost when the guard is dropped.
    pub fn open(&self, server: ServerIdentity) -> LinkGuard {
        let mut opened = 0;
        self.0.send_modify(|capture| {
            opened = capture.epoch() + 1;
            *capture = Capture::Open { epoch: opened, server };
        });
        LinkGuard { link: self.clone(), epoch: opened }
    }

    /// Which opening of the stream this is, or was last; 0 before the first.
    pub fn epoch(&self) -> u64 {
        self.0.borrow().epoch()
    }

    /// The epoch of the stream that ended, while none is open since.
    pub fn lost(&self) -> Option<u64> {
        match *self.0.borrow() {
            Capture::Lost { epoch } => Some(epoch),
            _ => None,
        }
    }

    /// The epoch in which a read may begin now and the server it must go to; `None` before the first stream. Waits while
    /// capture is lost.
    pub async fn ready(&self, wait_max: Duration) -> Result<(u64, Option<ServerIdentity>), Failure> {
        let mut watching = self.0.subscribe();
        let ready = watching.wait_for(|capture| !matches!(capture, Capture::Lost { .. }));
        match tokio::time::timeout(wait_max, ready).await {
            Ok(Ok(capture)) => Ok(match &*capture {
                Capture::Open { epoch, server } => (*epoch, Some(server.clone())),
                _ => (0, None),
            }),
            _ => Err(Failure::transient(format!(
                "failed to begin a read: capture has been lost for {wait_max:?}, and what is read without it may be old"
            ))),
        }
    }
}

/// Held by a stream for as long as it is open.
#[derive(Debug)]
pub(super) struct LinkGuard {
    link: Link,
    epoch: u64,
}

impl Drop for LinkGuard {
    fn drop(&mut self) {
        let ours = self.epoch;
        self.link.0.send_if_modified(|capture| {
            // A later stream may be open by now.
            let current = capture.epoch() == ours;
            if current {
                *capture = Capture::Lost { epoch: ours };
            }
            current
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerIdentity {
        ServerIdentity { system_identifier: "7".to_owned(), timeline: 1 }
    }

    #[tokio::test]
    async fn no_read_begins_while_capture_is_lost() {
        let link = Link::new();
        let wait = Duration::from_millis(50);
        assert_eq!(link.ready(wait).await.expect("not opened yet").0, 0);
        let first = link.open(server());
        assert_eq!(link.ready(wait).await.expect("open").0, 1);
        drop(first);
        assert!(link.ready(wait).await.is_err());
        let _second = link.open(server());
        assert_eq!(link.ready(wait).await.expect("open again").0, 2);
    }
}
