//! What it declares: an index over one table, with queries that are declared well and answer far too much.

use docmill_builder::{Descriptor, Index, Query, Result, Table, source};
use serde_json::json;

use crate::deeds::{allocate, spin};
use crate::misdeed::Misdeed;

pub fn describe(misdeed: Misdeed) -> Result<Descriptor> {
    match misdeed {
        Misdeed::EndlessLoopInDescribe => spin(),
        Misdeed::PanicInDescribe => panic!("as asked"),
        Misdeed::AllocateInDescribe => allocate(),
        Misdeed::ReadInDescribe => drop(source::run(vec![Query::new("evil").text("[]")])?),
        _ => {}
    }
    // Where the mapping leaves fields open, a search engine makes one of each that it sees.
    let properties = json!({
        "id": { "type": "keyword" }, "name": { "type": "keyword" }, "bulk": { "type": "keyword", "index": false, "doc_values": false },
    });
    let mut index = Index::new("evil", json!({ "dynamic": true, "properties": properties }))
        .settings(json!({ "number_of_replicas": 0 }))
        .table(Table::root("evil", ["id"]))
        .routing_until("|")
        .reads(["evil"]);
    if misdeed == Misdeed::DescribeManyTables {
        for table in 0..100_000 {
            index = index.table(Table::new(format!("table_{table}"), ["id"]));
        }
    }
    Ok(Descriptor::new()
        .index(index)
        .query("evil", "select id, name from evil where id = any($1)")
        .query("by-number", "select id from evil where length(id) = $1::integer")
        .query("ten million", "select generate_series(1, 10000000)::text as id"))
}
