//! The demo's own sink: documents in this process's memory, under versions like in any other sink.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;

use crate::edges::{
    Failure, Generation, HeldId, IdPage, IndexAdmin, MemoryState, Ownership, Sink, State, Write, WriteOutcome,
};
use crate::model::{IndexDeclaration, QuarantineRecord, Version};

/// One index: what was written last of each document. A deletion stays as `None`, so that a late write of an older version
/// cannot undo it.
type Index = BTreeMap<String, (Version, Option<Bytes>)>;

#[derive(Debug, Default)]
struct Held {
    indexes: HashMap<String, Index>,
    quarantined: HashMap<(String, String), QuarantineRecord>,
}

/// Documents in memory.
#[derive(Debug)]
pub(super) struct Memory {
    held: Mutex<Held>,
    state: Arc<MemoryState>,
    this: Weak<Memory>,
}

impl Memory {
    pub(super) fn new() -> Arc<Self> {
        Arc::new_cyclic(|this| Self { held: Mutex::default(), state: Arc::default(), this: this.clone() })
    }

    /// The documents of an index by id.
    pub(super) fn documents(&self, index: &str) -> BTreeMap<String, Bytes> {
        let held = self.held();
        let documents = held.indexes.get(index).into_iter().flatten();
        documents.filter_map(|(id, (_, document))| Some((id.clone(), document.clone()?))).collect()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Sink for Memory {
    async fn write(&self, writes: &[Write], _ownership: &dyn Ownership) -> Result<Vec<WriteOutcome>, Failure> {
        let mut held = self.held();
        let outcomes = writes.iter().map(|write| {
            let index = held.indexes.entry(write.generation.to_string()).or_default();
            if let Some((current, _)) = index.get(&write.id)
                && *current > write.version
            {
                return WriteOutcome::Stale { current: Some(*current) };
            }
            index.insert(write.id.clone(), (write.version, write.document.clone()));
            held.quarantined.remove(&(write.generation.to_string(), write.id.clone()));
            WriteOutcome::Written
        });
        Ok(outcomes.collect())
    }

    async fn quarantine(&self, records: &[QuarantineRecord]) -> Result<(), Failure> {
        let mut held = self.held();
        for record in records {
            let key = (record.generation.to_string(), record.document.id.clone());
            held.quarantined.insert(key, record.clone());
        }
        Ok(())
    }

    fn indexes(&self) -> Arc<dyn IndexAdmin> {
        // Whoever calls holds the sink, so it is there; the other arm keeps a mistake from being a panic.
        match self.this.upgrade() {
            Some(this) => this,
            None => Memory::new(),
        }
    }

    fn state(&self) -> Arc<dyn State> {
        Arc::clone(&self.state) as _
    }
}

/// There is one memory.
const UUID: &str = "memory";

#[async_trait]
impl IndexAdmin for Memory {
    async fn ensure(&self, indexes: &[IndexDeclaration]) -> Result<Vec<Generation>, Failure> {
        let mut held = self.held();
        let made = indexes.iter().map(|declared| {
            let created = !held.indexes.contains_key(&declared.name);
            let index = held.indexes.entry(declared.name.clone()).or_default();
            let empty = index.values().all(|(_, document)| document.is_none());
            Generation { name: declared.name.clone(), uuid: UUID.to_owned(), created, empty }
        });
        Ok(made.collect())
    }

    async fn uuid(&self, _generation: &str) -> Result<Option<String>, Failure> {
        Ok(Some(UUID.to_owned()))
    }

    async fn ids(&self, generation: &str, cursor: Option<String>, limit: usize) -> Result<IdPage, Failure> {
        let held = self.held();
        let documents = held.indexes.get(generation).into_iter().flatten();
        let behind = documents.skip_while(|(id, _)| cursor.as_ref().is_some_and(|cursor| *id <= cursor));
        let ids: Vec<HeldId> = behind
            .filter(|(_, (_, document))| document.is_some())
            .take(limit.max(1))
            .map(|(id, (version, _))| HeldId { id: id.clone(), version: Some(*version) })
            .collect();
        let cursor = (ids.len() == limit.max(1)).then(|| ids.last().map(|held| held.id.clone())).flatten();
        Ok(IdPage { ids, cursor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edges::SoleOwner;
    use crate::model::{History, Position};

    fn write(id: &str, position: u64, document: Option<&'static str>) -> Write {
        Write {
            generation: "users".into(),
            id: id.to_owned(),
            routing: None,
            version: Version::new(History::FIRST, Position::new(position)),
            document: document.map(|text| Bytes::from_static(text.as_bytes())),
        }
    }

    #[tokio::test]
    async fn the_highest_version_stays_a_deletion_too() {
        let memory = Memory::new();
        let outcomes = memory
            .write(
                &[write("1", 2, None), write("1", 1, Some("{}")), write("2", 1, Some("{}")), write("2", 1, Some("[]"))],
                &SoleOwner,
            )
            .await
            .unwrap();
        assert!(matches!(outcomes[1], WriteOutcome::Stale { .. }));
        assert_eq!(memory.documents("users"), BTreeMap::from([("2".to_owned(), Bytes::from_static(b"[]"))]));
    }

    #[tokio::test]
    async fn ids_come_in_pages() {
        let memory = Memory::new();
        let writes: Vec<_> = ["1", "2", "3"].map(|id| write(id, 1, (id != "2").then_some("{}"))).into();
        memory.write(&writes, &SoleOwner).await.unwrap();
        let first = memory.ids("users", None, 1).await.unwrap();
        assert_eq!((first.ids.len(), first.ids[0].id.as_str()), (1, "1"));
        assert!(first.ids[0].version.is_some());
        let second = memory.ids("users", first.cursor, 2).await.unwrap();
        assert_eq!((second.ids[0].id.as_str(), second.cursor), ("3", None));
    }
}
