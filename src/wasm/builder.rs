//! A loaded builder behind the trait that the flow calls.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::Handle;
use wasmtime::component::Component;

use super::call::{Answer, Export};
use super::component::Loaded;
use super::guest::Guest;
use super::limits::Limits;
use super::reading::Reading;
use super::runtime::Runtime;
use super::version::{canonical, version};
use super::{check, component, convert, descriptor};
use crate::edges::{AssembleRequest, DocumentBuilder, Failure, FailureClass};
use crate::model::{Affected, BuilderVersion, Declaration, Outcome, RowForm, Rows};

/// One exact component with its configuration.
pub struct WasmBuilder {
    guest: Guest,
    version: BuilderVersion,
    declaration: Arc<Declaration>,
    /// Held so that another builder of the same bytes shares its code.
    _compiled: Arc<Component>,
}

impl WasmBuilder {
    /// Compiles `bytes`, checks what it imports and exports, and asks it what it declares. `config` is handed to it;
    /// `name` (the pipeline's) stands in errors and logs, and is the tenant that guests' slots are shared among. With a child process
    /// that compiles, the caller's runtime must have I/O enabled.
    ///
    /// # Errors
    ///
    /// `Fatal`: a file that is no component, one of another world, one that imports what no builder is given, one whose
    /// `describe` fails or says what cannot be. Each names what was found and what to do. `Transient` when the process
    /// is in the way.
    pub async fn load(
        runtime: &Arc<Runtime>,
        bytes: &[u8],
        config: serde_json::Value,
        limits: Limits,
        name: &str,
    ) -> Result<Arc<Self>, Failure> {
        let what: Arc<str> = format!("builder of pipeline {name}, describe").into();
        let Loaded { pre, compiled } =
            component::load(runtime, &format!("builder of pipeline {name}"), bytes, &limits).await?;
        let config: Arc<str> = canonical(&config).into();
        let version = version(bytes, &config);
        let guest = Guest::new(Arc::clone(runtime), pre, name, config, limits);
        // In which form it takes rows is known afterwards only, so it has the larger memory here.
        let json = guest.limits().json_memory_bytes > guest.limits().memory_bytes;
        let asked = Arc::clone(&what);
        let text = move |answer| match answer {
            Answer::Described(text) => Ok(text),
            _ => Err(other_answer(&asked)),
        };
        let text = match guest.call(&what, Export::Describe, None, json, text).await {
            Ok(text) => text,
            Err(failure) if failure.class == FailureClass::Transient => return Err(failure),
            // Without a descriptor there is nothing to run, whatever the class.
            Err(mut failure) => {
                failure.class = FailureClass::Fatal;
                // It was given no rows, so what it said quotes none.
                return Err(failure.with_words_shown());
            }
        };
        let declaration = Arc::new(descriptor::read(&format!("builder of pipeline {name}"), &text)?);
        Ok(Arc::new(Self { guest, version, declaration, _compiled: compiled }))
    }

    fn what(&self, export: fmt::Arguments<'_>) -> Arc<str> {
        format!("builder of pipeline {}, {export}", self.guest.pipeline()).into()
    }

    async fn call<T: Send + 'static>(
        &self,
        what: &Arc<str>,
        export: Export,
        reading: Option<Reading>,
        check: impl FnOnce(Answer) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let json = self.declaration.rows == RowForm::Json;
        self.guest.call(what, export, reading, json, check).await
    }
}

/// Each export answers with its own kind; anything else is a mistake of this module.
fn other_answer(what: &str) -> Failure {
    Failure::fatal(format!("{what}: the answer is not of the export that was called"))
}

#[async_trait]
impl DocumentBuilder for WasmBuilder {
    fn version(&self) -> &BuilderVersion {
        &self.version
    }

    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    fn limits_met(&self) -> Vec<(&'static str, u64)> {
        self.guest.met().take()
    }

    async fn resolve(&self, index: &str, table: &str, rows: Rows) -> Result<Affected, Failure> {
        let what = self.what(format_args!("resolve of index {index}, table {table}"));
        let limits = self.guest.limits();
        limits.check_given(&what, rows.count() as usize, rows.bytes())?;
        let export = Export::Resolve {
            index: index.to_owned(),
            table: table.to_owned(),
            rows: convert::rowset(rows, self.declaration.rows),
        };
        let (asked, declaration, limits) = (Arc::clone(&what), Arc::clone(&self.declaration), Arc::clone(limits));
        let check = move |answer| match answer {
            Answer::Resolved(affected) => check::affected(&asked, &declaration, &limits, convert::affected(affected)),
            _ => Err(other_answer(&asked)),
        };
        self.call(&what, export, None, check).await
    }

    async fn assemble(&self, request: AssembleRequest) -> Result<Vec<Outcome>, Failure> {
        let AssembleRequest { index, ids, reads, source } = request;
        let what = self.what(format_args!("assemble of {} documents of index {index}", ids.len()));
        let limits = self.guest.limits();
        let home = Handle::try_current().unwrap_or_else(|_| self.guest.runtime().threads().clone());
        let reading = Reading::new(source, home, Arc::clone(&self.declaration), &reads);
        reading.check(&what, limits)?;
        let count = ids.len();
        let form = self.declaration.rows;
        let export =
            Export::Assemble { index, ids, reads: reads.into_iter().map(|rows| convert::rowset(rows, form)).collect() };
        let (asked, limits, met) = (Arc::clone(&what), Arc::clone(limits), Arc::clone(self.guest.met()));
        let check = move |answer| match answer {
            Answer::Assembled(outcomes) => check::outcomes(&asked, &limits, &met, count, outcomes),
            _ => Err(other_answer(&asked)),
        };
        self.call(&what, export, Some(reading), check).await
    }
}

impl fmt::Debug for WasmBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmBuilder")
            .field("pipeline", &self.guest.pipeline())
            .field("version", &self.version.short())
            .finish_non_exhaustive()
    }
}
