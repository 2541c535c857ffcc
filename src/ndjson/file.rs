//! A file of lines with what stands beside it: one writer, one lock, everything durable before it is answered.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::appender::{Appender, CannotOpen};
use super::quarantine::Quarantine;
use super::state_file::StateFile;
use super::walk::{self, CannotWalk, Piece};
use crate::edges::{Failure, Generation, IdPage, IndexAdmin, Revision, State};
use crate::model::{IndexDeclaration, QuarantineRecord, StateDocument, Version};

/// A file of lines.
pub(super) struct LinesFile {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    lines: Mutex<Appender>,
    quarantine: Mutex<Quarantine>,
    state: Mutex<StateFile>,
    /// What walks that are under way have read, by index.
    walks: Mutex<HashMap<String, Piece>>,
}

impl LinesFile {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let lines = Appender::open(path).map_err(|error| cannot_open(path, error))?;
        let metadata = lines.metadata().map_err(|error| cannot_open(path, error.into()))?;
        let state = StateFile::open(path, &metadata, lines.length())?;
        let quarantine = Quarantine::open(path).map_err(|error| cannot_open(path, error))?;
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                lines: Mutex::new(lines),
                quarantine: Mutex::new(quarantine),
                state: Mutex::new(state),
                walks: Mutex::default(),
            }),
        })
    }

    /// Adds lines; `written` are the documents that they are of.
    pub(super) async fn write(&self, lines: Vec<u8>, written: Vec<(String, String, Version)>) -> Result<(), Failure> {
        self.blocking(move |inner| {
            let failed = |error: io::Error| {
                Failure::transient(format!("write documents to {}", inner.path.display())).with_source(error)
            };
            locked(&inner.lines).append(&lines).map_err(failed)?;
            locked(&inner.quarantine).clear(written).map_err(failed)
        })
        .await
    }

    pub(super) async fn quarantine(&self, records: &[QuarantineRecord]) -> Result<(), Failure> {
        let records = records.to_vec();
        self.blocking(move |inner| {
            locked(&inner.quarantine).put(&records).map_err(|error| match error {
                CannotOpen::Io(error) => {
                    Failure::transient(format!("write to the quarantine of {}", inner.path.display()))
                        .with_source(error)
                }
                in_use => cannot_open(&inner.path, in_use),
            })
        })
        .await
    }

    /// Runs on a thread that may wait for the disk. What was begun is done even if nobody waits for it any more.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner)).await.unwrap_or_else(|error| {
            Err(Failure::transient(format!("write to {}", self.inner.path.display())).with_source(error))
        })
    }
}

impl Inner {
    fn generation(&self, index: &str) -> Result<Generation, Failure> {
        let (length, created) = {
            let lines = locked(&self.lines);
            (lines.length(), lines.created)
        };
        let empty = walk::is_empty(&self.path, length, index).map_err(|error| self.cannot_walk(error))?;
        let uuid = locked(&self.state).uuid().to_owned();
        Ok(Generation { name: index.to_owned(), uuid, created, empty })
    }

    fn page(&self, index: &str, cursor: Option<String>, limit: usize) -> Result<IdPage, Failure> {
        let length = locked(&self.lines).length();
        let read = |after: Option<&str>| {
            Piece::read(&self.path, length, index, after).map_err(|error| self.cannot_walk(error))
        };
        // Not under the lock while reading: another index's walk need not wait.
        let kept = if cursor.is_some() { locked(&self.walks).remove(index) } else { None };
        let mut after = cursor;
        let mut piece = match kept {
            Some(piece) => piece,
            None => read(after.as_deref())?,
        };
        loop {
            match piece.page(after.as_deref(), limit) {
                Ok(page) => {
                    if page.cursor.is_some() {
                        locked(&self.walks).insert(index.to_owned(), piece);
                    }
                    return Ok(page);
                }
                Err(until) => {
                    piece = read(Some(&until))?;
                    after = Some(until);
                }
            }
        }
    }

    fn cannot_walk(&self, error: CannotWalk) -> Failure {
        let path = self.path.display();
        match error {
            CannotWalk::Io(error) => Failure::transient(format!("read the lines of {path}")).with_source(error),
            CannotWalk::Foreign(number) => {
                Failure::fatal(format!("read the lines of {path}: line {number} is none that docmill wrote"))
                    .with_advice("give another file, or take that line out")
            }
        }
    }
}

fn cannot_open(path: &Path, error: CannotOpen) -> Failure {
    let what = format!("open {} for documents", path.display());
    match error {
        CannotOpen::InUse => {
            Failure::transient(format!("{what}: another process, or another sink of this one, writes it"))
                .with_advice("stop the other one, or give each a file of its own")
        }
        CannotOpen::Io(error) => Failure::fatal(what).with_source(error),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for LinesFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinesFile").field(&self.inner.path).finish()
    }
}

#[async_trait]
impl IndexAdmin for LinesFile {
    /// A file needs nothing made. An index counts as empty while no line of the file is of it.
    async fn ensure(&self, indexes: &[IndexDeclaration]) -> Result<Vec<Generation>, Failure> {
        let names: Vec<String> = indexes.iter().map(|index| index.name.clone()).collect();
        self.blocking(move |inner| names.iter().map(|name| inner.generation(name)).collect()).await
    }

    async fn uuid(&self, _generation: &str) -> Result<Option<String>, Failure> {
        self.blocking(|inner| {
            let ours = locked(&inner.lines).metadata().map_err(|error| inner.cannot_walk(error.into()))?;
            let uuid = locked(&inner.state).uuid().to_owned();
            match std::fs::metadata(&inner.path) {
                // Removed, or another one in its place: what is written now goes where nobody looks.
                Ok(found) if (found.dev(), found.ino()) != (ours.dev(), ours.ino()) => Ok(None),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Ok(found) if found.len() < locked(&inner.lines).length() => Ok(None),
                Ok(_) => Ok(Some(uuid)),
                Err(error) => Err(inner.cannot_walk(error.into())),
            }
        })
        .await
    }

    async fn ids(&self, generation: &str, cursor: Option<String>, limit: usize) -> Result<IdPage, Failure> {
        let generation = generation.to_owned();
        self.blocking(move |inner| inner.page(&generation, cursor, limit)).await
    }
}

#[async_trait]
impl State for LinesFile {
    async fn load(&self, pipeline: &str) -> Result<Option<(StateDocument, Revision)>, Failure> {
        Ok(locked(&self.inner.state).load(pipeline))
    }

    async fn store(
        &self,
        pipeline: &str,
        document: &StateDocument,
        expected: Option<&Revision>,
    ) -> Result<Revision, Failure> {
        let (pipeline, document, expected) = (pipeline.to_owned(), document.clone(), expected.cloned());
        self.blocking(move |inner| {
            let length = locked(&inner.lines).length();
            locked(&inner.state).store(&pipeline, &document, expected.as_ref(), length)
        })
        .await
    }
}
