//! Builders written by hand in WebAssembly's text form, one hostile thing each, and what a call of them needs.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use docmill::edges::{AssembleRequest, DocumentBuilder, Failure, Snapshot};
use docmill::model::{Affected, CellKind, ColumnBuilder, Outcome, Query, Rows};
use docmill::wasm::{Limits, Runtime, RuntimeOptions, WasmBuilder};
use serde_json::{Value, json};

const FRAME: &str = include_str!("builder.wat");

/// The functions of a builder; each as the text between `(func $name (type $name)` and `)`.
#[derive(Clone, Debug)]
pub struct Handmade {
    pub descriptor: String,
    pub describe: &'static str,
    pub resolve: &'static str,
    pub assemble: &'static str,
    /// Further fields of the core module.
    pub fields: &'static str,
    /// Further imports of the component.
    pub imports: &'static str,
}

/// One that does no harm: its documents are all absent.
pub fn harmless() -> Handmade {
    Handmade {
        descriptor: descriptor().to_string(),
        describe: "DESCRIBED",
        resolve: "(call $affected (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
        assemble: "(call $outcomes (local.get $count) (i32.const 1) (i32.const 0) (i32.const 0))",
        fields: "",
        imports: "",
    }
}

pub fn descriptor() -> Value {
    json!({ "contract": "0.1", "rows": "columns",
        "indexes": [{ "name": "things", "mapping": { "properties": {} }, "reads": ["things"],
            "tables": [{ "table": "things", "keys": ["id"], "root": true }] }],
        "queries": { "things": "select id from things where id = any($1)" } })
}

impl Handmade {
    /// The component.
    pub fn wasm(&self) -> Vec<u8> {
        let described = format!("(call $ok (i32.const 0x8000) (i32.const {}))", self.descriptor.len());
        let mut body = self.fields.to_owned();
        for (name, text) in [("describe", self.describe), ("resolve", self.resolve), ("assemble", self.assemble)] {
            let text = text.replace("DESCRIBED", &described);
            body.push_str(&format!("(func ${name} (export \"{name}\") (type ${name}) {})", with_params(name, &text)));
        }
        let descriptor: String = self.descriptor.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let text =
            FRAME.replace("DESCRIPTOR", &descriptor).replace(";;IMPORTS;;", self.imports).replace(";;BODY;;", &body);
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Loaded, with these limits, on the tests' one runtime.
    pub async fn load(&self, limits: Limits) -> Result<Arc<WasmBuilder>, Failure> {
        WasmBuilder::load(runtime(), &self.wasm(), json!({ "key": "value" }), limits, "test").await
    }

    /// Loaded with short limits on time.
    pub async fn loaded(&self) -> Arc<WasmBuilder> {
        self.load(short()).await.unwrap_or_else(|failure| panic!("{}", failure.chain()))
    }
}

/// A function with a named type still has to name its parameters itself.
fn with_params(name: &str, text: &str) -> String {
    let params = match name {
        "resolve" => {
            "(param $index i32) (param $index-bytes i32) (param $table i32) (param $table-bytes i32) (param $form i32) \
             (param i32) (param i32) (param i32) (result i32)"
        }
        "assemble" => {
            "(param $index i32) (param $index-bytes i32) (param $ids i32) (param $count i32) (param $reads i32) \
             (param $reads-count i32) (result i32)"
        }
        _ => "(result i32)",
    };
    format!("{params} {text}")
}

pub fn short() -> Limits {
    // Of wall-clock time there is plenty: other tests have the processors, too.
    Limits { cpu: Duration::from_millis(300), wall: Duration::from_secs(20), ..Limits::default() }
}

/// The tests' one runtime for guests.
pub fn runtime() -> &'static Arc<Runtime> {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new(RuntimeOptions::default()).expect("a runtime for guests"))
}

/// A snapshot that answers every query with the same.
pub enum Source {
    /// That many rows of one integer column.
    Rows(u32),
    /// Never.
    Hangs,
    /// The connection is lost.
    Lost,
}

#[async_trait]
impl Snapshot for Source {
    async fn run(&mut self, queries: &[Query]) -> Result<Vec<Rows>, Failure> {
        match self {
            Source::Rows(count) => Ok(queries.iter().map(|_| ids(*count)).collect()),
            Source::Hangs => std::future::pending().await,
            Source::Lost => Err(Failure::transient("the connection to the source was lost")),
        }
    }
}

/// Rows with the one column `id`.
pub fn ids(count: u32) -> Rows {
    let mut id = ColumnBuilder::new("id", CellKind::Integer);
    (0..count).for_each(|number| id.push_integer(i64::from(number)));
    Rows::new(count, vec![id.finish()]).expect("as many values as rows")
}

pub async fn assemble_from(builder: &Arc<WasmBuilder>, count: u32, source: Source) -> Result<Vec<Outcome>, Failure> {
    let request = AssembleRequest {
        index: "things".into(),
        ids: (0..count).map(|number| number.to_string()).collect(),
        reads: vec![ids(count)],
        source: Box::new(source),
    };
    builder.assemble(request).await
}

pub async fn assemble(builder: &Arc<WasmBuilder>, count: u32) -> Result<Vec<Outcome>, Failure> {
    assemble_from(builder, count, Source::Rows(1)).await
}

pub async fn resolve(builder: &Arc<WasmBuilder>) -> Result<Affected, Failure> {
    builder.resolve("things", "things", ids(3)).await
}
