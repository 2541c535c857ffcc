//! The catalog watch: beside the stream it looks every while whether the captured tables are still defined as they were, and
//! whether the old rows of all of them still tell what must be known.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::catalog_sign::{self, Signs};
use super::connect::Connection;
use super::{catalog, identity};
use crate::edges::{CapturedTable, Catalog, Failure};
use crate::model::TableName;

/// See the module.
pub(super) struct CatalogWatch {
    every: Duration,
    due: Instant,
    publication: Arc<str>,
    tables: Arc<[CapturedTable]>,
    known: Catalog,
    /// Tables whose old rows do not tell all that must be known.
    lost: BTreeSet<TableName>,
    /// Those of them that changed since the last look, and what the stream described anew: documents that their rows left may not
    /// be found otherwise.
    touched: BTreeSet<TableName>,
    looking: Option<AbortOnDropHandle<Result<Look, Failure>>>,
}

/// What one look found.
struct Look {
    signs: Signs,
    lost: BTreeSet<TableName>,
}

/// What follows from a look.
#[derive(Debug)]
pub(super) struct Noticed {
    /// Tables that must be looked at as a whole, with their fingerprints.
    pub tables: Catalog,
    /// Why the stream must be opened again.
    pub reopen: Option<String>,
}

impl CatalogWatch {
    /// Watches `tables`, whose fingerprints are `known`.
    pub fn new(every: Duration, publication: &str, tables: &[CapturedTable], known: Catalog) -> Self {
        Self {
            every,
            due: Instant::now() + every,
            publication: publication.into(),
            tables: tables.into(),
            known,
            lost: BTreeSet::new(),
            touched: BTreeSet::new(),
            looking: None,
        }
    }

    /// The stream described a table in another way than before, or without what must be known of old rows: it may be as it was
    /// again when the catalog is looked at, which is done now.
    pub fn suspect(&mut self, table: TableName) {
        self.touched.insert(table);
        self.due = Instant::now();
    }

    /// A row of the table changed.
    pub fn changed(&mut self, table: &TableName) {
        if !self.lost.is_empty() && self.lost.contains(table) && !self.touched.contains(table) {
            self.touched.insert(table.clone());
        }
    }

    /// Looks for as long as it is polled; returns when something follows from a look. May be dropped at any time.
    pub async fn run(&mut self, control: &Arc<Connection>) -> Result<Noticed, Failure> {
        loop {
            if let Some(looking) = &mut self.looking {
                let looked = looking.await;
                self.looking = None;
                let look = looked
                    .map_err(|error| Failure::transient("failed to look at the catalog").with_source(error))??;
                if let Some(noticed) = self.take(look) {
                    return Ok(noticed);
                }
            }
            tokio::time::sleep_until(self.due.into()).await;
            self.due = Instant::now() + self.every;
            // Apart, so that dropping this future does not cut it.
            let (control, publication, tables) =
                (Arc::clone(control), Arc::clone(&self.publication), Arc::clone(&self.tables));
            let look = async move {
                let signs = catalog_sign::look(&control.client, &publication, &tables).await?;
                let facts = catalog::tables(&control.client, &tables).await?;
                let unknown = tables.iter().zip(&facts).filter(|(table, facts)| {
                    facts.as_ref().is_some_and(|facts| !identity::tells_old_keys(table, facts))
                });
                Ok(Look { signs, lost: unknown.map(|(table, _)| table.table.clone()).collect() })
            };
            self.looking = Some(AbortOnDropHandle::new(Handle::current().spawn(look)));
        }
    }

    fn take(&mut self, look: Look) -> Option<Noticed> {
        let Look { signs: Signs { catalog, reopen }, lost } = look;
        for table in lost.difference(&self.lost) {
            tracing::warn!(
                %table,
                "the replica identity does not hold the declared keys any more, so documents that rows leave are found only by \
                 assembling everything again, which is done as long as rows of it change; `docmill check` says how to mend it"
            );
        }
        self.lost = lost;
        let mut tables: Catalog =
            catalog.iter().filter(|(table, sign)| self.known.get(*table) != Some(sign)).map(own).collect();
        for table in tables.keys() {
            tracing::warn!(%table, "the table is defined in another way than before: its documents are assembled again");
        }
        let touched = std::mem::take(&mut self.touched);
        tables.extend(catalog.iter().filter(|(table, _)| touched.contains(*table)).map(own));
        self.known = catalog;
        (!tables.is_empty() || reopen.is_some()).then_some(Noticed { tables, reopen })
    }
}

fn own((table, sign): (&TableName, &String)) -> (TableName, String) {
    (table.clone(), sign.clone())
}
