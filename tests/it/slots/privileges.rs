//! A reader that loses a privilege while the stream is open ends the stream: rows would leak into the index.

use docmill::edges::{CapturedTable, ChangeCapture, FailureClass, OpenRequest};
use docmill::model::{Columns, TableName};
use docmill::postgres::{Postgres, PostgresOptions};

use super::*;

#[tokio::test]
async fn a_privilege_revoked_while_running_ends_the_stream_with_the_grant_to_run() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    let reader = format!("{}_reader", database.name);
    client
        .batch_execute(&format!(
            "create table t (id int primary key, secret text); create role {reader} login password 'x'; \
             grant select on t to {reader}"
        ))
        .await
        .unwrap();
    let (_, rest) = database.url.split_once('@').unwrap();
    let options = PostgresOptions {
        url: database.url.clone(),
        reader_url: Some(format!("postgres://{reader}:x@{rest}")),
        slot: format!("slot_{}", database.name),
        privileges_every: Duration::from_millis(100),
        ..PostgresOptions::default()
    };
    let tables =
        [CapturedTable { table: TableName::new("public", "t"), keys: vec!["id".to_owned()], columns: Columns::Any }];
    let postgres = Postgres::new(options).expect("options");
    let mut stream = postgres.open(&OpenRequest::of(&tables)).await.expect("a stream");
    let follow = async {
        loop {
            if let Err(failure) = stream.next().await {
                return failure;
            }
        }
    };
    client
        .batch_execute(&format!("revoke select on t from {reader}; grant select (id) on t to {reader}"))
        .await
        .unwrap();
    // Changes go on coming meanwhile, which must not put it off.
    let busy = async {
        for id in 0.. {
            client.execute("insert into t values ($1, 'x')", &[&id]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let failure = tokio::select! {
        failure = follow => failure,
        () = busy => unreachable!("it goes on"),
        () = tokio::time::sleep(PATIENCE) => panic!("the stream goes on"),
    };
    assert_eq!(failure.class, FailureClass::Fatal);
    let said = failure.chain();
    assert!(said.contains("may not select secret") && said.contains("grant select on \"public\".\"t\" to"), "{said}");
}
