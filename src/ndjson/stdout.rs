//! Standard output: a stream that nothing is read back from, and whose state ends with the process.

use std::io::{self, Write as _};
use std::sync::Arc;

use async_trait::async_trait;

use crate::edges::{Failure, Generation, IdPage, IndexAdmin, MemoryState, State};
use crate::model::IndexDeclaration;

/// There is one.
const UUID: &str = "standard output";

/// Standard output.
#[derive(Debug, Default)]
pub(super) struct Stdout {
    state: Arc<MemoryState>,
}

impl Stdout {
    /// Writes whole lines, one call's after the other's.
    pub(super) async fn write(&self, lines: Vec<u8>) -> Result<(), Failure> {
        let write = move || {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&lines)?;
            stdout.flush()
        };
        let written = tokio::task::spawn_blocking(write).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let what = "write documents to standard output";
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::fatal(format!("{what}: nobody reads it any more")),
            _ => Failure::transient(what).with_source(error),
        })
    }

    pub(super) fn state(&self) -> Arc<dyn State> {
        Arc::clone(&self.state) as _
    }
}

#[async_trait]
impl IndexAdmin for Stdout {
    async fn ensure(&self, indexes: &[IndexDeclaration]) -> Result<Vec<Generation>, Failure> {
        let made = |index: &IndexDeclaration| Generation {
            name: index.name.clone(),
            uuid: UUID.to_owned(),
            created: true,
            empty: true,
        };
        Ok(indexes.iter().map(made).collect())
    }

    async fn uuid(&self, _generation: &str) -> Result<Option<String>, Failure> {
        Ok(Some(UUID.to_owned()))
    }

    /// None: what was printed is gone, so that a sweep has nothing to look at.
    async fn ids(&self, _generation: &str, _cursor: Option<String>, _limit: usize) -> Result<IdPage, Failure> {
        Ok(IdPage::default())
    }
}
