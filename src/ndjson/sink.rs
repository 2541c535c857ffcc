//! The sink of lines.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::file_state::FileState;
use super::lines;
use crate::edges::{Failure, Generation, IdPage, IndexAdmin, MemoryState, Sink, State, Write, WriteOutcome};
use crate::model::{IndexDeclaration, QuarantineRecord};

/// Documents as lines of a file or of standard output.
pub struct Ndjson {
    out: Arc<Mutex<Out>>,
    state: Arc<dyn State>,
    shown: String,
    path: Option<PathBuf>,
    created: bool,
    this: std::sync::Weak<Ndjson>,
}

enum Out {
    File(File),
    Stdout,
}

impl Ndjson {
    /// Lines at the end of the file at `path`, durable when a write returns. Beside it stand `PATH.state.json`, so that a restart
    /// goes on, a lock, and `PATH.quarantine.ndjson` when documents are rejected. A line that a crash cut off is removed.
    ///
    /// # Errors
    ///
    /// `Transient` while another process writes the file; `Fatal` when it cannot be written.
    pub fn file(path: impl AsRef<Path>) -> Result<Arc<Self>, Failure> {
        let path = path.as_ref().to_path_buf();
        let state = FileState::open(beside(&path, "state.json"))?;
        let unusable = |error: io::Error| {
            Failure::fatal(format!("open {} for documents", path.display()))
                .with_source(error)
                .with_advice("give a path that can be written")
        };
        let created = !path.exists();
        let mut file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(unusable)?;
        let end = lines::whole_lines_end(&mut file).map_err(unusable)?;
        file.set_len(end).map_err(unusable)?;
        io::Seek::seek(&mut file, io::SeekFrom::End(0)).map_err(unusable)?;
        Ok(Self::new(Out::File(file), Arc::new(state), path.display().to_string(), Some(path), created))
    }

    /// Lines on standard output. Nothing is remembered: every start writes every document.
    pub fn stdout() -> Arc<Self> {
        Self::new(Out::Stdout, Arc::new(MemoryState::default()), "standard output".to_owned(), None, true)
    }

    fn new(out: Out, state: Arc<dyn State>, shown: String, path: Option<PathBuf>, created: bool) -> Arc<Self> {
        let out = Arc::new(Mutex::new(out));
        Arc::new_cyclic(|this| Self { out, state, shown, path, created, this: this.clone() })
    }

    async fn append(&self, bytes: Vec<u8>) -> Result<(), Failure> {
        let out = Arc::clone(&self.out);
        let written = tokio::task::spawn_blocking(move || {
            let mut out = out.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            match &mut *out {
                Out::File(file) => append_whole(file, &bytes),
                Out::Stdout => {
                    let mut stdout = io::stdout().lock();
                    stdout.write_all(&bytes).and_then(|()| stdout.flush())
                }
            }
        })
        .await;
        let failed = |class: fn(String) -> Failure| class(format!("write documents to {}", self.shown));
        match written {
            Ok(Ok(())) => Ok(()),
            // Whoever read the other end is gone, and will not come back.
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(failed(Failure::fatal).with_source(error))
            }
            Ok(Err(error)) => Err(failed(Failure::transient).with_source(error)),
            Err(error) => Err(failed(Failure::fatal).with_source(error)),
        }
    }
}

/// Appends all of it or nothing, durably.
fn append_whole(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let end = file.metadata()?.len();
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    if written.is_err() {
        // A full disk leaves half a line; what is there must stay whole lines.
        file.set_len(end)?;
        io::Seek::seek(file, io::SeekFrom::Start(end))?;
    }
    written
}

/// `PATH.EXTENSION`
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

#[async_trait]
impl Sink for Ndjson {
    async fn write(&self, writes: &[Write]) -> Result<Vec<WriteOutcome>, Failure> {
        let mut bytes = Vec::new();
        writes.iter().for_each(|write| lines::push(write, &mut bytes));
        self.append(bytes).await?;
        Ok(vec![WriteOutcome::Written; writes.len()])
    }

    async fn quarantine(&self, records: &[QuarantineRecord]) -> Result<(), Failure> {
        let Some(path) = &self.path else {
            for record in records {
                tracing::warn!(document = %record.document, rejection = %record.rejection, "document rejected");
            }
            return Ok(());
        };
        let path = beside(path, "quarantine.ndjson");
        let text: String = records.iter().map(lines::quarantined).collect();
        let shown = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_data()
        });
        let failed = || Failure::transient(format!("write rejected documents to {shown}"));
        written.await.map_err(|error| failed().with_source(error))?.map_err(|error| failed().with_source(error))
    }

    fn indexes(&self) -> Arc<dyn IndexAdmin> {
        self.this.upgrade().expect("whoever calls holds the sink")
    }

    fn state(&self) -> Arc<dyn State> {
        Arc::clone(&self.state)
    }
}

#[async_trait]
impl IndexAdmin for Ndjson {
    async fn ensure(&self, indexes: &[IndexDeclaration]) -> Result<Vec<Generation>, Failure> {
        // Lines of another life of the file do no harm: the last one of each id counts. So it always passes for empty; a
        // file that was made just now has another mark than one that was there.
        let uuid = match &self.path {
            Some(path) => file_mark(path),
            None => "standard output".to_owned(),
        };
        let generation = |index: &IndexDeclaration| Generation {
            name: index.name.clone(),
            uuid: uuid.clone(),
            created: self.created,
            empty: true,
        };
        Ok(indexes.iter().map(generation).collect())
    }

    /// All ids of the file in one page: it is read from end to end anyway.
    async fn ids(&self, generation: &str, _cursor: Option<String>, _limit: usize) -> Result<IdPage, Failure> {
        let Some(path) = self.path.clone() else { return Ok(IdPage::default()) };
        let (generation, shown) = (generation.to_owned(), self.shown.clone());
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            Failure::transient(format!("walk the ids of {shown}")).with_source(error)
        };
        let ids = tokio::task::spawn_blocking(move || lines::live_ids(File::open(path)?, &generation));
        let ids = ids.await.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))?;
        Ok(IdPage { ids: ids.into_iter().collect(), cursor: None })
    }
}

/// A mark that is another for a file that was made anew.
fn file_mark(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map_or_else(|_| "gone".to_owned(), |file| format!("{}:{}", file.dev(), file.ino()))
}

impl fmt::Debug for Ndjson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ndjson").field("to", &self.shown).finish()
    }
}
