//! The catalog watch: beside the stream it looks every while whether the captured tables are still defined as they were, and
//! whether the old rows of all of them still tell what must be known.
//!
//! | found | then |
//! |---|---|
//! | a table is defined in another way | an event: a pass over its documents |
//! | the publication's entry of a table is another, or sends less | the stream is opened again, behind a quiet point, and that finds another fingerprint |
//! | old rows do not tell the declared keys | an event at once, and again as long as such rows change, less and less often |

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::catalog_sign::{self, Signs};
use super::connect::Connection;
use super::{catalog, identity};
use crate::edges::{CaptureEvent, CapturedTable, Catalog, Failure, FailureClass};
use crate::model::TableName;

/// Between two looks that the stream asks for.
const LOOK_PAUSE_MIN: Duration = Duration::from_secs(1);
/// Tables whose identity is lost are assembled again at most once in that many `catalog_every`, at last: a pass must be able to
/// end before the next one is asked for.
const ASK_PAUSE_MAX: u32 = 64;

/// See the module.
pub(super) struct CatalogWatch {
    every: Duration,
    looked: Instant,
    due: Instant,
    publication: Arc<str>,
    tables: Arc<[CapturedTable]>,
    known: Catalog,
    entries: Catalog,
    /// Tables whose old rows do not tell all that must be known.
    lost: BTreeSet<TableName>,
    /// Those of them that changed since they were asked for last.
    touched: BTreeSet<TableName>,
    ask_pause: Duration,
    ask_from: Instant,
    /// Keys that may be null by now.
    nullable: BTreeSet<(TableName, String)>,
    /// A look was asked for since the last one began.
    hurried: bool,
    looking: Option<AbortOnDropHandle<Result<Look, Failure>>>,
}

/// What one look found.
struct Look {
    signs: Signs,
    lost: BTreeSet<TableName>,
    nullable: BTreeSet<(TableName, String)>,
}

/// How a look went.
#[derive(Debug)]
pub(super) enum Looked {
    /// What follows from it.
    At(Option<Noticed>),
    /// Somebody holds a lock; it is tried again soon.
    NotYet,
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
    /// Watches `tables`, which are as `signs` says; the old rows of those that are `lost` do not tell all.
    pub fn new(
        every: Duration,
        publication: &str,
        tables: &[CapturedTable],
        signs: Signs,
        lost: BTreeSet<TableName>,
    ) -> Self {
        let now = Instant::now();
        // What changed of them in an earlier stream of this process may not have been asked for.
        let touched = lost.clone();
        Self {
            every,
            looked: now,
            due: now + every,
            publication: publication.into(),
            tables: tables.into(),
            known: signs.catalog,
            entries: signs.entries,
            lost,
            touched,
            nullable: BTreeSet::new(),
            hurried: false,
            ask_pause: every,
            ask_from: now,
            looking: None,
        }
    }

    /// The stream described a table in another way than before: the catalog is looked at soon.
    pub fn hurry(&mut self) {
        self.hurried = true;
        self.due = self.due.min(self.looked + LOOK_PAUSE_MIN.min(self.every));
    }

    /// The stream describes the table without what must be known of old rows; the catalog may say otherwise by now, and nothing
    /// will tell a later start that it was so. So it is asked for at once: once for a definition, and at each description of a
    /// partitioned table while a lock hides the catalog.
    pub fn described_without_keys(&mut self, table: &TableName) -> Option<CaptureEvent> {
        self.ask_from = Instant::now();
        // What changes until a look says otherwise is in doubt, too.
        if self.lost.insert(table.clone()) {
            warn_lost(table);
        }
        self.suspect(table)
    }

    /// An old row of the table does not tell what must be known.
    pub fn suspect(&mut self, table: &TableName) -> Option<CaptureEvent> {
        self.hurry();
        self.touched.insert(table.clone());
        self.ask()
    }

    /// A key is null in an old row of the table, where it could not be when the stream was opened.
    pub fn suspect_null(&mut self, table: &TableName, key: &str) -> Option<CaptureEvent> {
        let may_be = self.nullable.iter().any(|(nullable, column)| nullable == table && column == key);
        if may_be { self.changed(table) } else { self.suspect(table) }
    }

    /// A row of the table was changed or deleted.
    pub fn changed(&mut self, table: &TableName) -> Option<CaptureEvent> {
        if !self.lost.contains(table) || self.touched.contains(table) {
            return None;
        }
        self.touched.insert(table.clone());
        self.ask()
    }

    /// The tables that were touched, when it is time to ask for them again.
    fn ask(&mut self) -> Option<CaptureEvent> {
        let now = Instant::now();
        if self.touched.is_empty() || now < self.ask_from {
            return None;
        }
        self.ask_from = now + self.ask_pause;
        self.ask_pause = (self.ask_pause * 2).min(self.every * ASK_PAUSE_MAX);
        let touched = std::mem::take(&mut self.touched);
        let tables = self.known.iter().filter(|(table, _)| touched.contains(*table)).map(own).collect();
        Some(CaptureEvent::Catalog { tables })
    }

    /// Looks for as long as it is polled; returns when something follows from a look. May be dropped at any time.
    pub async fn run(&mut self, control: &Arc<Connection>) -> Result<Noticed, Failure> {
        loop {
            if self.looking.is_none() {
                tokio::time::sleep_until(self.due.into()).await;
            }
            if let Looked::At(Some(noticed)) = self.look(control).await? {
                return Ok(noticed);
            }
        }
    }

    /// Whether a look was begun.
    pub fn is_looking(&self) -> bool {
        self.looking.is_some()
    }

    /// The look that is under way, or one that begins now. May be dropped at any time.
    pub async fn look(&mut self, control: &Arc<Connection>) -> Result<Looked, Failure> {
        let looking = self.looking.get_or_insert_with(|| {
            // Asked for from now on, it concerns what this look may not see.
            self.hurried = false;
            // Apart, so that dropping this future does not cut it.
            let (control, publication, tables) =
                (Arc::clone(control), Arc::clone(&self.publication), Arc::clone(&self.tables));
            let look = async move {
                let signs = catalog_sign::look(&control.client, &publication, &tables).await?;
                let facts = catalog::tables(&control.client, &tables).await?;
                let (lost, nullable) = (identity::lost(&tables, &facts), identity::nullable(&tables, &facts));
                Ok(Look { signs, lost, nullable })
            };
            AbortOnDropHandle::new(Handle::current().spawn(look))
        });
        let looked = looking.await;
        self.looking = None;
        self.looked = Instant::now();
        self.due = self.looked + self.every;
        if self.hurried {
            self.hurry();
        }
        match looked.map_err(|error| Failure::transient("failed to look at the catalog").with_source(error))? {
            Ok(look) => Ok(Looked::At(self.take(look))),
            // Somebody holds a lock on one of the tables or its partitions: no reason to give up all the others.
            Err(failure) if failure.class == FailureClass::Transient && !control.client.is_closed() => {
                tracing::warn!(failure = %failure.chain(), "the catalog is looked at again soon");
                self.hurry();
                Ok(Looked::NotYet)
            }
            Err(failure) => Err(failure),
        }
    }

    fn take(&mut self, look: Look) -> Option<Noticed> {
        let Look { signs, lost, nullable } = look;
        self.nullable = nullable;
        let mut tables: Catalog =
            signs.catalog.iter().filter(|(table, sign)| self.known.get(*table) != Some(sign)).map(own).collect();
        for table in lost.difference(&self.lost) {
            warn_lost(table);
            tables.extend(signs.catalog.get_key_value(table).map(own));
        }
        self.lost = lost;
        if !self.touched.is_subset(&self.lost) {
            // It was lost in between only: nothing will tell a later stream that.
            self.ask_from = Instant::now();
        }
        if self.lost.is_empty() && self.touched.is_empty() {
            self.ask_pause = self.every;
        }
        let reopen = match &signs.unsent {
            Some(table) => {
                Some(format!("publication {} does not send all changes of table {table} any more", self.publication))
            }
            None if signs.entries != self.entries => {
                Some(format!("publication {} was changed, and may have left out changes meanwhile", self.publication))
            }
            None => None,
        };
        if reopen.is_some() {
            // What is asked for now may be read too early: transactions that are open may have written without the entry. Opening
            // again waits for them, and finds another fingerprint than the one that is known. What was touched is not seen there.
            let touched = std::mem::take(&mut self.touched);
            let tables = self.known.iter().filter(|(table, _)| touched.contains(*table)).map(own).collect();
            return Some(Noticed { tables, reopen });
        }
        for table in tables.keys() {
            tracing::warn!(%table, "the table is defined in another way than before: its documents are assembled again");
            self.touched.remove(table);
        }
        self.known = signs.catalog;
        if let Some(CaptureEvent::Catalog { tables: asked }) = self.ask() {
            tables.extend(asked);
        }
        (!tables.is_empty()).then_some(Noticed { tables, reopen: None })
    }
}

fn warn_lost(table: &TableName) {
    tracing::warn!(
        %table,
        "old rows of the table, or of a partition of it, may not tell the declared keys any more (or their changes are not sent at \
         all), so documents that rows leave are found only by assembling everything again, which is done as long as rows change; \
         `docmill check` says how to mend it"
    );
}

fn own((table, sign): (&TableName, &String)) -> (TableName, String) {
    (table.clone(), sign.clone())
}
