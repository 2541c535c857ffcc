//! OpenSearch as a sink: against a real one, and against one that fails on demand.

mod connect;
mod faults;
mod indexes;
mod marks;
mod quarantine;
mod state;
mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;

use docmill::edges::{FailureClass, Generation, Sink, SoleOwner, Write, WriteOutcome};
use docmill::model::{
    BuilderVersion, DocumentId, History, IndexDeclaration, Position, QuarantineRecord, Rejection, SourceIdentity,
    StateDocument, Version,
};
use docmill::opensearch::{OpenSearch, OpenSearchOptions};
use serde_json::{Value, json};

use super::support::opensearch::OpenSearch as Server;

/// Options for the sink under a test's prefix, at `url`.
fn options(url: &str, prefix: &str) -> OpenSearchOptions {
    super::support::install_crypto();
    OpenSearchOptions { url: url.to_owned(), index_prefix: prefix.to_owned(), ..OpenSearchOptions::default() }
}

async fn connect(server: &Server) -> Arc<OpenSearch> {
    OpenSearch::connect(options(&server.url, &server.prefix)).await.expect("a sink")
}

fn declared(mapping: Value) -> IndexDeclaration {
    IndexDeclaration {
        name: "users".into(),
        mapping,
        settings: Some(json!({"number_of_replicas": 0})),
        tables: vec![],
        reads: vec![],
        routing: None,
    }
}

/// Fields that engines describe otherwise than they were declared.
fn users() -> IndexDeclaration {
    declared(json!({"properties": {
        "name": {"type": "text", "fields": {"raw": {"ignore_above": 256, "type": "keyword"}, "exact": {"type": "keyword"}}},
        "age": {"type": "long", "index": true},
        "price": {"type": "scaled_float", "scaling_factor": 100},
        "city": {"type": "keyword", "copy_to": "name", "doc_values": true},
        "home": {"type": "object", "properties": {"street": {"type": "text", "analyzer": "standard"}}},
        "extra": {"type": "flat_object"},
    }}))
}

async fn ensure(sink: &Arc<OpenSearch>, index: IndexDeclaration) -> Generation {
    for _ in 0..100 {
        match sink.indexes().ensure(std::slice::from_ref(&index)).await {
            // The shard of an index that somebody else made just now may not have started.
            Err(failure) if failure.class == FailureClass::Transient => {}
            made => return made.expect("an index").remove(0),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the shards of {} do not answer", index.name);
}

fn version(position: u64) -> Version {
    Version::new(History::FIRST, Position::new(position))
}

fn write(generation: &Generation, id: &str, position: u64, document: Option<Value>) -> Write {
    Write {
        generation: generation.name.as_str().into(),
        id: id.to_owned(),
        routing: None,
        version: version(position),
        document: document.map(|document| document.to_string().into()),
    }
}

async fn outcomes(sink: &Arc<OpenSearch>, writes: &[Write]) -> Vec<WriteOutcome> {
    sink.write(writes, &SoleOwner).await.expect("an answer")
}

fn record(generation: &Generation, id: &str, position: u64) -> QuarantineRecord {
    QuarantineRecord {
        document: DocumentId { index: "users".into(), id: id.into() },
        generation: generation.name.as_str().into(),
        version: version(position),
        builder_version: BuilderVersion("b".into()),
        rejection: Rejection { kind: "trap".into(), reason: "unreachable".into(), detail: Some("whole text".into()) },
        at_ms: 1_700_000_000_000,
    }
}

fn state_of(owner: &str, checkpoint: u64) -> StateDocument {
    StateDocument {
        format: StateDocument::FORMAT,
        owner: owner.into(),
        source: SourceIdentity { system_identifier: "1".into(), timeline: 1, database: "d".into(), slot: "s".into() },
        history: History::FIRST,
        checkpoint: Position::new(checkpoint),
        next_xid: 7,
        crash_sign: None,
        catalog: Default::default(),
        settled: true,
        builder_version: BuilderVersion("b".into()),
        generations: BTreeMap::new(),
        passes: vec![],
        last_pass: 0,
    }
}
