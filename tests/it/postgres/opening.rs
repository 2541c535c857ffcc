//! What opening makes, and what it refuses with which remedy.

use docmill::edges::FailureClass;

use super::*;

/// Opens and expects a refusal; its class and everything it says.
async fn refused(options: PostgresOptions, tables: &[CapturedTable]) -> (FailureClass, String) {
    match open(options, tables).await {
        Ok(_) => panic!("it was opened"),
        Err(failure) => (failure.class, failure.chain()),
    }
}

async fn names(client: &tokio_postgres::Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_publication_is_made_and_extended_and_never_cut() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table t (id int primary key); create table u (id int primary key)").await.unwrap();
    let (t, u) = (captured("t", &["id"], Columns::Any), captured("u", &["id"], Columns::Any));
    let members = "select tablename::text from pg_publication_tables where pubname = 'docmill' order by 1";
    let (postgres, stream) = open(options(&database), std::slice::from_ref(&t)).await.unwrap();
    assert_eq!(names(&client, members).await, ["t"]);
    stream.close().await;
    let stream = postgres.open(&OpenRequest::of(std::slice::from_ref(&u))).await.unwrap();
    assert_eq!(names(&client, members).await, ["t", "u"]);
    stream.close().await;
}

#[tokio::test]
async fn a_slot_in_use_is_transient_and_names_the_process() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table t (id int primary key)").await.unwrap();
    let tables = [captured("t", &["id"], Columns::Any)];
    let (_postgres, _stream) = open(options(&database), &tables).await.unwrap();
    let pid = names(&client, "select active_pid::text from pg_replication_slots where active_pid is not null and database = current_database()").await;
    let (class, text) = refused(options(&database), &tables).await;
    assert_eq!(class, FailureClass::Transient);
    assert!(text.contains(&format!("in use by process {}", pid[0])), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_openings_at_once_on_an_empty_database_one_makes_everything_and_the_other_waits() {
    // One looks at every moment between the other's publication and its stream.
    for delay in (0..60).step_by(4) {
        let database = Database::fresh().await;
        database.connect().await.batch_execute("create table t (id int primary key)").await.unwrap();
        let opening = |delay: u64| {
            let options = options(&database);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                open(options, &[captured("t", &["id"], Columns::Any)]).await
            })
        };
        let (one, other) = tokio::join!(opening(0), opening(delay));
        let (opened, failed): (Vec<_>, Vec<_>) = [one.unwrap(), other.unwrap()].into_iter().partition(Result::is_ok);
        let failed: Vec<String> = failed.into_iter().filter_map(Result::err).map(|failure| failure.chain()).collect();
        assert_eq!(opened.len(), 1, "after {delay} ms: {failed:?}");
    }
}

#[tokio::test]
async fn an_identity_without_a_declared_key_is_refused_with_remedies_that_work() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "create table t (id int primary key, \"User\" int not null, other int); create table bare (id int, k int); \
             create table p (id int, r int, primary key (id, r)) partition by list (r); \
             create table p1 partition of p for values in (1); create table p2 partition of p default; \
             alter table p replica identity full; alter table p1 replica identity full",
        )
        .await
        .unwrap();
    let tables = [
        captured("t", &["id", "User"], Columns::Any),
        captured("bare", &["k"], Columns::Any),
        captured("p", &["id"], Columns::Any),
    ];
    let (class, text) = refused(options(&database), &tables).await;
    assert_eq!(class, FailureClass::Fatal);
    for part in [
        "table public.t: its replica identity (id) lacks the declared key User",
        "table public.bare: it has no replica identity: publishing it would make its updates and deletes fail",
        "partition public.p2 of table public.p: its replica identity is not full while its root's is",
        "alter table \"public\".\"p2\" replica identity full;",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(names(&client, "select pubname::text from pg_publication").await, [""; 0], "nothing was published");
    for statement in [
        "create unique index concurrently \"t_docmill\" on \"public\".\"t\" (\"id\", \"User\")",
        "alter table \"public\".\"t\" replica identity using index \"t_docmill\"",
        "alter table \"public\".\"bare\" replica identity full",
        "alter table \"public\".\"p2\" replica identity full",
    ] {
        assert!(text.contains(statement), "{statement} is not in {text}");
        client.batch_execute(statement).await.unwrap();
    }
    let (_postgres, mut stream) = open(options(&database), &tables).await.unwrap();
    client.batch_execute("insert into t values (1, 2, 3); update t set \"User\" = 4; delete from t").await.unwrap();
    assert_eq!(
        trace(&mut *stream, 1).await,
        ["insert t id=1 User=2", "update t key id=1 User=2 -> id=1 User=4", "delete t key id=1 User=4", "end"]
    );
}

#[tokio::test]
async fn what_has_no_changes_in_the_log_is_refused() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "create view v as select 1 as id; create unlogged table u (id int primary key); \
             create table g (id int primary key, twice int generated always as (id * 2) stored)",
        )
        .await
        .unwrap();
    let tables = [
        captured("v", &["id"], Columns::Any),
        captured("u", &["id"], Columns::Any),
        captured("missing", &["id"], Columns::Any),
        captured("g", &["id"], Columns::Listed(vec!["twice".to_owned(), "nothing".to_owned()])),
    ];
    let (class, text) = refused(options(&database), &tables).await;
    assert_eq!(class, FailureClass::Fatal);
    for part in [
        "public.v: it is a view",
        "public.u: it is unlogged",
        "public.missing: there is no such table",
        "public.g: column twice is generated",
        "public.g: it has no column nothing",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[tokio::test]
async fn publications_that_leave_something_out_are_refused() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "create table t (id int primary key, n int); create publication fewer for table t with (publish = 'insert'); \
             create table p (id int primary key) partition by hash (id); create publication leaves for table p",
        )
        .await
        .unwrap();
    // 14 has neither.
    let narrow = "create publication filtered for table t where (id > 5); create publication cols for table t (id)";
    let narrowed = names(&client, "show server_version_num").await[0].parse::<u32>().unwrap() >= 150_000;
    if narrowed {
        client.batch_execute(narrow).await.unwrap();
    }
    let t = captured("t", &["id"], Columns::Any);
    for (publication, table, part) in [
        ("filtered", &t, "row filter"),
        ("cols", &t, "column list"),
        ("fewer", &t, "fewer operations"),
        ("leaves", &captured("p", &["id"], Columns::Any), "publish_via_partition_root = true"),
    ] {
        if !narrowed && table.table == t.table && publication != "fewer" {
            continue;
        }
        let mut options = options(&database);
        options.publication = publication.to_owned();
        let (class, text) = refused(options, std::slice::from_ref(table)).await;
        assert_eq!(class, FailureClass::Fatal);
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_slot_that_is_not_ours_is_refused() {
    let database = Database::fresh().await;
    let other = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table t (id int primary key)").await.unwrap();
    let tables = [captured("t", &["id"], Columns::Any)];
    let slot = format!("slot_{}", database.name);
    for (make, part) in [
        ("select pg_create_physical_replication_slot($1)", "a physical slot"),
        ("select pg_create_logical_replication_slot($1, 'pgoutput')", "belongs to database"),
    ] {
        let maker = other.connect().await;
        maker.execute(make, &[&slot]).await.unwrap();
        let (class, text) = refused(options(&database), &tables).await;
        assert_eq!(class, FailureClass::Fatal);
        assert!(text.contains(part), "{text}");
        maker.execute("select pg_drop_replication_slot($1)", &[&slot]).await.unwrap();
    }
    let mut options = options(&database);
    options.slot = "Not A Slot".to_owned();
    assert_eq!(refused(options, &tables).await.0, FailureClass::Fatal);
}

#[tokio::test]
async fn a_role_that_may_not_is_told_the_statement_to_run() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    let name = &database.name;
    client
        .batch_execute(&format!(
            "create table t (id int primary key, secret int); create role {name}_capture login replication password 'x'; \
             create role {name}_reader login password 'x'; grant select (id) on t to {name}_reader"
        ))
        .await
        .unwrap();
    let as_role = |role: &str| {
        let (_, rest) = database.url.split_once('@').unwrap();
        format!("postgres://{name}_{role}:x@{rest}")
    };
    let mut options = options(&database);
    options.url = as_role("capture");
    options.reader_url = Some(as_role("reader"));
    // Column by column: what is not declared need not be granted.
    let (class, text) = refused(options.clone(), &[captured("t", &["id"], Columns::Any)]).await;
    assert_eq!(class, FailureClass::Fatal);
    assert!(text.contains(&format!("role {name}_reader, which reads rows, may not select secret")), "{text}");
    let tables = [captured("t", &["id"], Columns::Listed(vec![]))];
    let (class, text) = refused(options.clone(), &tables).await;
    assert_eq!(class, FailureClass::Transient, "somebody else may run it meanwhile: {text}");
    let statement = "create publication \"docmill\" for table \"public\".\"t\" with (publish = 'insert, update, delete, \
                     truncate', publish_via_partition_root = true);";
    assert!(text.contains(statement), "{text}");
    client.batch_execute(statement).await.unwrap();
    let (_postgres, mut stream) = open(options, &tables).await.unwrap();
    client.batch_execute("insert into t values (1, 2)").await.unwrap();
    assert_eq!(trace(&mut *stream, 1).await, ["insert t id=1", "end"]);
}

#[tokio::test]
async fn row_security_that_hides_rows_from_the_reader_is_refused() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    let name = &database.name;
    client
        .batch_execute(&format!(
            "create table t (id int primary key); create role {name}_reader login password 'x'; \
             grant select on t to {name}_reader; alter table t enable row level security"
        ))
        .await
        .unwrap();
    let (_, rest) = database.url.split_once('@').unwrap();
    let mut options = options(&database);
    options.reader_url = Some(format!("postgres://{name}_reader:x@{rest}"));
    let (class, text) = refused(options, &[captured("t", &["id"], Columns::Any)]).await;
    assert_eq!(class, FailureClass::Fatal);
    assert!(text.contains("row security"), "{text}");
}

#[tokio::test]
async fn a_lock_held_by_the_application_is_given_up_on() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table t (id int primary key)").await.unwrap();
    let holder = database.connect().await;
    holder.batch_execute("begin; lock table t in access exclusive mode").await.unwrap();
    let mut options = options(&database);
    options.lock_timeout = Duration::from_millis(300);
    let (class, text) = refused(options.clone(), &[captured("t", &["id"], Columns::Any)]).await;
    assert_eq!(class, FailureClass::Transient);
    assert!(text.contains("55P03"), "{text}");
    holder.batch_execute("rollback").await.unwrap();
    open(options, &[captured("t", &["id"], Columns::Any)]).await.unwrap();
}

#[tokio::test]
async fn a_server_without_logical_decoding_says_what_to_set() {
    let server = crate::support::postgres::private(&[("wal_level", "replica")]).await;
    let database = Database { name: "postgres".to_owned(), url: server.url() };
    let (class, text) = refused(options(&database), &[]).await;
    assert_eq!(class, FailureClass::Fatal);
    assert!(text.contains("alter system set wal_level = 'logical'"), "{text}");
}
