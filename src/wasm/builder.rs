//! A loaded builder: the component, its declaration and its limits, behind the trait that the flow calls.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::bindings::BuilderPre;
use super::host::{CallState, Reading};
use super::instance::{Answer, Call, Export};
use super::limits::{Limiter, Limits};
use super::runtime::Runtime;
use super::{check, component, convert, descriptor};
use crate::edges::{AssembleRequest, DocumentBuilder, Failure};
use crate::model::{Affected, BuilderVersion, Declaration, Outcome, Rows};

/// One exact component with its configuration.
pub struct WasmBuilder {
    runtime: Arc<Runtime>,
    pre: BuilderPre<CallState>,
    name: Arc<str>,
    config: Arc<str>,
    limits: Arc<Limits>,
    version: BuilderVersion,
    declaration: Arc<Declaration>,
}

impl WasmBuilder {
    /// Compiles `bytes`, checks what it imports and exports, and asks it what it declares. `config` is handed to it; `name`
    /// (the pipeline's) stands in errors and logs.
    ///
    /// # Errors
    ///
    /// `Fatal`: a file that is no component, one of another world, one that imports what no builder is given, one whose
    /// `describe` fails or says what cannot be. Each names what was found and what to do.
    pub async fn load(
        runtime: &Arc<Runtime>,
        bytes: &[u8],
        config: serde_json::Value,
        limits: Limits,
        name: &str,
    ) -> Result<Arc<Self>, Failure> {
        let what = format!("builder of pipeline {name}");
        let pre = component::load(runtime, &what, bytes, &limits).await?;
        let config: Arc<str> = config.to_string().into();
        let mut builder = Self {
            runtime: Arc::clone(runtime),
            pre,
            name: name.into(),
            version: version(bytes, &config),
            config,
            limits: Arc::new(limits),
            declaration: Arc::new(Declaration {
                contract: String::new(),
                rows: Default::default(),
                indexes: Vec::new(),
                queries: Default::default(),
            }),
        };
        let described = builder.call("describe", None, Export::Describe).await.map_err(|failure| {
            // Whatever it is, without a descriptor there is nothing to run.
            Failure::fatal(format!("{what}: it could not say what it makes")).with_source(failure)
        })?;
        let Answer::Described(text) = described else { return Err(mismatch(&what)) };
        builder.declaration = Arc::new(descriptor::read(&what, &text)?);
        Ok(Arc::new(builder))
    }

    async fn call(&self, export: &str, source: Option<Reading>, call: Export) -> Result<Answer, Failure> {
        let state = CallState {
            what: self.what(export),
            pipeline: Arc::clone(&self.name),
            config: Arc::clone(&self.config),
            limits: Arc::clone(&self.limits),
            limiter: Limiter::new(&self.limits),
            source,
            ended: None,
            log: Vec::new(),
            logged: 0,
        };
        Call { pre: self.pre.clone(), state, export: call }.run(&self.runtime).await
    }

    fn what(&self, export: &str) -> Arc<str> {
        format!("builder of pipeline {}, {export}", self.name).into()
    }
}

/// The exports answer with their own kind; anything else is a fault of this module.
fn mismatch(what: &str) -> Failure {
    Failure::fatal(format!("{what}: the answer is not of the export that was called"))
}

/// Component and configuration together: another configuration makes other documents.
fn version(bytes: &[u8], config: &str) -> BuilderVersion {
    let mut hash = Sha256::new();
    // The length keeps the two apart.
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
    hash.update(config.as_bytes());
    BuilderVersion(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[async_trait]
impl DocumentBuilder for WasmBuilder {
    fn version(&self) -> &BuilderVersion {
        &self.version
    }

    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    async fn resolve(&self, index: &str, table: &str, rows: Rows) -> Result<Affected, Failure> {
        let export = format!("resolve of index {index}, table {table}");
        if rows.bytes() > self.limits.bytes_to_guest {
            return Err(check::over(&self.what(&export), "bytes_to_guest", rows.bytes(), self.limits.bytes_to_guest));
        }
        let rows = convert::rowset(rows, self.declaration.rows);
        let call = Export::Resolve { index: index.to_owned(), table: table.to_owned(), rows };
        match self.call(&export, None, call).await? {
            Answer::Resolved(affected) => {
                check::affected(&self.what(&export), &self.declaration, &self.limits, convert::affected(affected))
            }
            _ => Err(mismatch(&export)),
        }
    }

    async fn assemble(&self, request: AssembleRequest) -> Result<Vec<Outcome>, Failure> {
        let AssembleRequest { index, ids, reads, source } = request;
        let export = format!("assemble of index {index}");
        let bytes: usize = reads.iter().map(Rows::bytes).sum();
        if bytes > self.limits.bytes_to_guest {
            return Err(check::over(&self.what(&export), "bytes_to_guest", bytes, self.limits.bytes_to_guest));
        }
        let form = self.declaration.rows;
        let source =
            Reading { snapshot: source, declaration: Arc::clone(&self.declaration), form, queries: 0, rows: 0, bytes };
        let reads = reads.into_iter().map(|rows| convert::rowset(rows, form)).collect();
        let call = Export::Assemble { index: index.to_string(), ids: ids.to_vec(), reads };
        match self.call(&export, Some(source), call).await? {
            Answer::Assembled(outcomes) => check::outcomes(&self.what(&export), &self.limits, ids.len(), outcomes),
            _ => Err(mismatch(&export)),
        }
    }
}

impl fmt::Debug for WasmBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmBuilder").field("pipeline", &self.name).field("version", &self.version.short()).finish()
    }
}
