//! `check` says what a run would refuse, and writes nothing.

use docmill::edges::Severity;
use docmill::postgres::check;

use super::*;

#[tokio::test]
async fn everything_that_is_wrong_is_a_finding_with_its_remedy() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table good (id int primary key); create table bad (id int, k int)").await.unwrap();
    let tables = [captured("good", &["id"], Columns::Any), captured("bad", &["k"], Columns::Any)];
    let declared = declaration(&[("fine", "select 1 as n"), ("typo", "select x")]);
    let findings = check(&options(&database), &tables, Some(&declared)).await;
    let of = |subject: &str| {
        let found = findings.iter().find(|finding| finding.subject == subject);
        found.unwrap_or_else(|| panic!("{subject} is not in {findings:?}"))
    };
    assert_eq!(of("server").severity, Severity::Ok);
    assert_eq!(of("table public.good").severity, Severity::Ok);
    assert_eq!(of("table public.bad").severity, Severity::Error);
    assert!(of("table public.bad").remedy.as_ref().unwrap().contains("replica identity full"));
    assert_eq!(of("publication docmill").severity, Severity::Warning);
    assert!(of("publication docmill").remedy.as_ref().unwrap().starts_with("create publication"));
    assert_eq!(of("query typo").severity, Severity::Error);
    assert_eq!(of("reader role").severity, Severity::Warning);
    let made: i64 = client
        .query_one("select (select count(*) from pg_publication) + (select count(*) from pg_replication_slots where database = current_database())", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(made, 0, "checking wrote something");
}

#[tokio::test]
async fn a_source_that_cannot_be_reached_is_a_finding() {
    let mut options = PostgresOptions::default();
    let findings = check(&options, &[], None).await;
    assert_eq!(findings[0].severity, Severity::Error);
    options.url = "postgres://me:hunter2@127.0.0.1:1/nowhere".to_owned();
    let findings = check(&options, &[], None).await;
    assert_eq!(findings[0].severity, Severity::Error);
    assert!(!format!("{findings:?}{options:?}").contains("hunter2"));
}
