//! Queries of a builder that would do more than read: refused at load, with the query, what was found and what to do; or without
//! effect.

use docmill::edges::Severity;
use docmill::postgres::check;
use docmill::wasm::{Limits, WasmBuilder};
use serde_json::json;

use super::*;
use crate::wasm::handmade::{descriptor, harmless, runtime};

#[tokio::test]
async fn a_statement_that_is_not_one_query_that_reads_is_refused() {
    let walled = Walled::fresh().await;
    walled.sql("create procedure p() language sql as 'select 1'").await;
    let before = walled.ask("select count(*)::text from pg_class").await;
    for text in [
        "insert into items values (9, 'x') returning id",
        "update items set name = 'x' returning id",
        "delete from items returning id",
        "merge into items i using items j on i.id = j.id when matched then delete",
        "truncate items",
        "with gone as (delete from items returning id) select id from gone",
        "with new as (insert into items values (9, 'x') returning id) select id from new",
        "select id into taken from items",
        "create table taken as select id from items",
        "create temp table taken (id int)",
        "drop table items",
        "select 1; select 2",
        "select 1; drop table items",
        "begin",
        "commit",
        "rollback",
        "set role postgres",
        "set session authorization postgres",
        "set statement_timeout = 0",
        "reset all",
        "show all",
        "lock table items",
        "copy items to program 'touch /tmp/harm'",
        "copy items to stdout",
        "copy (select 1) to '/tmp/harm'",
        "do $$ begin null; end $$",
        "call p()",
        "notify harm",
        "listen harm",
        "declare c cursor with hold for select id from items",
        "fetch all from c",
        "prepare harm as select 1",
        "execute harm",
        "deallocate all",
        "discard all",
        "explain analyze select id from items",
        "vacuum",
        "checkpoint",
        "load 'auto_explain'",
        "alter system set wal_level = 'minimal'",
        "create publication harm for all tables",
        "security label on table items is 'x'",
        "",
        "   ;  ",
        "-- nothing",
        "select",
        "select from items",
    ] {
        says(&walled.refused(text).await, "query q: ");
    }
    assert_eq!(walled.ask("select count(*)::text from pg_class").await, before, "nothing was made");
    assert_eq!(walled.ask("select count(*)::text from items").await, "3");
}

#[tokio::test]
async fn a_text_that_would_end_the_wrapper_around_it_is_refused() {
    let walled = Walled::fresh().await;
    for text in [
        "select 1) as q(c1); drop table items; --",
        "select 1) as q(c1), (select 2",
        "select 1) as q(c1) where exists (select 1",
        "select 1) as q(c1) union all (select 2",
        "select 1) as q(c1) /*",
        "select (1",
        "select 1)",
        "select 1 /*",
        "select 'a",
        "select $$a",
        "select \"a",
        "select 1 as a \\; drop table items",
        "select u&\"\\0070g_sleep\"(1)",
    ] {
        says(&walled.refused(text).await, "query q: ");
    }
    // Inside texts and comments all of it is only text.
    for (text, value) in [
        ("select $$; drop table items; --$$::text as t", "; drop table items; --"),
        ("select $a$) as q(c1); $$ $a$::text as t", ") as q(c1); $$ "),
        ("select e'\\'); drop table items; --'::text as t", "'); drop table items; --"),
        ("select 'a'::text as t -- ) as q(c1); drop table items", "a"),
        ("select /* ); /* drop table items */ */ 'b'::text as t", "b"),
        ("select 'c'::text as \"t) as q(c1); drop table items; --\"", "c"),
    ] {
        let queries = walled.prepare(text).await.unwrap_or_else(|failure| panic!("{text}: {}", failure.chain()));
        let (rows, _moment) = queries.snapshot(&[query("q", &[])]).await.expect(text);
        let docmill::model::Cells::Texts(texts) = &rows[0].columns()[0].cells else { panic!("texts: {text}") };
        assert_eq!(texts.get(0), Some(value.as_bytes()), "{text}");
    }
    assert_eq!(walled.ask("select count(*)::text from items").await, "3");
}

#[tokio::test]
async fn a_function_that_changes_or_hides_something_is_refused_by_its_name() {
    let walled = Walled::fresh().await;
    // As the extensions have them.
    walled
        .sql(
            "create sequence s; create extension if not exists plpgsql;
             create function dblink(text, text) returns setof record language plpgsql volatile as $$ begin return; end $$;
             create function crosstab4(text) returns int language plpgsql stable as $$ begin return 1; end $$;
             create function connectby(text) returns int language plpgsql stable as $$ begin return 1; end $$",
        )
        .await;
    for (text, found) in [
        ("select pg_sleep(60)::text as t", "it calls pg_sleep(double precision), which is volatile"),
        (
            "select set_config('statement_timeout', '0', false) as t",
            "it calls set_config(text,text,boolean), which changes settings",
        ),
        (
            "select query_to_xml('drop table items', true, true, '') as t",
            "it calls query_to_xml(text,boolean,boolean,text), which runs SQL",
        ),
        ("select query_to_xml_and_xmlschema('x', true, true, '') as t", "which runs SQL"),
        ("select query_to_xmlschema('x', true, true, '') as t", "which runs SQL"),
        ("select table_to_xml('secrets', true, true, '') as t", "which reads a table"),
        ("select schema_to_xml('public', true, true, '') as t", "which reads whole schemas"),
        ("select database_to_xml(true, true, '') as t", "which reads the whole database"),
        ("select cursor_to_xml('c', 1, true, true, '') as t", "is volatile"),
        ("select word from ts_stat('select set_config(''a.b'', ''c'', false)')", "which runs SQL"),
        (
            "select ts_rewrite('a'::tsquery, 'select ''a''::tsquery, ''b''::tsquery') as t",
            "it calls ts_rewrite(tsquery,text)",
        ),
        ("select pg_logical_emit_message(true, 'docmill', '7') as t", "could forge a barrier"),
        ("select pg_current_xact_id()::text as t", "takes a transaction id"),
        ("select txid_current() as t", "takes a transaction id"),
        ("select pg_advisory_lock(1)::text as t", "it calls pg_advisory_lock(bigint), which is volatile"),
        ("select pg_try_advisory_xact_lock(1, 2) as t", "is volatile"),
        ("select lo_import('/etc/passwd') as t", "permission denied for function lo_import"),
        ("select lo_create(0) as t", "is volatile"),
        ("select lo_from_bytea(0, 'x') as t", "is volatile"),
        ("select pg_read_file('/etc/passwd') as t", "permission denied for function pg_read_file"),
        ("select pg_ls_dir('.') as t", "permission denied for function pg_ls_dir"),
        ("select pg_notify('a', 'b')::text as t", "is volatile"),
        ("select pg_terminate_backend(1) as t", "is volatile"),
        ("select nextval('s') as t", "is volatile"),
        ("select random() as t", "it calls random(), which is volatile"),
        ("select gen_random_uuid() as t", "is volatile"),
        ("select clock_timestamp() as t", "is volatile"),
        ("select a from dblink('host=evil', 'select 1') as d(a int)", "it calls dblink(text,text), which is volatile"),
        ("select crosstab4('select 1') as t", "it calls crosstab4(text), which runs SQL"),
        ("select connectby('items') as t", "it calls connectby(text), which runs SQL"),
    ] {
        let said = walled.refused(text).await;
        says(&said, "query q: ");
        says(&said, found);
        // What to do is said, and what nobody can allow is not offered.
        let offered = said.contains("allow_functions = [\"");
        assert_eq!(offered, !said.contains("no configuration allows") && !said.contains("permission denied"), "{said}");
    }
}

#[tokio::test]
async fn a_function_is_found_wherever_it_hides() {
    let walled = Walled::fresh().await;
    walled
        .sql(
            "create function harm() returns int language plpgsql volatile as $$ begin return 1; end $$;
             create function harm(items) returns int language plpgsql volatile as $$ begin return 1; end $$;
             create function \"Harm \"\"x\"\"\"() returns int language plpgsql volatile as $$ begin return 1; end $$;
             create function hurt(int, int) returns int language plpgsql volatile as $$ begin return 1; end $$;
             create operator <+> (function = hurt, leftarg = int, rightarg = int);
             create aggregate hurts(int) (sfunc = hurt, stype = int);
             create function calm(int) returns int language sql stable as 'select $1 + 1';
             create function calm(text) returns text language plpgsql volatile as $$ begin return ''; end $$;
             create function plain() returns int language sql as 'select harm()';
             create view harmful as select id, harm() as h from items;
             grant select on harmful to public;
             create schema other; grant usage on schema other to public;
             create function other.harm2() returns int language plpgsql volatile as $$ begin return 1; end $$",
        )
        .await;
    for (text, found) in [
        ("select HARM() as t", "it calls harm(), which"),
        ("select harm/* */\n-- \n () as t", "it calls harm(), which"),
        ("select public . harm() as t", "it calls harm(), which"),
        ("select \"Harm \"\"x\"\"\"() as t", "it calls \"Harm \"\"x\"\"\"(), which"),
        ("select other.harm2() as t", "it calls other.harm2(), which"),
        ("select id from items i where i.harm = 1", "it calls harm(items), which"),
        ("select id from harmful where h = 1", "it calls harm(), which"),
        ("select plain() as t", "it calls plain(), which"),
        ("select hurts(id) as t from items", "it calls hurts(integer), which"),
        ("select id <+> 1 as t from items", "it calls hurt(integer,integer) by operator <+>, which"),
        ("select id operator(public.<+>) 1 as t from items", "by operator <+>, which"),
        ("select id from items where false and harm() = 1", "it calls harm(), which"),
        ("select id from items where case when $1 then harm() else 1 end = 1", "it calls harm(), which"),
        ("select id from items order by harm()", "it calls harm(), which"),
        ("select id from items limit (select harm())", "it calls harm(), which"),
        ("select id from items group by id having harm() = 1", "it calls harm(), which"),
        ("select i.id from items i cross join lateral generate_series(1, harm()) g", "it calls harm(), which"),
        ("select id from items, harm() h", "it calls harm(), which"),
        (
            "with recursive r as (select harm() as n union all select n + 1 from r where n < 3) select n from r",
            "it calls harm(), which",
        ),
        ("with x as materialized (select harm()) select 1 as t", "it calls harm(), which"),
        ("select exists(select harm()) as t", "it calls harm(), which"),
        ("select array(select harm()) as t", "it calls harm(), which"),
        ("select sum(id) filter (where harm() = 1) as t from items", "it calls harm(), which"),
        ("select sum(id) over (order by harm()) as t from items", "it calls harm(), which"),
        ("select json_build_object('a', row(1, harm())) as t", "it calls harm(), which"),
        ("select calm('x'::text) as t", "it calls calm(text), which"),
        ("select id from items for update", "locks rows"),
        ("select id from items for key share", "locks rows"),
    ] {
        let failure = prepare(options(&walled.database), &[("q", text)])
            .await
            .err()
            .unwrap_or_else(|| panic!("accepted: {text}"));
        says(&failure.chain(), found);
    }
}

#[tokio::test]
async fn ordinary_queries_are_not_in_the_way() {
    let walled = Walled::fresh().await;
    walled
        .sql(
            "create function calm(int) returns int language sql stable as 'select $1 + 1';
             create view calming as select id, calm(id) as c, current_user as u from items; grant select on calming to public",
        )
        .await;
    let good = [
        "select id, name from items where id = any($1)",
        "select count(*), min(id), string_agg(name, ',' order by name, id), jsonb_agg(name), array_agg(distinct id) from items",
        "select percentile_cont(0.5) within group (order by id) as p, count(*) filter (where id > 1) as f from items",
        "select id, row_number() over w as n, lag(id, 1, 0) over w as l from items window w as (partition by name order by id)",
        "select extract(year from timestamptz '2020-01-01') as y, date_trunc('day', timestamptz '2020-01-01 10:00') as d",
        "select timestamptz '2020-01-01' at time zone 'Europe/Berlin' as t, age(timestamptz '2020-01-01', '2019-01-01') as a",
        "select to_char(1.5, '9.9') as a, to_char(timestamptz '2020-01-01', 'YYYY') as b, to_tsvector('english', name) as c from items",
        "select position('a' in name) as a, overlay(name placing 'x' from 1 for 1) as b, trim(both 'x' from name) as c from items",
        "select substring(name from 1 for 2) as a, coalesce(nullif(name, ''), 'x') as b, greatest(id, 2) as c from items",
        "select ts_rewrite('a'::tsquery, 'a'::tsquery, 'b'::tsquery) as t, md5(name) as m from items",
        "with recursive r as (select 1 as n union all select n + 1 from r where n < 3) select n from r",
        "select i.id, l.name from items i left join lateral (select name from items j where j.id > i.id order by id limit 1) l on true",
        "select id, grouping(id) as g, sum(id) as s from items group by rollup (id)",
        "select g from generate_series(1, 3) g where g not in (select id from items) or g = $1::int",
        "select u.id, u.ordinality from unnest(array[1, 2]) with ordinality as u(id, ordinality)",
        "select id, c, u from calming",
        "select c.relname from pg_class c where c.oid = 'items'::regclass",
        "select j.a from jsonb_to_recordset('[{\"a\": 1}]') as j(a int) union all select x.b from (values (1), (2)) as x(b)",
        "select name ~ '^a' as a, name || 'b' as b, id::numeric(10, 2) as c, '{1}'::int[] && array[id] as d from items",
        "select format('%s', id) as f, quote_literal(name) as q, row(id, name) as r, items as whole from items",
    ];
    for text in good {
        let queries = walled.prepare(text).await.unwrap_or_else(|failure| panic!("{text}: {}", failure.chain()));
        let params: &[&str] = if text.contains("any($1)") {
            &["[1]"]
        } else if text.contains("$1") {
            &["1"]
        } else {
            &[]
        };
        queries.snapshot(&[query("q", params)]).await.unwrap_or_else(|failure| panic!("{text}: {}", failure.chain()));
        let findings = check(&walled.options(), &[], Some(&declaration(&[("q", text)]))).await;
        assert!(findings.iter().all(|finding| finding.subject != "query q"), "{text}: {findings:?}");
    }
}

#[tokio::test]
async fn an_operator_allows_a_function_by_name_and_some_by_none() {
    let walled = Walled::fresh().await;
    let with = |allowed: &str, text: &'static str| {
        let options = PostgresOptions { allow_functions: vec![allowed.to_owned()], ..walled.options() };
        async move { prepare(options, &[("q", text)]).await.map(drop).map_err(|failure| failure.chain()) }
    };
    for allowed in ["random", "pg_catalog.random"] {
        with(allowed, "select random() as r").await.expect(allowed);
    }
    says(&with("public.random", "select random() as r").await.unwrap_err(), "it calls random()");
    says(
        &with("random", "select random() as r, clock_timestamp() as c").await.unwrap_err(),
        "it calls clock_timestamp()",
    );
    with("txid_current", "select txid_current() as t").await.expect("the operator's word");
    says(&with("set_config", "select set_config('a.b', 'c', true) as t").await.unwrap_err(), "no configuration allows");
}

#[tokio::test]
async fn an_answer_that_changes_with_the_clock_is_a_warning() {
    let walled = Walled::fresh().await;
    walled
        .sql("create view fresh as select id from items where now() > '2020-01-01'; grant select on fresh to public")
        .await;
    for (text, word) in [
        ("select id from items where now() > '2020-01-01'", "now"),
        ("select id from items where false and current_date > '2020-01-01'", "current_date"),
        ("select id, LocalTimestamp(2) as t from items", "localtimestamp"),
        ("select age(timestamptz '2020-01-01') as a", "age"),
        ("select id from fresh", "now"),
    ] {
        let findings = check(&walled.options(), &[], Some(&declaration(&[("q", text)]))).await;
        let finding = findings.iter().find(|finding| finding.subject == "query q");
        let finding = finding.unwrap_or_else(|| panic!("{text}: {findings:?}"));
        assert_eq!(finding.severity, Severity::Warning, "{finding:?}");
        says(&finding.found, &format!("changes with {word}"));
        walled.prepare(text).await.unwrap_or_else(|failure| panic!("{text}: {}", failure.chain()));
    }
}

#[tokio::test]
async fn what_the_reader_may_not_select_is_refused_at_load_and_so_is_what_is_not_there() {
    let walled = Walled::fresh().await;
    for (text, found) in [
        ("select secret from secrets", "permission denied for table secrets (SQLSTATE 42501)"),
        ("select id from items where exists (select from secrets)", "permission denied for table secrets"),
        ("select rolpassword from pg_authid", "permission denied for table pg_authid"),
        ("select id from nowhere", "relation \"nowhere\" does not exist (SQLSTATE 42P01), line 1"),
        ("select nme from items", "column \"nme\" does not exist (SQLSTATE 42703), line 1"),
        ("select nothing(id) as t from items", "function nothing(integer) does not exist (SQLSTATE 42883)"),
    ] {
        let said = walled.refused(text).await;
        says(&said, &format!("query q: {found}"));
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_without_end_is_refused_before_the_database_sees_it() {
    let load = |text: String| async move {
        let mut guest = harmless();
        let mut described = descriptor();
        described["queries"]["things"] = json!(text);
        guest.descriptor = described.to_string();
        WasmBuilder::load(runtime(), &guest.wasm(), json!({}), Limits::default(), "test")
            .await
            .map_err(|failure| failure.chain())
    };
    // The frame of the tests' own component has room for two pages of memory.
    says(&load(format!("select 1 as id -- {}", "x".repeat(90 << 10))).await.unwrap_err(), "bytes of query \"things\"");
    // PostgreSQL itself reads one of a megabyte as any other.
    let walled = Walled::fresh().await;
    let long = format!("select id from items where id = any($1) -- {}", "x".repeat(1 << 20));
    let queries = walled.prepare(&long).await.expect("a long comment");
    queries.snapshot(&[query("q", &["[1]"])]).await.expect("rows");
    let deep = format!("select {}1{} as t", "(".repeat(100_000), ")".repeat(100_000));
    assert!(walled.prepare(&deep).await.is_err(), "the server's own stack has a limit");
    walled.prepare("select id from items").await.expect("the server lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_queries_of_one_name_the_one_that_runs_is_the_one_that_was_looked_at() {
    let mut guest = harmless();
    let twice = r#""queries":{"things":"select id from things where id = any($1)","things":"select 7 as id where 7 = any($1)"}"#;
    let plain = descriptor().to_string();
    let (before, _) = plain.split_once("\"queries\"").expect("queries");
    guest.descriptor = format!("{before}{twice}}}");
    let builder = guest.load(Limits::default()).await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
    let declaration = docmill::edges::DocumentBuilder::declaration(&*builder);
    assert_eq!(declaration.queries.len(), 1);
    assert_eq!(declaration.queries["things"], "select 7 as id where 7 = any($1)");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_refuses_such_a_builder_and_says_which_query_and_what_to_do() {
    let walled = Walled::fresh().await;
    let mut guest = harmless();
    let mut described = descriptor();
    described["indexes"][0]["tables"][0]["table"] = json!("items");
    described["queries"]["things"] = json!("select id, pg_sleep(60)::text as t from items where id = any($1)");
    described["queries"]["other"] = json!("drop table items");
    guest.descriptor = described.to_string();
    let config = |more: &str| {
        format!(
            "[sources.main]\nurl = \"{}\"\nslot = \"docmill_{}\"\n[sinks.out]\ntype = \"stdout\"\n[pipelines.evil]\n\
             builder = \"evil.wasm\"\nreader = {{ url = \"{}\" }}\n{more}\n[server]\nlisten = \"127.0.0.1:0\"\n",
            walled.database.url,
            walled.database.name,
            as_role(&walled.database, &walled.reader)
        )
    };
    let files = || vec![("evil.wasm".to_owned(), guest.wasm())];
    for (command, code) in [("check", 3), ("run", 1)] {
        let said = docmill(command, config(""), files()).await;
        assert_eq!(said.code, Some(code), "{}", said.text);
        says(&said.text, "query things: it calls pg_sleep(double precision), which is volatile");
        says(&said.text, "allow_functions = [\"pg_catalog.pg_sleep\"]");
        says(&said.text, "query other: it yields no columns; only a select can be declared");
    }
    let said = docmill("check", config("allow_functions = [\"pg_sleep\"]"), files()).await;
    assert_eq!(said.code, Some(3), "{}", said.text);
    assert!(!said.text.contains("pg_sleep"), "{}", said.text);
    assert_eq!(walled.ask("select count(*)::text from items").await, "3");
}
