//! What the lint cannot see: a function that says it is constant and does harm. The database's privileges stop it, the session
//! is cleaned behind it, and the clock is ours.

use std::time::{Duration, Instant};

use super::*;

/// A function that the lint takes for constant, whatever it does: it calls one that is volatile, because PostgreSQL lets no other
/// write or declare anything.
fn mislabelled(name: &str, body: &str) -> String {
    format!(
        "create function {name}_inside(int) returns int language plpgsql volatile as $f$ begin {body}; return $1; end $f$;
         create function {name}(int) returns int language plpgsql immutable as $f$ begin return public.{name}_inside($1); end $f$;"
    )
}

#[tokio::test]
async fn a_function_that_lies_about_itself_still_cannot_write() {
    let walled = Walled::fresh().await;
    let insert = "insert into items values (9, 'x')";
    walled.sql(&mislabelled("harm", insert)).await;
    walled.sql("grant insert on items to public").await;
    // Called with a constant it runs while the statement is planned: in a transaction that only reads.
    says(&walled.refused("select harm(1) as t").await, "cannot execute INSERT in a read-only transaction");
    let queries = walled.prepare("select harm(id)::text as t from items").await.expect("nothing can be seen");
    let failure = queries.snapshot(&[query("q", &[])]).await.err().expect("refused");
    says(&failure.chain(), "cannot execute INSERT in a read-only transaction");
    let failure = queries.ids(&[query("q", &[])]).await.err().expect("refused");
    says(&failure.chain(), "cannot execute INSERT in a read-only transaction");
    // Nor may a statement undo that for the next one of its call.
    let undo = "perform set_config('default_transaction_read_only', 'off', false)";
    walled.sql(&mislabelled("undo", undo)).await;
    let both = [("undo", "select undo(id)::text as t from items"), ("harm", "select harm(id)::text as t from items")];
    let queries = prepare(walled.options(), &both).await.expect("nothing can be seen");
    let asked = [query("undo", &[]), query("harm", &[])];
    says(&queries.snapshot(&asked).await.err().expect("refused").chain(), "read-only transaction");
    says(&queries.ids(&asked).await.err().expect("refused").chain(), "read-only transaction");
    walled.sql(&mislabelled("reopen", "perform set_config('transaction_read_only', 'off', true)")).await;
    let queries = prepare(walled.options(), &[("q", "select reopen(id)::text as t from items")]).await.expect("load");
    says(&queries.snapshot(&[query("q", &[])]).await.err().expect("refused").chain(), "(SQLSTATE 25001)");
    assert_eq!(walled.ask("select count(*)::text from items").await, "3");
}

#[tokio::test]
async fn nothing_that_a_call_leaves_in_its_session_reaches_the_next_one() {
    let walled = Walled::fresh().await;
    let other = format!("{}_other", walled.database.name);
    walled
        .sql(&format!("create role {other}; grant select on items to {other}; grant {other} to {}", walled.reader))
        .await;
    let leave = format!(
        "perform set_config('statement_timeout', '0', false), set_config('search_path', 'secret', false), \
                 set_config('default_transaction_read_only', 'off', false), set_config('own.setting', 'x', false); \
         perform pg_advisory_lock(42); execute 'declare left_open cursor with hold for select 1'; \
         execute 'listen harm'; perform set_config('role', '{other}', false)"
    );
    walled.sql(&mislabelled("leave", &leave)).await;
    // Planning a statement runs it, too.
    let linger = "perform set_config('statement_timeout', '0', false), set_config('own.setting', 'x', false), pg_advisory_lock(42)";
    walled.sql(&mislabelled("linger", linger)).await;
    let look = "select pg_backend_pid() as pid, current_user::text as u, current_setting('statement_timeout') as t, \
                  current_setting('search_path') as s, current_setting('default_transaction_read_only') as r, \
                  coalesce(current_setting('own.setting', true), '') as o, \
                  (select count(*) from pg_cursors)::text as c, (select count(*) from pg_listening_channels())::text as l";
    let queries = [
        ("left", "select leave(id)::text as t from items where id = 1 offset 0"),
        ("look", look),
        ("planned", "select id from items where id = linger(1)"),
    ];
    let queries = prepare(walled.options_with_pid(), &queries).await.expect("nothing can be seen");
    let seen = async || {
        let (rows, _moment) = queries.snapshot(&[query("look", &[])]).await.expect("a look");
        rows[0].columns().iter().map(|column| format!("{:?}", column.cells)).collect::<Vec<_>>()
    };
    // The connection that planned was cleaned.
    let fresh =
        prepare(walled.options_with_pid(), &[("look", look)]).await.expect("a connection that ran nothing else");
    let (rows, _moment) = fresh.snapshot(&[query("look", &[])]).await.expect("a look");
    let clean: Vec<_> = rows[0].columns().iter().map(|column| format!("{:?}", column.cells)).collect();
    let mut before = seen().await;
    assert_eq!(before[1..], clean[1..], "after planning");
    for kind in ["snapshot", "ids"] {
        match kind {
            "snapshot" => drop(queries.snapshot(&[query("left", &[])]).await.expect("it runs")),
            _ => drop(queries.ids(&[query("left", &[])]).await.expect("it runs")),
        }
        let after = seen().await;
        assert_eq!(after[1..], before[1..], "after {kind}");
        before = after;
    }
    let locks = format!(
        "select count(*)::text from pg_locks l join pg_database d on d.oid = l.database and d.datname = '{}' where locktype = 'advisory'",
        walled.database.name
    );
    let until = Instant::now() + Duration::from_secs(5);
    while walled.ask(&locks).await != "0" {
        assert!(Instant::now() < until, "an advisory lock is left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(before[1..], clean[1..]);
}

/// The process that serves a read, which stays open with it.
async fn process(queries: &dyn QuerySet) -> (String, Box<dyn docmill::edges::Snapshot>) {
    let (rows, moment) = queries.snapshot(&[query("pid", &[])]).await.expect("a pid");
    let docmill::model::Cells::Texts(texts) = &rows[0].columns()[0].cells else { panic!("texts") };
    (String::from_utf8(texts.get(0).expect("a pid").to_vec()).expect("digits"), moment)
}

/// A read that this process serves. There may be another one at rest, which another read had.
async fn served_by(queries: &dyn QuerySet, pid: &str) -> Box<dyn docmill::edges::Snapshot> {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let (now, moment) = process(queries).await;
        if now == pid {
            return moment;
        }
        assert!(Instant::now() < until, "process {pid} serves nobody any more");
    }
}

const PID: (&str, &str) = ("pid", "select pg_backend_pid()::text as t");

#[tokio::test]
async fn after_a_value_that_is_refused_and_after_a_row_too_many_the_same_session_goes_on_clean() {
    let walled = Walled::fresh().await;
    let leave = "perform set_config('own.setting', 'x', false), pg_advisory_lock(42)";
    walled.sql(&mislabelled("leave", leave)).await;
    let mut options = PostgresOptions { rows_per_call_max: 10, ..walled.options_with_pid() };
    options.allow_functions.push("pg_catalog.pg_lock_status".to_owned());
    let queries = [
        PID,
        ("left", "select leave(id)::text as t from items where id = 1 offset 0"),
        ("fails", "select 1 / $1::int as n"),
        ("many", "select generate_series(1, 2000000000) as n"),
        ("ten", "select generate_series(1, 10) as n"),
        (
            "look",
            "select coalesce(current_setting('own.setting', true), '') || (select count(*) from pg_locks \
             where locktype = 'advisory' and pid = pg_backend_pid()) as t",
        ),
    ];
    let queries = prepare(options, &queries).await.expect("load");
    for asked in [
        vec![query("left", &[]), query("fails", &["0"])],
        vec![query("left", &[]), query("many", &[])],
        vec![query("ten", &[]), query("ten", &[])],
        vec![query("fails", &["0"]), query("ten", &[]), query("many", &[])],
    ] {
        let (pid, mut moment) = process(&*queries).await;
        moment.run(&asked).await.expect_err("it is refused");
        let ended = moment.run(&[query("ten", &[])]).await.expect_err("the moment has ended");
        says(&ended.chain(), "this moment ended with an earlier failure");
        let mut moment = served_by(&*queries, &pid).await;
        let rows = moment.run(&[query("look", &[])]).await.expect("a look");
        let docmill::model::Cells::Texts(texts) = &rows[0].columns()[0].cells else { panic!("texts") };
        assert_eq!(texts.get(0).expect("a text"), b"0", "after {asked:?}");
    }
    let (pid, moment) = process(&*queries).await;
    drop(moment);
    let rests = format!(
        "select count(*)::text from pg_stat_activity where pid = {pid} and state = 'idle' and query like 'rollback; close all;%'"
    );
    let until = Instant::now() + Duration::from_secs(5);
    while walled.ask(&rests).await != "1" {
        assert!(Instant::now() < until, "process {pid} is not cleaned");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    queries.ids(&[query("fails", &["0"])]).await.err().expect("it divides by zero");
    served_by(&*queries, &pid).await;
}

#[tokio::test]
async fn a_call_that_failed_in_a_way_that_may_stay_closes_its_connection() {
    let walled = Walled::fresh().await;
    let queries = prepare(walled.options_with_pid(), &[PID, ("items", "select id from items")]).await.expect("load");
    let (pid, mut moment) = process(&*queries).await;
    walled.sql(&format!("revoke select on items from public, {}", walled.reader)).await;
    moment.run(&[query("items", &[])]).await.expect_err("it may not");
    let there = format!("select count(*)::text from pg_stat_activity where pid = {pid}");
    let until = Instant::now() + Duration::from_secs(5);
    while walled.ask(&there).await != "0" {
        assert!(Instant::now() < until, "process {pid} is left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_statement_that_ignores_every_limit_of_the_server_is_left_behind() {
    let walled = Walled::fresh().await;
    // As the page for operators says: without it the server would notice only when it has something to send.
    walled.sql(&format!("alter role {} set client_connection_check_interval = '500ms'", walled.reader)).await;
    let deaf = "loop begin perform pg_sleep(0.1); exception when query_canceled then null; end; end loop";
    walled.sql(&mislabelled("deaf", deaf)).await;
    walled.sql(&mislabelled("unlimited", "perform set_config('statement_timeout', '0', true)")).await;
    let options = PostgresOptions {
        statement_timeout: Duration::from_millis(300),
        allow_functions: vec!["pg_sleep".to_owned()],
        ..walled.options()
    };
    let queries = [
        ("deaf", "select deaf(id)::text as t from items"),
        ("unlimited", "select unlimited(id) as t from items"),
        ("sleeps", "select pg_sleep(600)::text as t"),
        ("one", "select 1 as n"),
    ];
    let queries = prepare(options, &queries).await.expect("nothing can be seen");
    for asked in [vec![query("deaf", &[])], vec![query("unlimited", &[]), query("sleeps", &[])]] {
        let begun = Instant::now();
        let failure = queries.snapshot(&asked).await.err().expect("it does not end");
        assert_eq!(failure.class, FailureClass::Transient, "{}", failure.chain());
        says(&failure.chain(), "the server did not answer for");
        // The server's time for each statement, and 5 s more.
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        queries.snapshot(&[query("one", &[])]).await.expect("the next call has another connection");
    }
    let running =
        format!("select count(*)::text from pg_stat_activity where usename = '{}' and state = 'active'", walled.reader);
    let until = Instant::now() + Duration::from_secs(20);
    while walled.ask(&running).await != "0" {
        assert!(Instant::now() < until, "the server goes on with it");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_function_that_hangs_while_it_is_planned_does_not_hang_the_load() {
    let walled = Walled::fresh().await;
    walled.sql(&mislabelled("slow", "perform pg_sleep(600)")).await;
    walled
        .sql(&mislabelled(
            "deaf",
            "loop begin perform pg_sleep(0.1); exception when query_canceled then null; end; end loop",
        ))
        .await;
    walled.sql(&format!("alter role {} set client_connection_check_interval = '500ms'", walled.reader)).await;
    let options = || PostgresOptions { statement_timeout: Duration::from_millis(300), ..walled.options() };
    let failure = prepare(options(), &[("q", "select slow(1) as t")]).await.expect_err("refused");
    says(&failure.chain(), "query q: planning it takes longer than 300ms");
    let begun = Instant::now();
    let failure = prepare(options(), &[("q", "select deaf(1) as t")]).await.expect_err("refused");
    assert_eq!(failure.class, FailureClass::Transient);
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}: {}", begun.elapsed(), failure.chain());
}

#[tokio::test]
async fn rows_without_end_are_stopped_at_the_cap() {
    let walled = Walled::fresh().await;
    let options = PostgresOptions { rows_per_call_max: 1_000, bytes_per_call_max: 1 << 20, ..walled.options() };
    let queries = [
        ("rows", "select generate_series(1, 2000000000) as n"),
        ("bytes", "select repeat('x', 100000) as t from generate_series(1, 1000) n"),
        ("wide", "select repeat('x', $1) as t"),
    ];
    let queries = prepare(options, &queries).await.expect("load");
    for name in ["rows", "bytes", "wide"] {
        let begun = Instant::now();
        let params: &[&str] = if name == "wide" { &["300000000"] } else { &[] };
        let failure = queries.snapshot(&[query(name, params)]).await.err().expect(name);
        assert_eq!(failure.class, FailureClass::Oversize, "{}", failure.chain());
        assert!(begun.elapsed() < Duration::from_secs(30), "{name}: {:?}", begun.elapsed());
    }
    // One row of 300 MB was never in memory here, nor is a constant of that size in a plan.
    let failure = queries.ids(&[query("wide", &["300000000"])]).await.err().expect("ids");
    assert_eq!(failure.class, FailureClass::Oversize, "{}", failure.chain());
    says(&walled.refused("select repeat('x', 50000000) as t").await, "query q: its plan has more bytes");
    queries.snapshot(&[query("wide", &["10"])]).await.expect("the next call has another connection");
}
