//! Documents as lines: one JSON object for each write, to a file or to standard output. Knows `model` and `edges`.
//!
//! ```text
//! {"index":"users","id":"7","version":"281474976710656","document":{…}}
//! {"index":"users","id":"8","version":"281474976710657","deleted":true}
//! ```
//!
//! Of the lines of one document the last one counts. A version is text because it has 63 bits, and many readers of JSON keep 53.
//!
//! A file belongs to one process at a time, and a restart goes on where it was: beside it stand `<file>.state.json` and, once
//! something was rejected, `<file>.quarantine.ndjson`. Standard output remembers nothing: every start writes all documents.

mod appender;
mod file;
mod line;
mod quarantine;
mod state_file;
mod stdout;
mod walk;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::edges::{Failure, IndexAdmin, Ownership, Sink, State, Write, WriteOutcome};
use crate::model::QuarantineRecord;
use file::LinesFile;
use stdout::Stdout;

/// A sink of lines.
pub struct Ndjson(Kind);

enum Kind {
    File(Arc<LinesFile>),
    Stdout(Arc<Stdout>),
}

impl Ndjson {
    /// Adds lines to the end of a file, which is made when it is missing. What a crash left of a last line is cut off.
    ///
    /// # Errors
    ///
    /// `Transient` while another process writes it; `Fatal` when the file or its state cannot be opened or read.
    pub fn file(path: impl AsRef<Path>) -> Result<Arc<Self>, Failure> {
        Ok(Arc::new(Self(Kind::File(Arc::new(LinesFile::open(path.as_ref())?)))))
    }

    /// Lines to standard output.
    pub fn stdout() -> Arc<Self> {
        Arc::new(Self(Kind::Stdout(Arc::default())))
    }
}

impl fmt::Debug for Ndjson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::File(file) => f.debug_tuple("Ndjson").field(file).finish(),
            Kind::Stdout(_) => f.write_str("Ndjson(standard output)"),
        }
    }
}

#[async_trait]
impl Sink for Ndjson {
    async fn write(&self, writes: &[Write], ownership: &dyn Ownership) -> Result<Vec<WriteOutcome>, Failure> {
        let (lines, outcomes) = line::encode(writes);
        ownership.prove().await?;
        match &self.0 {
            Kind::File(file) => file.write(lines, line::written(writes, &outcomes)).await?,
            Kind::Stdout(stdout) => stdout.write(lines).await?,
        }
        Ok(outcomes)
    }

    async fn quarantine(&self, records: &[QuarantineRecord]) -> Result<(), Failure> {
        match &self.0 {
            Kind::File(file) => file.quarantine(records).await,
            Kind::Stdout(_) => {
                for record in records {
                    tracing::warn!(
                        document = %record.document, kind = record.rejection.kind, reason = record.rejection.reason,
                        "a document is left out: standard output has no quarantine"
                    );
                }
                Ok(())
            }
        }
    }

    fn indexes(&self) -> Arc<dyn IndexAdmin> {
        match &self.0 {
            Kind::File(file) => Arc::clone(file) as _,
            Kind::Stdout(stdout) => Arc::clone(stdout) as _,
        }
    }

    fn state(&self) -> Arc<dyn State> {
        match &self.0 {
            Kind::File(file) => Arc::clone(file) as _,
            Kind::Stdout(stdout) => stdout.state(),
        }
    }
}
