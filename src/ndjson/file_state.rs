//! The state of a file of lines, in a file beside it: written whole, renamed into place, one process at a time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::edges::{Failure, Revision, State};
use crate::model::StateDocument;

/// The states of the pipelines that write to one file.
#[derive(Debug)]
pub(super) struct FileState(Arc<Held>);

#[derive(Debug)]
struct Held {
    path: PathBuf,
    /// Held for as long as this lives; the system lets go of it when the process ends, however it ends.
    _lock: File,
    writing: Mutex<()>,
}

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    pipelines: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    revision: u64,
    state: StateDocument,
}

impl FileState {
    /// Takes hold of the state at `path`.
    ///
    /// # Errors
    ///
    /// `Transient` while another process holds it; `Fatal` when the place cannot be written.
    pub(super) fn open(path: PathBuf) -> Result<Self, Failure> {
        let lock_path = path.with_extension("lock");
        let unusable = |error: io::Error| {
            Failure::fatal(format!("open {}", lock_path.display()))
                .with_source(error)
                .with_advice("give a path that can be written")
        };
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(unusable)?;
        // SAFETY: the descriptor is open for as long as `lock` lives, and the call takes nothing else.
        if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            return Err(Failure::transient(format!("lock {}: another process writes this file", lock_path.display()))
                .with_source(error));
        }
        Ok(Self(Arc::new(Held { path, _lock: lock, writing: Mutex::new(()) })))
    }
}

impl Held {
    fn read(&self) -> Result<Stored, Failure> {
        let unreadable = || Failure::fatal(format!("read the state in {}", self.path.display()));
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                unreadable()
                    .with_source(error)
                    .with_advice("move it away together with the file of documents to begin anew")
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stored::default()),
            Err(error) => Err(unreadable().with_source(error)),
        }
    }

    fn write(&self, stored: &Stored) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(stored).map_err(io::Error::from)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        // The new name is durable only with its directory.
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }

    fn replace(&self, pipeline: &str, state: StateDocument, expected: Option<&Revision>) -> Result<Revision, Failure> {
        let _writing = self.writing.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut stored = self.read()?;
        let current = stored.pipelines.get(pipeline).map(|entry| entry.revision);
        if current.map(|revision| revision.to_string()) != expected.map(|revision| revision.0.clone()) {
            return Err(Failure::fatal(format!("the state in {} was written by somebody else", self.path.display())));
        }
        let revision = current.map_or(1, |revision| revision + 1);
        stored.pipelines.insert(pipeline.to_owned(), Entry { revision, state });
        self.write(&stored).map_err(|error| {
            Failure::transient(format!("write the state to {}", self.path.display())).with_source(error)
        })?;
        Ok(Revision(revision.to_string()))
    }
}

#[async_trait]
impl State for FileState {
    async fn load(&self, pipeline: &str) -> Result<Option<(StateDocument, Revision)>, Failure> {
        let entry = self.0.read()?.pipelines.remove(pipeline);
        Ok(entry.map(|entry| (entry.state, Revision(entry.revision.to_string()))))
    }

    async fn store(
        &self,
        pipeline: &str,
        document: &StateDocument,
        expected: Option<&Revision>,
    ) -> Result<Revision, Failure> {
        let (held, pipeline, document) = (Arc::clone(&self.0), pipeline.to_owned(), document.clone());
        let expected = expected.cloned();
        let stored = tokio::task::spawn_blocking(move || held.replace(&pipeline, document, expected.as_ref())).await;
        stored.unwrap_or_else(|error| Err(Failure::transient("write the state: it was cut off").with_source(error)))
    }
}
