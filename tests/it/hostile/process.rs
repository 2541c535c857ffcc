//! The command itself with three pipelines: a good one, one that floods the log, and one whose `describe` fails.

use std::time::{Duration, Instant};

use serde_json::json;

use super::lines::documents;
use super::stage::until;
use crate::support::command::Shop;
use crate::support::guest;
use crate::support::opensearch::OpenSearch;
use crate::support::postgres::Database;

/// How long the flood goes on.
const FOR: Duration = Duration::from_secs(3);
/// What a builder may log in a second, and as much again for what the host says.
const LOG_BYTES_PER_SECOND: usize = 2 * (64 << 10);

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_lines_is_bounded_escaped_and_attributed_and_a_failed_describe_stops_nobody() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    let tables = "create schema good; create table good.tags (id int primary key, name text not null); \
        insert into good.tags values (1, 'one'); \
        create schema bad; create table bad.evil (id text primary key, name text not null); \
        insert into bad.evil values ('evil-1', 'one'), ('good-1', 'one')";
    client.batch_execute(tables).await.expect("tables");
    let (minimal, evil) = (guest::built("minimal").await, guest::built("evil").await);
    let bad = |name: &str, misdeed: &str| {
        format!(
            "\n[pipelines.{name}]\nbuilder = \"{}\"\nschema = \"bad\"\nslot = \"own\"\nsink = \"{name}\"\n\
             config = {{ misdeed = \"{misdeed}\" }}\n\n[sinks.{name}]\ntype = \"ndjson\"\npath = \"{name}.ndjson\"\n",
            evil.display()
        )
    };
    let (flood, never) = (bad("flood", "flood of log lines"), bad("never", "panic in describe"));
    let nowhere = OpenSearch::at("http://127.0.0.1:1");
    let good = Shop::new(&database, &nowhere, &format!("schema = \"good\"\nsink = \"search\"\n{flood}{never}"));
    good.configure("type = \"opensearch\"\nurl = \"http://127.0.0.1:1\"", "type = \"ndjson\"\npath = \"good.ndjson\"");
    good.configure("shop.wasm", minimal.to_str().expect("a path"));
    good.configure(&format!("index_prefix = \"{}\"\n", nowhere.prefix), "");
    let begin = Instant::now();
    let docmill = good.run();
    let file = |name: &str| good.path().join(format!("{name}.ndjson"));
    until("all documents are there", async || {
        documents(&file("good")).len() == 1 && documents(&file("flood")).len() == 2
    })
    .await;
    let mut number = 1;
    while begin.elapsed() < FOR {
        number += 1;
        let change = format!("insert into good.tags values ({number}, 'more'); update bad.evil set name = '{number}'");
        client.batch_execute(&change).await.expect("changes");
        until("both have the change", async || {
            let flooded = documents(&file("flood"));
            documents(&file("good")).contains_key(&number.to_string())
                && ["evil-1", "good-1"].iter().all(|id| flooded[*id]["name"] == json!(number.to_string()))
        })
        .await;
    }
    let seconds = begin.elapsed().as_secs() as usize + 1;
    assert!(docmill.is_running());
    let log = docmill.log();
    assert!(log.len() <= seconds * LOG_BYTES_PER_SECOND, "{} bytes in {seconds} s", log.len());
    assert!(!log.contains(|sign: char| sign.is_control() && sign != '\n'), "{log}");
    let told: Vec<&str> = log.lines().filter(|line| line.contains("all is lost")).collect();
    assert!(told.len() > 10, "{log}");
    for line in told {
        assert!(line.contains("\\u{1b}[2J") && line.contains("flood"), "{line}");
        assert!(!line.starts_with("2026-01-01"), "a forged line: {line}");
    }
    assert!(log.contains("limit log_bytes met: further lines of this call are dropped"), "{log}");
    assert!(log.contains("builder of pipeline never, describe: it trapped"), "{log}");
    docmill.terminate();
}
