//! `docmill check`: everything that `open` and `prepare` ask, without writing anything; a finding each.

use std::sync::Arc;

use super::options::PostgresOptions;
use super::pool::Pool;
use super::source::Source;
use super::{catalog, identity, privileges, publication, query_set, quote, roles, server, slot};
use crate::edges::{CapturedTable, Failure, Finding, Severity};
use crate::model::{Declaration, TableName};

/// A slot that keeps more than this is worth a word.
const RETAINED_BYTES_WARN: i64 = 10 << 30;

/// Looks at the source as a run would use it. What cannot be looked at is a finding, too.
pub async fn check(
    options: &PostgresOptions,
    tables: &[CapturedTable],
    declaration: Option<&Declaration>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(failure) = look(options, tables, declaration, &mut findings).await {
        let finding = Finding::error("source", failure.chain());
        findings.push(match failure.advice() {
            Some(advice) => finding.with_remedy(advice),
            None => finding,
        });
    }
    findings
}

async fn look(
    options: &PostgresOptions,
    tables: &[CapturedTable],
    declaration: Option<&Declaration>,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let source = Arc::new(Source::new(options.clone(), true)?);
    slot::check_name(&options.slot)?;
    let control = source.connect_control().await?;
    let reader = source.connect_reader().await?;
    let facts = server::facts(&control.client).await?;
    let problems = facts.problems();
    if problems.is_empty() {
        let found = format!("version {}, logical decoding, the role may replicate", facts.version / 10_000);
        findings.push(Finding::ok("server", found));
    }
    findings.extend(problems.into_iter().map(|problem| problem.finding()));
    let (here, there) = (server::identity(&control.client).await?, server::identity(&reader.client).await?);
    if here != there {
        findings.push(
            Finding::error("reader_url", "it leads to another server than url")
                .with_remedy("let reader_url name the same cluster, or a standby of it"),
        );
    }
    let role = roles::findings(&source, &reader.client, tables).await?;
    // Nothing of a builder is planned by a role that could do more than read.
    let declaration = declaration.filter(|_| role.iter().all(|finding| finding.severity != Severity::Error));
    findings.extend(role);

    let catalog = catalog::tables(&control.client, tables).await?;
    let hidden = privileges::problems(&reader.client, tables, &catalog).await?;
    for (captured, facts) in tables.iter().zip(&catalog) {
        let subject = format!("table {}", captured.table);
        let problems = identity::problems(captured, facts.as_ref());
        if problems.is_empty() && hidden.iter().all(|problem| problem.subject != subject) {
            findings.push(Finding::ok(&subject, "its replica identity holds the keys, and the reader may select"));
        }
        findings.extend(problems.into_iter().map(|problem| problem.finding()));
    }
    findings.extend(hidden.into_iter().map(|problem| problem.finding()));
    look_at_publication(&control.client, options, tables, &catalog, findings).await?;
    look_at_slot(&control.client, options, &facts.database, findings).await?;

    if let Some(declaration) = declaration {
        findings.extend(query_set::findings(&Pool::new(source), declaration).await?);
    }
    Ok(())
}

async fn look_at_publication(
    client: &tokio_postgres::Client,
    options: &PostgresOptions,
    tables: &[CapturedTable],
    catalog: &[Option<catalog::TableFacts>],
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let name = &options.publication;
    let subject = format!("publication {name}");
    let Some(facts) = publication::facts(client, name).await? else {
        let all: Vec<&TableName> = tables.iter().map(|captured| &captured.table).collect();
        findings.push(
            Finding::warning(subject, "there is none yet; a run makes it where its role may")
                .with_remedy(publication::create_statement(name, &all)),
        );
        return Ok(());
    };
    let problems = publication::problems(name, &facts, tables, catalog);
    let missing = publication::missing(&facts, tables);
    if !missing.is_empty() {
        let list = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        findings.push(
            Finding::warning(&subject, format!("it does not publish {list} yet; a run adds them where its role may"))
                .with_remedy(publication::extend_statement(name, &missing)),
        );
    } else if problems.is_empty() {
        findings.push(Finding::ok(&subject, "it publishes every declared table"));
    }
    findings.extend(problems.into_iter().map(|problem| problem.finding()));
    Ok(())
}

async fn look_at_slot(
    client: &tokio_postgres::Client,
    options: &PostgresOptions,
    database: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let name = &options.slot;
    let subject = format!("slot {name}");
    let Some(facts) = slot::facts(client, name).await? else {
        findings.push(Finding::ok(subject, "there is none yet; the first run makes it"));
        return Ok(());
    };
    let problems = slot::problems(name, &facts, database);
    if let Some(reason) = &facts.lost {
        let found = format!("the server gave it up ({reason}), and changes are lost with it");
        let remedy = format!(
            "-- with on_lost_slot = \"rebuild\" the next run does it: select pg_drop_replication_slot({});",
            quote::literal(name)
        );
        findings.push(Finding::error(&subject, found).with_remedy(remedy));
    } else if problems.is_empty() {
        let retained = facts.retained.unwrap_or(0);
        let found = match facts.active_pid {
            Some(pid) => format!("in use by process {pid} of the server, keeps {retained} bytes of log"),
            None => format!("keeps {retained} bytes of log"),
        };
        let status = facts.wal_status.as_deref().unwrap_or("unknown");
        findings.push(match retained > RETAINED_BYTES_WARN || status == "unreserved" {
            true => Finding::warning(&subject, format!("{found}; wal_status is {status}")),
            false => Finding::ok(&subject, found),
        });
        if facts.failover == Some(false) {
            let found = "standbys keep no copy of it: after a fail-over everything is assembled again";
            let remedy = format!(
                "-- with docmill stopped: psql 'dbname={database} replication=database' -c 'ALTER_REPLICATION_SLOT {name} (FAILOVER true)'"
            );
            findings.push(Finding::ok(&subject, found).with_remedy(remedy));
        }
    }
    findings.extend(problems.into_iter().map(|problem| problem.finding()));
    Ok(())
}
