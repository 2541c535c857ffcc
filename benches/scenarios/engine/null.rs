//! A sink that costs next to nothing: what it was given last is kept in memory, to be compared; in a file between two runs.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ::docmill::edges::{
    Failure, Generation, IdPage, IndexAdmin, Ownership, Revision, Sink, State, Write, WriteOutcome,
};
use ::docmill::model::{IndexDeclaration, QuarantineRecord, StateDocument, Version};
use async_trait::async_trait;
use bytes::Bytes;

/// See the module.
#[derive(Debug)]
pub struct Null {
    file: PathBuf,
    documents: Mutex<HashMap<String, (Version, Option<Bytes>)>>,
    written: AtomicU64,
    state: Arc<FileState>,
}

impl Null {
    /// With what an earlier one left there.
    pub fn open(file: &Path) -> Arc<Self> {
        let mut documents = HashMap::new();
        if let Ok(found) = std::fs::File::open(file) {
            for line in BufReader::new(found).lines() {
                let line = line.expect("text");
                let (id, document) = line.split_once('\t').expect("an id and a document");
                let version = Version::from_number(1).expect("a version");
                documents.insert(id.to_owned(), (version, Some(Bytes::copy_from_slice(document.as_bytes()))));
            }
        }
        let state = Arc::new(FileState { file: file.with_extension("state"), lock: Mutex::new(()) });
        Arc::new(Self { file: file.to_owned(), documents: Mutex::new(documents), written: AtomicU64::new(0), state })
    }

    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub fn dump(&self) {
        let mut file = BufWriter::new(std::fs::File::create(&self.file).expect("a file"));
        for (id, (_, document)) in self.held().iter() {
            let Some(document) = document else { continue };
            file.write_all(id.as_bytes()).and_then(|()| file.write_all(b"\t")).expect("disk");
            file.write_all(document).and_then(|()| file.write_all(b"\n")).expect("disk");
        }
        file.flush().expect("disk");
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, (Version, Option<Bytes>)>> {
        self.documents.lock().expect("no writer panics")
    }
}

#[async_trait]
impl Sink for Null {
    async fn write(&self, writes: &[Write], ownership: &dyn Ownership) -> Result<Vec<WriteOutcome>, Failure> {
        ownership.prove().await?;
        let mut held = self.held();
        for Write { id, version, document, .. } in writes {
            match held.get_mut(id) {
                Some((current, _)) if *current > *version => {}
                Some(current) => *current = (*version, document.clone()),
                None => drop(held.insert(id.clone(), (*version, document.clone()))),
            }
        }
        self.written.fetch_add(writes.len() as u64, Ordering::Relaxed);
        Ok(writes.iter().map(|_| WriteOutcome::Written).collect())
    }

    async fn quarantine(&self, records: &[QuarantineRecord]) -> Result<(), Failure> {
        Err(Failure::fatal(format!("{} documents of the shop were rejected", records.len())))
    }

    fn indexes(&self) -> Arc<dyn IndexAdmin> {
        Arc::new(NoIndexes { empty: self.held().is_empty() })
    }

    fn state(&self) -> Arc<dyn State> {
        Arc::clone(&self.state) as _
    }
}

/// A map needs no indexes made.
#[derive(Debug)]
struct NoIndexes {
    empty: bool,
}

const UUID: &str = "kept for the comparison";

#[async_trait]
impl IndexAdmin for NoIndexes {
    async fn ensure(&self, indexes: &[IndexDeclaration]) -> Result<Vec<Generation>, Failure> {
        let made = |index: &IndexDeclaration| Generation {
            name: index.name.clone(),
            uuid: UUID.to_owned(),
            created: false,
            empty: self.empty,
        };
        Ok(indexes.iter().map(made).collect())
    }

    async fn uuid(&self, _: &str) -> Result<Option<String>, Failure> {
        Ok(Some(UUID.to_owned()))
    }

    async fn ids(&self, _: &str, _: Option<String>, _: usize) -> Result<IdPage, Failure> {
        Ok(IdPage::default())
    }
}

/// The state of the one pipeline, in a file.
#[derive(Debug)]
struct FileState {
    file: PathBuf,
    lock: Mutex<()>,
}

impl FileState {
    fn read(&self) -> Option<(StateDocument, u64)> {
        let text = std::fs::read_to_string(&self.file).ok()?;
        Some(serde_json::from_str(&text).expect("what it wrote"))
    }
}

#[async_trait]
impl State for FileState {
    async fn load(&self, _: &str) -> Result<Option<(StateDocument, Revision)>, Failure> {
        Ok(self.read().map(|(state, revision)| (state, Revision(revision.to_string()))))
    }

    async fn store(&self, _: &str, state: &StateDocument, expected: Option<&Revision>) -> Result<Revision, Failure> {
        let _one = self.lock.lock().expect("no writer panics");
        let current = self.read().map(|(_, revision)| revision);
        if current.map(|revision| revision.to_string()) != expected.map(|revision| revision.0.clone()) {
            return Err(Failure::fatal("the state was written by somebody else"));
        }
        let revision = current.unwrap_or(0) + 1;
        let text = serde_json::to_string(&(state, revision)).expect("JSON");
        std::fs::write(&self.file, text).expect("disk");
        Ok(Revision(revision.to_string()))
    }
}
