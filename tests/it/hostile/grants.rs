//! The page for operators: its statements, run word for word, leave nothing for `check` to complain of and nothing for a reader
//! to do but read.

use docmill::embedded::SHOP_SCHEMA;

use super::super::support::postgres::{connect, private, try_connect};
use super::super::support::running::SHOP_WASM;
use super::*;

const PAGE: &str = include_str!("../../../deploy/postgres.md");

/// The blocks of SQL of the page, in order.
fn blocks() -> Vec<&'static str> {
    let rest = PAGE.split("```sql\n").skip(1);
    rest.map(|rest| rest.split("```").next().expect("a block has an end")).collect()
}

#[tokio::test]
async fn the_statements_of_the_page_are_enough_and_not_too_much() {
    let server = private(&[("wal_level", "logical")]).await;
    let database = Database { name: "postgres".to_owned(), url: server.url() };
    let admin = connect(&database.url).await;
    let run = async |sql: &str| admin.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    for schema in ["acme", "rival"] {
        run(&format!("create schema {schema}; set search_path = {schema}; {SHOP_SCHEMA}; reset search_path;")).await;
    }
    let blocks = blocks();
    assert!(blocks.len() >= 3, "the page has its statements");
    for block in &blocks {
        run(block).await;
    }
    let url = |role: &str, password: &str| {
        let (_, rest) = database.url.split_once('@').expect("a URL with a user");
        format!("postgres://{role}:{password}@{rest}")
    };
    let capture = url("docmill_capture", "change-me");
    let reader = url("docmill_reader_acme", "change-me-too");
    let config = format!(
        "[sources.main]\nurl = \"{capture}\"\n[sinks.out]\ntype = \"stdout\"\n[pipelines.acme]\nbuilder = \"shop.wasm\"\n\
         schema = \"acme\"\nreader = {{ url = \"{reader}\" }}\n[server]\nlisten = \"127.0.0.1:0\"\n"
    );
    let said = docmill("check", config.clone(), vec![("shop.wasm".to_owned(), SHOP_WASM.to_vec())]).await;
    assert_eq!(said.code, Some(0), "{}", said.text);
    for part in
        ["everything is as it should be", "ok      reader role", "ok      publication docmill", "ok      queries"]
    {
        says(&said.text, part);
    }
    // The neighbour's schema is closed to it.
    let said = docmill(
        "check",
        config.replace("schema = \"acme\"", "schema = \"rival\""),
        vec![("shop.wasm".to_owned(), SHOP_WASM.to_vec())],
    )
    .await;
    assert_eq!(said.code, Some(3), "{}", said.text);
    says(&said.text, "may not select");

    let reading = connect(&reader).await;
    reading.query("select id from acme.users", &[]).await.expect("what is granted");
    for text in [
        "select id from rival.users",
        "insert into acme.users values (1, 'a', 'b', 'c', now())",
        "create temp table t (id int)",
        "create table public.t (id int)",
        "create function public.f() returns int language sql as 'select 1'",
        "create schema mine",
        "select lo_create(0)",
        "select lo_from_bytea(0, 'x')",
        "select lo_import('/etc/passwd')",
        "select pg_read_file('/etc/passwd')",
        "select pg_logical_emit_message(true, 'docmill', '7')",
        "select query_to_xml('select 1', true, true, '')",
        "copy acme.users to program 'true'",
        "set role docmill_capture",
        "create publication p for table acme.users",
        "select pg_create_logical_replication_slot('s', 'pgoutput')",
        "select * from pg_logical_slot_peek_changes('docmill', null, null)",
        "alter role docmill_reader_acme superuser",
    ] {
        let error = reading.batch_execute(text).await.err().unwrap_or_else(|| panic!("it may: {text}"));
        assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("42501"), "{text}: {error:?}");
    }
    // The capture role keeps what it needs, and reads no rows by SQL.
    let capturing = connect(&capture).await;
    capturing.batch_execute("select pg_logical_emit_message(true, 'docmill', '7')").await.expect("its markers");
    let error = capturing.batch_execute("select id from acme.users").await.expect_err("it need not");
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("42501"));
    // The limit on connections holds.
    let mut open = vec![reading];
    let refused = loop {
        match try_connect(&reader).await {
            Ok(client) => open.push(client),
            Err(error) => break error,
        }
        assert!(open.len() < 20, "there is no limit");
    };
    assert_eq!(refused.code().map(tokio_postgres::error::SqlState::code), Some("53300"), "{refused:?}");
}
