//! Opening the stream: look at everything, publication, slot, start, quiet point. In this order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use pgwire_replication::{Lsn, PgWireError, ReplicationClient, ReplicationConfig};
use tokio_postgres::Client;

use super::catalog::{self, TableFacts};
use super::catalog_watch::CatalogWatch;
use super::connect::{APPLICATION_NAME, Connection, FORMS};
use super::error::{failed, replication_failed};
use super::fence::Fence;
use super::heartbeat::Heartbeat;
use super::lost_slot::{self, Settled};
use super::overtaken::Overtaken;
use super::pool::Pool;
use super::privilege_watch::PrivilegeWatch;
use super::problem::{Problem, refuse};
use super::relation::Relations;
use super::source::Source;
use super::stream::Stream;
use super::{catalog_sign, identity, privileges, publication, quiet_point, quote, roles, server, slot};
use crate::edges::{Admitted, CapturedTable, Catalog, Failure, FailureClass, Observer, OpenRequest, StreamStart};
use crate::model::{Position, SourceIdentity};

/// Opens the stream of changes of these tables.
pub(super) async fn open(source: &Arc<Source>, request: &OpenRequest<'_>) -> Result<Stream, Failure> {
    let (options, tables, observer) = (&source.options, request.tables, &*request.observer);
    slot::check_name(&options.slot)?;
    let control = source.connect_control().await?;
    let reader = source.connect_reader().await?;
    let facts = server::facts(&control.client).await?;
    // Where somebody was fed before, it is a fail-over in the middle: the standby may be promoted at any moment.
    let class = if facts.standby && request.known { FailureClass::Transient } else { FailureClass::Fatal };
    refuse(class, "capture changes from this server", &facts.problems())?;
    if source.reads {
        check_role(source, &reader.client, tables).await?;
    }
    // In this order: another process that starts at the same time makes the publication first. Seen without it, its slot would be
    // taken for one that has lost its publication.
    let slot = slot::facts(&control.client, &options.slot).await?;
    let published = publication::facts(&control.client, &options.publication).await?;
    // What this process had a stream of already may be mended meanwhile: it waits for that, and goes on by itself.
    let quiet_for = source.quiet.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let class = if quiet_for.is_some() { FailureClass::Transient } else { FailureClass::Fatal };
    let going_on = published.as_ref().filter(|_| quiet_for.is_some());
    let catalog = look_at_tables(&control, source.reads.then_some(&reader.client), tables, going_on).await?;

    if let Some(slot) = &slot {
        refuse(FailureClass::Fatal, "use the slot", &slot::problems(&options.slot, slot, &facts.database))?;
    }
    if let Some(published) = &published {
        let problems = publication::problems(&options.publication, published, tables, &catalog);
        refuse(class, "use the publication", &problems)?;
    }
    let (name, publication) = (options.slot.as_str(), options.publication.as_str());
    let settled =
        lost_slot::settle(&control.client, name, publication, slot.as_ref(), published.is_some(), request).await?;
    publication::ensure(&control.client, options, facts.version, tables, published.as_ref()).await?;
    let created = settled == Settled::Make;
    if created {
        // Until the wait below is over, whatever fails in between; the publication's entries alone would not say it.
        if let Some(quiet_for) = &mut *source.quiet.lock().unwrap_or_else(PoisonError::into_inner) {
            quiet_for.clear();
        }
        slot::create(&control.client, &reader.client, name, facts.version, observer).await?;
    }

    let mut replication = ReplicationClient::connect_gated(replication_config(source))
        .await
        .map_err(|error| replication_failed("connect for replication", error))?;
    let starting = async {
        let system = replication
            .identify_system()
            .await
            .map_err(|error| replication_failed("connect for replication", error))?;
        let start = format!("start replication of slot {}", options.slot);
        let failed = |error| slot_failed(&start, &options.slot, error);
        replication.start().await.map_err(failed)?;
        replication.wait_started().await.map_err(failed)?;
        Ok::<_, Failure>(system)
    };
    let system = tokio::time::timeout(options.connect_timeout, starting).await.unwrap_or_else(|_| {
        let limit = options.connect_timeout;
        Err(Failure::transient(format!("failed to start replication within {limit:?}")))
    })?;

    // Not only when something was made just now: whoever ran the ALTER PUBLICATION, or crashed after it, did not wait for us.
    // A stream that this process opens again has it behind itself: then a transaction that is open for hours holds up nothing.
    let entries = catalog_sign::look(&control.client, &options.publication, tables).await?.entries;
    if created || !is_quiet(quiet_for.as_ref(), &entries) {
        quiet_point::wait(&control.client, observer).await?;
        source.quiet.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().extend(entries.clone());
    }

    let server = server::identity(&control.client).await?;
    if server.system_identifier != system.system_id {
        return Err(Failure::transient("failed to open the stream: two connections to the source reached two servers"));
    }
    let mut start = standing(&control, options, server.clone(), facts.database).await?;
    start.identity.timeline = system.timeline;
    start.created = created;
    let reading = server::identity(&reader.client).await?;
    if reading != server {
        return Err(Failure::transient(format!(
            "failed to open the stream: the reader's server ({}, timeline {}) is not the captured one ({}, timeline {})",
            reading.system_identifier, reading.timeline, server.system_identifier, server.timeline
        ))
        .with_advice("let reader_url name the same cluster"));
    }
    let mut fence = Fence::new(reader, options, Arc::clone(&request.observer)).await?;
    fence.replayed(start.flushed).await?;
    // After the quiet point: what is different from now on, the watch sees.
    let signs = catalog_sign::look(&control.client, &options.publication, tables).await?;
    if signs.unsent.is_some() || signs.entries != entries {
        return Err(Failure::transient(format!(
            "failed to open the stream: publication {} was changed meanwhile",
            options.publication
        )));
    }
    let start = StreamStart { catalog: signs.catalog.clone(), ..start };
    let lost = identity::lost(tables, &catalog);
    let known = tables.iter().zip(&catalog).filter_map(|(table, facts)| Some((table, facts.as_ref()?)));
    Ok(Stream {
        catalog_watch: CatalogWatch::new(options.catalog_every, &options.publication, tables, signs, lost),
        privilege_watch: PrivilegeWatch::new(source, tables),
        overtaken: Overtaken::default(),
        reopen: None,
        start,
        replication,
        control: Arc::new(control),
        fence,
        relations: Relations::new(known),
        heartbeat: options.heartbeat.map(Heartbeat::new),
        open: Some(source.link.open(server)),
        confirmed: AtomicU64::new(0),
        inside: None,
        ready: VecDeque::new(),
        to_pass: None,
        described: None,
    })
}

/// A failure to start replication: somebody else may have been faster.
fn slot_failed(tried: &str, slot: &str, error: PgWireError) -> Failure {
    match &error {
        PgWireError::Server(text) if text.contains("SQLSTATE 55006") => {
            lost_slot::in_use(slot, None).with_source(error)
        }
        // It was there a moment ago: opening again finds out what became of it.
        PgWireError::Server(text) if text.contains("SQLSTATE 42704") => {
            Failure::transient(format!("failed to {tried}: somebody dropped it meanwhile")).with_source(error)
        }
        _ => replication_failed(tried, error),
    }
}

/// Refuses a reader that could step around the database's privileges.
async fn check_role(source: &Source, reader: &Client, tables: &[CapturedTable]) -> Result<(), Failure> {
    let problems = roles::problems(source, reader, tables).await?;
    refuse(FailureClass::Fatal, "read as the reader role", &problems)?;
    roles::say_if_one(source, reader, tables).await
}

/// What the catalog says of the tables, when all of them can be captured and read. With the publication of a stream that goes
/// on, what its tables' old rows do not tell any more is made up for, and what is not there is waited for.
async fn look_at_tables(
    control: &Connection,
    reader: Option<&Client>,
    tables: &[CapturedTable],
    going_on: Option<&publication::PublicationFacts>,
) -> Result<Vec<Option<TableFacts>>, Failure> {
    let catalog = catalog::tables(&control.client, tables).await?;
    // One that is not published yet must not break the application when it is.
    let sent = |table: &CapturedTable| {
        going_on.is_some_and(|facts| publication::missing(facts, std::slice::from_ref(table)).is_empty())
    };
    let mut problems: Vec<Problem> = tables
        .iter()
        .zip(&catalog)
        .flat_map(|(table, facts)| match sent(table) {
            true => identity::shape_problems(table, facts.as_ref()),
            false => identity::problems(table, facts.as_ref()),
        })
        .collect();
    problems.extend(publication::hidden_under_roots(tables, &catalog));
    let hidden = match reader {
        Some(reader) => privileges::problems(reader, tables, &catalog).await?,
        None => Vec::new(),
    };
    let waits = going_on.is_some() && hidden.is_empty();
    problems.extend(hidden);
    let class = if waits { FailureClass::Transient } else { FailureClass::Fatal };
    refuse(class, "capture the declared tables", &problems)?;
    Ok(catalog)
}

/// Whether a stream of this process has passed the quiet point of these entries of the publication.
fn is_quiet(quiet_for: Option<&Catalog>, entries: &Catalog) -> bool {
    quiet_for.is_some_and(|quiet| entries.iter().all(|(table, entry)| quiet.get(table) == Some(entry)))
}

/// Looks at the tables that one of many flows wants of a stream that is shared, with the eyes of that flow's role, and adds to the
/// publication what is missing.
pub(super) async fn admit(pool: &Arc<Pool>, tables: &[CapturedTable]) -> Result<Admitted, Failure> {
    let source = pool.source();
    let epoch = source.link.epoch();
    let control = match source.connections.take_control(epoch).filter(|_| source.link.lost().is_none()) {
        Some(control) => control,
        None => source.connect_control().await?,
    };
    let mut reader = pool.lease_to_prepare().await?;
    let admitted = look(source, &control, reader.work()?.client(), tables).await?;
    reader.rest();
    source.connections.rest_control(control, epoch);
    Ok(admitted)
}

async fn look(
    source: &Source,
    control: &Connection,
    reader: &Client,
    tables: &[CapturedTable],
) -> Result<Admitted, Failure> {
    let options = &source.options;
    let facts = server::facts(&control.client).await?;
    let slot = slot::facts(&control.client, &options.slot).await?;
    let published = publication::facts(&control.client, &options.publication).await?;
    let before = source.admitted.load(Ordering::Acquire);
    let class = if before { FailureClass::Transient } else { FailureClass::Fatal };
    refuse(class, "capture changes from this server", &facts.problems())?;
    check_role(source, reader, tables).await?;
    let catalog = look_at_tables(control, Some(reader), tables, published.as_ref().filter(|_| before)).await?;
    if let Some(published) = &published {
        let mut problems = publication::problems(&options.publication, published, tables, &catalog);
        problems.extend(publication::hides(&control.client, published, tables, &catalog).await?);
        refuse(class, "use the publication", &problems)?;
    }
    // A slot whose publication is gone is opening's to mend.
    if slot.is_some() && published.is_none() {
        return Ok(Admitted::Unrecorded);
    }
    publication::ensure(&control.client, options, facts.version, tables, published.as_ref()).await?;
    source.admitted.store(true, Ordering::Release);
    let quiet_for = source.quiet.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if slot.is_none() || quiet_for.is_none() {
        return Ok(Admitted::Unrecorded);
    }
    let entries = catalog_sign::look(&control.client, &options.publication, tables).await?.entries;
    Ok(if is_quiet(quiet_for.as_ref(), &entries) { Admitted::Quiet } else { Admitted::Recorded })
}

/// Waits for the quiet point of tables that were added to the publication while its stream was open.
pub(super) async fn quiet(
    source: &Arc<Source>,
    tables: &[CapturedTable],
    observer: &dyn Observer,
) -> Result<(), Failure> {
    let control = source.connect_control().await?;
    let entries = catalog_sign::look(&control.client, &source.options.publication, tables).await?.entries;
    quiet_point::wait(&control.client, observer).await?;
    // Emptied meanwhile by an opening that made the slot anew, that one waits for all of them.
    if let Some(quiet) = &mut *source.quiet.lock().unwrap_or_else(PoisonError::into_inner)
        && !quiet.is_empty()
    {
        quiet.extend(entries);
    }
    Ok(())
}

/// How the source stands now, for whoever joins a stream that is open.
pub(super) async fn stand(source: &Arc<Source>, tables: &[CapturedTable]) -> Result<StreamStart, Failure> {
    let control = source.connect_control().await?;
    let facts = server::facts(&control.client).await?;
    let server = server::identity(&control.client).await?;
    let signs = catalog_sign::look(&control.client, &source.options.publication, tables).await?;
    let start = standing(&control, &source.options, server, facts.database).await?;
    Ok(StreamStart { catalog: signs.catalog, ..start })
}

/// Which server it is, and where the slot and the log stand.
async fn standing(
    control: &Connection,
    options: &super::PostgresOptions,
    server: server::ServerIdentity,
    database: String,
) -> Result<StreamStart, Failure> {
    let crash = server::crash_facts(&control.client).await?;
    let sql = "select s.confirmed_flush_lsn::text, pg_current_wal_flush_lsn()::text, \
                 pg_snapshot_xmax(pg_current_snapshot())::text \
               from pg_replication_slots s where s.slot_name = $1";
    let tried = "ask where the slot and the log stand";
    let row = control.client.query_one(sql, &[&options.slot]).await.map_err(|error| failed(tried, error))?;
    let text = |column: usize| row.get::<_, Option<&str>>(column).unwrap_or_default();
    let position = |column: usize| {
        text(column)
            .parse::<Position>()
            .map_err(|error| Failure::transient(format!("failed to {tried}")).with_source(error))
    };
    Ok(StreamStart {
        confirmed: position(0)?,
        flushed: position(1)?,
        next_xid: text(2).parse().map_err(|error: std::num::ParseIntError| {
            Failure::transient(format!("failed to {tried}")).with_source(error)
        })?,
        created: false,
        crash_sign: crash.sign,
        loses_commits: crash.loses_commits || options.assume_async_commits,
        catalog: Catalog::new(),
        identity: SourceIdentity {
            system_identifier: server.system_identifier,
            timeline: server.timeline,
            database,
            slot: options.slot.clone(),
        },
    })
}

fn replication_config(source: &Source) -> ReplicationConfig {
    let (options, settings) = (&source.options, &source.capture);
    // The list of publications is split at commas and folded to lower case unless quoted.
    let publication = quote::identifier(&options.publication);
    let mut config = ReplicationConfig::new(
        &settings.host,
        &settings.user,
        &settings.password,
        &settings.database,
        &options.slot,
        publication,
    )
    .with_port(settings.port)
    .with_start_lsn(Lsn::ZERO)
    .with_status_interval(options.status_interval)
    .with_wakeup_interval(options.status_interval)
    .with_buffer_size(options.stream_buffer_events)
    .with_max_message_size(options.stream_message_bytes_max)
    .with_options(FORMS.iter().map(|(name, value)| quote::setting(name, value)).collect::<Vec<_>>().join(" "));
    config.application_name = Some(APPLICATION_NAME.to_owned());
    if !config.is_unix_socket() {
        config.tls = settings.tls.for_replication();
    }
    config
}
