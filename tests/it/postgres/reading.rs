//! How rows are read: the forms of every type, one moment, limits, refusals, chunks and ids.

use docmill::edges::FailureClass;

use super::*;

async fn reader(database: &Database) -> (Arc<Postgres>, Arc<dyn docmill::edges::RowReader>) {
    let postgres = Postgres::new(options(database)).unwrap();
    let reader = postgres.reader();
    (postgres, reader)
}

#[tokio::test]
async fn every_type_arrives_in_its_form() {
    let database = Database::fresh().await;
    database
        .connect()
        .await
        .batch_execute(
            "create type mood as enum ('sad', 'ok'); create type pair as (a int, b text); create domain small as int; \
             create domain list as int[]",
        )
        .await
        .unwrap();
    let (_postgres, reader) = reader(&database).await;
    let expected = [
        ("true", "boolean 1"),
        ("(-1)::int2", "integer -1"),
        ("2147483647", "integer 2147483647"),
        ("9223372036854775807", "integer 9223372036854775807"),
        ("4294967295::oid", "integer 4294967295"),
        ("0.1::float4", "float 0.10000000149011612"),
        ("'NaN'::float8", "float NaN"),
        ("'-Infinity'::float8", "float -inf"),
        ("'\\x00ff'::bytea", "binary [0, 255]"),
        ("'text'::varchar(10)", "text text"),
        ("'ab'::char(4)", "text ab  "),
        ("'name'::name", "text name"),
        ("'unknown'", "text unknown"),
        ("'{\"a\": 1.50}'::json", "json {\"a\": 1.50}"),
        ("'{\"a\": 1.50}'::jsonb", "json {\"a\": 1.50}"),
        ("'2026-02-01 10:30:00.25+01'::timestamptz", "text 2026-02-01T09:30:00.250000Z"),
        ("'infinity'::timestamptz", "text infinity"),
        ("'-infinity'::timestamp", "text -infinity"),
        ("'0044-03-15 12:00:00 BC'::timestamp", "text -0043-03-15T12:00:00.000000"),
        ("'294276-12-31 23:59:59.999999'::timestamp", "text +294276-12-31T23:59:59.999999"),
        ("'2026-02-01'::date", "text 2026-02-01"),
        ("'infinity'::date", "text infinity"),
        ("'4713-01-01 BC'::date", "text -4712-01-01"),
        ("'10:30:00'::time", "text 10:30:00"),
        ("'1 year 2 days 03:04:05'::interval", "text 1 year 2 days 03:04:05"),
        ("123456789012345678901234567890.123456789::numeric", "numeric 123456789012345678901234567890.123456789"),
        ("'NaN'::numeric", "numeric NaN"),
        ("'00010203-0405-0607-0809-0a0b0c0d0e0f'::uuid", "text 00010203-0405-0607-0809-0a0b0c0d0e0f"),
        ("'{1,null}'::int[]", "json [1,null]"),
        ("'{NaN,1.50}'::numeric[]", "json [\"NaN\",1.50]"),
        ("'{{a,b},{c,d}}'::text[]", "json [[\"a\",\"b\"],[\"c\",\"d\"]]"),
        ("'{sad}'::mood[]", "json [\"sad\"]"),
        ("'(1,x)'::pair", "json {\"a\":1,\"b\":\"x\"}"),
        ("row(1, 'x')", "json {\"f1\":1,\"f2\":\"x\"}"),
        ("'ok'::mood", "text ok"),
        ("7::small", "text 7"),
        ("'{1}'::list", "text {1}"),
        ("'[1,5)'::int4range", "text [1,5)"),
        ("'10.0.0.1/8'::inet", "text 10.0.0.1/8"),
        ("'c'::\"char\"", "text c"),
        ("'pg_class'::regclass", "text pg_class"),
        ("null::int", "null"),
        ("null::mood", "null"),
    ];
    let list: Vec<String> = expected.iter().enumerate().map(|(n, (sql, _))| format!("{sql} as v{n}")).collect();
    let text = format!("select {}", list.join(", "));
    let queries = reader.prepare(&declaration(&[("all", &text)])).await.unwrap();
    let (rows, _snapshot) = queries.snapshot(&[query("all", &[])]).await.unwrap();
    for (number, (sql, form)) in expected.iter().enumerate() {
        assert_eq!(cells(&rows[0], &format!("v{number}")), [*form], "{sql}");
    }
}

#[tokio::test]
async fn parameters_of_every_kind_are_read_as_their_types() {
    let database = Database::fresh().await;
    database.connect().await.batch_execute("create type mood as enum ('sad', 'ok')").await.unwrap();
    let (_postgres, reader) = reader(&database).await;
    let queries = reader
        .prepare(&declaration(&[
            ("each", "select $1::int8 as a, $2::bool as b, $3::timestamptz as c, $4::text[] as d, $5::mood[] as e, $6::jsonb[] as f"),
            ("in", "select n from generate_series(1, 9) n where n = any($1) order by n desc -- trailing words\n ; "),
        ]))
        .await
        .unwrap();
    let each = query(
        "each",
        &[
            Some("9223372036854775807"),
            None,
            Some("2026-02-01"),
            Some(r#"["a",null,"NULL","{\"\\"]"#),
            Some(r#"["ok"]"#),
            Some(r#"[{"a":[1]},"x"]"#),
        ],
    );
    let (rows, mut snapshot) = queries.snapshot(&[each, query("in", &[Some("[3,5,4]")])]).await.unwrap();
    assert_eq!(cells(&rows[0], "a"), ["integer 9223372036854775807"]);
    assert_eq!(cells(&rows[0], "b"), ["null"]);
    assert_eq!(cells(&rows[0], "c"), ["text 2026-02-01T00:00:00.000000Z"]);
    assert_eq!(cells(&rows[0], "d"), [r#"json ["a",null,"NULL","{\"\\"]"#]);
    assert_eq!(cells(&rows[0], "e"), [r#"json ["ok"]"#]);
    assert_eq!(cells(&rows[0], "f"), [r#"json [{"a": [1]},"x"]"#]);
    assert_eq!(cells(&rows[1], "n"), ["integer 5", "integer 4", "integer 3"], "the order of the query is kept");

    let failure = snapshot.run(&[query("in", &[Some("[\"secret\"]")])]).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Deterministic);
    assert!(!failure.chain().contains("secret") && failure.chain().contains("22P02"), "{}", failure.chain());
    for (asked, part) in [
        (query("in", &[Some("7")]), "JSON array"),
        (query("in", &[]), "takes 1 parameters and was given 0"),
        (query("drop", &[]), "not declared"),
    ] {
        let failure = queries.snapshot(&[asked]).await.err().unwrap();
        assert_eq!(failure.class, FailureClass::Deterministic);
        assert!(failure.message().contains(part), "{failure}");
    }
}

#[tokio::test]
async fn all_statements_that_are_not_acceptable_are_named_at_once() {
    let database = Database::fresh().await;
    database.connect().await.batch_execute("create table t (id int)").await.unwrap();
    let (_postgres, reader) = reader(&database).await;
    let failure = reader
        .prepare(&declaration(&[
            ("fine", "select id from t"),
            ("typo", "select id\nfrom t\nwhere nme = 1"),
            ("table", "select 1 from nowhere"),
            ("two", "select 1; select 2"),
            ("writes", "insert into t values (1) returning id"),
            ("hidden", "with x as (delete from t returning id) select id from x"),
            ("none", "set statement_timeout = 0"),
            ("twice", "select 1 as a, 2 as a"),
            ("breaks_out", "select 1) as q(c1), (select 2"),
            ("show", "show all"),
        ]))
        .await
        .unwrap_err();
    assert_eq!(failure.class, FailureClass::Fatal);
    let text = failure.message();
    assert!(!text.contains("query fine"), "{text}");
    for part in [
        "query typo: column \"nme\" does not exist (SQLSTATE 42703), line 3: where nme = 1",
        "query table: relation \"nowhere\" does not exist (SQLSTATE 42P01)",
        "query two: ",
        "query writes: ",
        "query hidden: ",
        "query none: ",
        "query twice: it yields two columns named a",
        "query breaks_out: ",
        "query show: ",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[tokio::test]
async fn a_snapshot_shows_one_moment_until_it_is_dropped() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table t (id int primary key); insert into t values (1)").await.unwrap();
    let (_postgres, reader) = reader(&database).await;
    let queries = reader.prepare(&declaration(&[("ids", "select id from t order by id")])).await.unwrap();
    let asked = [query("ids", &[])];
    let (rows, mut snapshot) = queries.snapshot(&asked).await.unwrap();
    assert_eq!(cells(&rows[0], "id"), ["integer 1"]);
    client.batch_execute("insert into t values (2)").await.unwrap();
    let rows = snapshot.run(&[asked[0].clone(), asked[0].clone()]).await.unwrap();
    assert_eq!((rows.len(), cells(&rows[1], "id")), (2, vec!["integer 1".to_owned()]));
    drop(snapshot);
    // Over and over on the same few connections: dropping gives them back.
    for _ in 0..20 {
        let (rows, _snapshot) = queries.snapshot(&asked).await.unwrap();
        assert_eq!(rows[0].count(), 2);
    }
    let open: i64 = client
        .query_one(
            "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'docmill'",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert!(open <= 4, "{open} connections");
}

#[tokio::test]
async fn answers_past_the_limits_are_oversize_and_the_connection_is_replaced() {
    let database = Database::fresh().await;
    let mut options = options(&database);
    options.rows_per_call_max = 1_000;
    options.bytes_per_call_max = 100_000;
    options.statement_timeout = Duration::from_millis(500);
    options.allow_functions = vec!["pg_sleep".to_owned()];
    let postgres = Postgres::new(options).unwrap();
    let queries = postgres
        .reader()
        .prepare(&declaration(&[
            ("rows", "select n from generate_series(1, $1) n"),
            ("bytes", "select repeat('x', $1) as t"),
            ("slow", "select pg_sleep($1)::text as t"),
            ("divide", "select 1 / $1::int as n"),
        ]))
        .await
        .unwrap();
    for (name, small, large) in [("rows", "10", "10000000"), ("bytes", "10", "200000"), ("slow", "0", "60")] {
        let failure = queries.snapshot(&[query(name, &[Some(large)])]).await.err().expect(name);
        assert_eq!(failure.class, FailureClass::Oversize, "{failure}");
        queries.snapshot(&[query(name, &[Some(small)])]).await.unwrap();
    }
    // The limit is one of the call, not of the query.
    let asked: Vec<_> = (0..3).map(|_| query("rows", &[Some("400")])).collect();
    assert_eq!(queries.snapshot(&asked).await.err().unwrap().class, FailureClass::Oversize);
    let failure = queries
        .snapshot(&[query("rows", &[Some("1")]), query("divide", &[Some("0")]), query("rows", &[Some("1")])])
        .await
        .err()
        .unwrap();
    assert_eq!(failure.class, FailureClass::Deterministic);
    assert!(failure.message().contains("query divide"), "{failure}");
}

#[tokio::test]
async fn a_table_that_changes_under_a_statement_makes_it_planned_again() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table t (id int, name text); insert into t values (1, 'a')").await.unwrap();
    let (_postgres, reader) = reader(&database).await;
    let queries = reader.prepare(&declaration(&[("all", "select * from t")])).await.unwrap();
    let asked = [query("all", &[])];
    queries.snapshot(&asked).await.unwrap();
    for (change, column, expected) in [
        ("alter table t alter id type text", "id", "text 1"),
        // What was not there at load is not read before the statement must be planned again.
        ("alter table t add extra int default 5", "name", "text a"),
        ("alter table t drop name", "extra", "integer 5"),
    ] {
        client.batch_execute(change).await.unwrap();
        let rows = loop {
            match queries.snapshot(&asked).await {
                Ok((rows, _)) => break rows,
                Err(failure) => assert_eq!(failure.class, FailureClass::Transient, "{failure}"),
            }
        };
        assert_eq!(cells(&rows[0], column), [expected], "{change}");
    }
    client.batch_execute("drop table t").await.unwrap();
    let failure = queries.snapshot(&asked).await.err().unwrap();
    assert_eq!(failure.class, FailureClass::Fatal, "{failure}");
}

#[tokio::test]
async fn a_column_that_is_retyped_under_a_query_of_ids_makes_it_planned_again() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table t (id text, n int); insert into t values ('a', 1)").await.unwrap();
    let (_postgres, reader) = reader(&database).await;
    let queries = reader.prepare(&declaration(&[("by-n", "select id from t where n = $1")])).await.unwrap();
    let ids = async |n: &str| {
        for _ in 0..5 {
            match queries.ids(&[query("by-n", &[Some(n)])]).await {
                Ok(mut cursor) => return cursor.next(10).await.unwrap(),
                Err(failure) => assert_eq!(failure.class, FailureClass::Transient, "{failure}"),
            }
        }
        panic!("it stays as it was planned first");
    };
    assert_eq!(ids("1").await, ["a"]);
    client.batch_execute("alter table t alter n type bigint; insert into t values ('b', 3000000000)").await.unwrap();
    assert_eq!(ids("3000000000").await, ["b"]);
}

#[tokio::test]
async fn a_lost_connection_is_transient_and_the_next_read_works() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    let (_postgres, reader) = reader(&database).await;
    let queries = reader.prepare(&declaration(&[("one", "select 1 as n")])).await.unwrap();
    let (_, mut snapshot) = queries.snapshot(&[query("one", &[])]).await.unwrap();
    client
        .batch_execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'docmill' and datname = current_database()")
        .await
        .unwrap();
    let failure = snapshot.run(&[query("one", &[])]).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Transient, "{failure}");
    drop(snapshot);
    queries.snapshot(&[query("one", &[])]).await.unwrap();
}

#[tokio::test]
async fn reads_cannot_write() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "create table t (id int); create function sneak() returns int language plpgsql as \
             $$ begin insert into t values (1); return 1; end $$",
        )
        .await
        .unwrap();
    let mut options = options(&database);
    options.allow_functions = vec!["public.sneak".to_owned()];
    let postgres = Postgres::new(options).unwrap();
    let queries = postgres.reader().prepare(&declaration(&[("sneak", "select sneak()::text as id")])).await.unwrap();
    assert!(queries.snapshot(&[query("sneak", &[])]).await.is_err());
    assert!(queries.ids(&[query("sneak", &[])]).await.is_err());
    let count: i64 = client.query_one("select count(*) from t", &[]).await.unwrap().get(0);
    assert_eq!(count, 0);
}

#[tokio::test]
async fn ids_come_at_once_where_few_and_in_pieces_where_many() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    let mut options = options(&database);
    options.ids_at_once_max = 100;
    let postgres = Postgres::new(options).unwrap();
    let queries = postgres
        .reader()
        .prepare(&declaration(&[
            ("upto", "select nullif(n, 2) from generate_series(1, $1) n"),
            ("pair", "select 1 as a, 2 as b"),
        ]))
        .await
        .unwrap();
    let mut cursor = queries.ids(&[query("upto", &[Some("3")]), query("upto", &[Some("1")])]).await.unwrap();
    assert_eq!(cursor.next(2).await.unwrap(), ["1", "3"]);
    assert_eq!(cursor.next(2).await.unwrap(), ["1"]);
    assert_eq!(cursor.next(2).await.unwrap(), [""; 0]);

    let mut cursor = queries.ids(&[query("upto", &[Some("100000")])]).await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let mut pieces = 0;
    loop {
        let piece = cursor.next(1_000).await.unwrap();
        if piece.is_empty() {
            break;
        }
        assert!(piece.len() <= 1_000);
        pieces += 1;
        if pieces == 5 {
            let old: Option<i64> = client
                .query_one("select max(age(backend_xmin))::int8 from pg_stat_activity where application_name = 'docmill' and datname = current_database()", &[])
                .await
                .unwrap()
                .get(0);
            assert_eq!(old, None, "an open cursor holds back no vacuum");
        }
        seen.extend(piece);
    }
    assert_eq!(seen.len(), 99_999);
    let failure = queries.ids(&[query("pair", &[])]).await.err().unwrap();
    assert_eq!(failure.class, FailureClass::Deterministic);
}

#[tokio::test]
async fn chunks_walk_a_table_in_the_order_of_its_key() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "create domain code as text; \
             create table \"T x\" (n int, \"K\" code, at timestamptz, tags text[], primary key (\"K\", at)); \
             insert into \"T x\" select n, 'k' || n % 3, timestamptz '2026-01-01' + n * interval '1 microsecond', '{a}' \
               from generate_series(1, 10) n; \
             create table p (id int, r int, primary key (id, r)) partition by list (r); \
             create table p1 partition of p for values in (1); create table p2 partition of p default; \
             insert into p select n, n % 3 from generate_series(1, 7) n; \
             create table nokey (id int)",
        )
        .await
        .unwrap();
    let (_postgres, reader) = reader(&database).await;
    for (table, keys, column, size, expected) in [
        ("T x", vec!["n", "K", "tags"], "n", 3, vec![3, 6, 9, 1, 4, 7, 10, 2, 5, 8]),
        ("p", vec!["id"], "id", 4, vec![1, 2, 3, 4, 5, 6, 7]),
    ] {
        let table = TableName::new("public", table);
        let keys: Vec<String> = keys.into_iter().map(String::from).collect();
        let (mut after, mut seen) = (None::<Vec<String>>, Vec::new());
        loop {
            let chunk = reader.chunk(&table, &keys, after.as_deref(), size).await.unwrap();
            assert!(chunk.rows.count() as usize <= size);
            seen.extend(cells(&chunk.rows, column));
            if chunk.done {
                break;
            }
            after = chunk.last;
        }
        assert_eq!(seen, expected.iter().map(|n| format!("integer {n}")).collect::<Vec<_>>(), "{table}");
    }
    let table = TableName::new("public", "T x");
    let first = reader.chunk(&table, &["K".to_owned(), "tags".to_owned(), "at".to_owned()], None, 1).await.unwrap();
    assert_eq!(cells(&first.rows, "K"), ["text k0"]);
    assert_eq!(cells(&first.rows, "tags"), ["json [\"a\"]"]);
    assert_eq!(cells(&first.rows, "at"), ["text 2026-01-01T00:00:00.000003Z"]);
    let failure = reader.chunk(&TableName::new("public", "nokey"), &[], None, 1).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Fatal);
    assert!(failure.message().contains("no primary key"), "{failure}");
}

#[tokio::test]
async fn a_table_is_estimated_before_and_after_it_was_analyzed() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "create table p (id int) partition by list (id); create table p1 partition of p for values in (1); \
             create table p2 partition of p default; insert into p select n from generate_series(1, 500) n",
        )
        .await
        .unwrap();
    let (_postgres, reader) = reader(&database).await;
    let table = TableName::new("public", "p");
    assert_eq!(reader.estimate(&table).await.unwrap(), Some(500));
    client.batch_execute("analyze p").await.unwrap();
    assert_eq!(reader.estimate(&table).await.unwrap(), Some(500));
    assert_eq!(reader.estimate(&TableName::new("public", "missing")).await.unwrap(), None);
    assert!(reader.flush_position().await.unwrap() > docmill::model::Position::ZERO);
}

#[tokio::test]
async fn no_read_begins_while_capture_is_lost() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table t (id int primary key)").await.unwrap();
    let mut options = options(&database);
    options.read_wait_max = Duration::from_millis(300);
    let tables = [captured("t", &["id"], Columns::Any)];
    let (postgres, stream) = open(options, &tables).await.unwrap();
    let queries = postgres.reader().prepare(&declaration(&[("one", "select 1 as n")])).await.unwrap();
    let asked = [query("one", &[])];
    queries.snapshot(&asked).await.unwrap();
    stream.close().await;
    let failure = queries.snapshot(&asked).await.err().unwrap();
    assert_eq!(failure.class, FailureClass::Transient);
    assert!(failure.message().contains("capture has been lost"), "{failure}");
    let _stream = postgres.open(&OpenRequest::of(&tables)).await.unwrap();
    queries.snapshot(&asked).await.unwrap();
}

#[tokio::test]
async fn reads_work_from_a_runtime_that_comes_and_goes() {
    let database = Database::fresh().await;
    let (_postgres, reader) = reader(&database).await;
    for _ in 0..3 {
        let reader = Arc::clone(&reader);
        // As guests have one of their own.
        let count = crate::support::postgres::blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let queries = reader.prepare(&declaration(&[("one", "select 1 as n")])).await.unwrap();
                let (rows, _snapshot) = queries.snapshot(&[query("one", &[])]).await.unwrap();
                rows[0].count()
            })
        })
        .await;
        assert_eq!(count, 1);
    }
}
