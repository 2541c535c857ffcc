//! Looks again and again whether the reader role may still select what is captured: a privilege that was revoked while
//! running would else leak rows into the index for as long as the process runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::problem::refuse;
use super::source::Source;
use super::{catalog, privileges, roles};
use crate::edges::{CapturedTable, Failure, FailureClass};

/// The watch of one stream. It ends with it.
#[derive(Debug)]
pub(super) struct PrivilegeWatch {
    /// None where nobody's privileges are at stake.
    looking: Option<(oneshot::Receiver<Failure>, AbortOnDropHandle<()>)>,
}

impl PrivilegeWatch {
    /// Looks every `privileges_every` of the source's options, on a connection of its own each time.
    pub fn new(source: &Arc<Source>, tables: &[CapturedTable]) -> Self {
        let (tell, lost) = oneshot::channel();
        if !source.reads {
            return Self { looking: None };
        }
        let (looking, tables) = (Arc::clone(source), tables.to_vec());
        // On a task of its own, because the stream may be busy, or wait, for longer than that.
        let looking = source.runtime.spawn(async move {
            loop {
                tokio::time::sleep(looking.options.privileges_every).await;
                match look(&looking, &tables).await {
                    Err(failure) if failure.class == FailureClass::Fatal => {
                        let _ = tell.send(failure);
                        return;
                    }
                    // A server that cannot be asked is noticed by the stream; the next look asks again.
                    Err(failure) => tracing::debug!("{}", failure.chain()),
                    Ok(()) => {}
                }
            }
        });
        Self { looking: Some((lost, AbortOnDropHandle::new(looking))) }
    }

    /// Why the stream must end, if it must by now.
    pub fn lost(&mut self) -> Option<Failure> {
        self.looking.as_mut()?.0.try_recv().ok()
    }

    /// Waits until the stream must end. May be dropped at any time.
    pub async fn run(&mut self) -> Failure {
        let Some((lost, _)) = &mut self.looking else { return std::future::pending().await };
        match lost.await {
            Ok(failure) => failure,
            Err(_) => std::future::pending().await,
        }
    }
}

async fn look(source: &Source, tables: &[CapturedTable]) -> Result<(), Failure> {
    let limit: Duration = source.options.statement_timeout;
    let looking = async {
        let reader = source.connect_reader().await?;
        let catalog = catalog::tables(&reader.client, tables).await?;
        let mut problems = privileges::problems(&reader.client, tables, &catalog).await?;
        problems.extend(roles::problems(source, &reader.client, tables).await?);
        refuse(FailureClass::Fatal, "go on reading the captured tables", &problems)
    };
    tokio::time::timeout(limit, looking)
        .await
        .unwrap_or_else(|_| Err(Failure::transient(format!("the reader's privileges could not be asked in {limit:?}"))))
}
