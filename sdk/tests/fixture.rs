//! The fixture is what authors test with, so it must refuse what the host refuses, and hand over what the host hands over.

use docmill_builder::{
    Affected, Builder, Decimal, Descriptor, Fixture, Ids, Index, Json, Outcome, Query, Reads, Result, Rows, Table,
    config, log, source,
};
use serde_json::{Value, json};

/// A builder that reads every kind of value, asks for more rows, and misbehaves when its configuration says so.
struct Probe;

#[derive(serde::Serialize)]
struct Document<'a> {
    id: &'a str,
    amount: Option<Decimal>,
    attributes: Option<Json<'a>>,
    weight: f64,
    active: bool,
    extra: usize,
}

impl Builder for Probe {
    fn describe() -> Result<Descriptor> {
        let index = Index::new("things", json!({}))
            .settings(json!({ "number_of_shards": 1 }))
            .routing_until("|")
            .table(Table::root("things", ["id"]).schema("Store"))
            .table(Table::new("parts", ["thing_id", "kind"]).columns(["kind"]))
            .table(Table::everything("rates"))
            .reads(["things"]);
        let descriptor = Descriptor::new().index(index);
        Ok(descriptor
            .query("things", "select 1")
            .query("extra", "select 2")
            .query("hop", "select 3"))
    }

    fn resolve(_index: &str, table: &str, rows: &Rows) -> Result<Affected> {
        let undeclared = config::<Value>()?["misbehave"] == "query";
        match table {
            "things" => Ok(Affected::new().ids(rows.keys("id")?)),
            _ if undeclared => Ok(Affected::new().query(Query::new("unheard-of"))),
            _ => Ok(Affected::new().hop("hop", &rows.keys("thing_id")?)),
        }
    }

    fn assemble(_index: &str, ids: &Ids, reads: Reads) -> Result<Vec<Outcome>> {
        let [things] = reads.into_array()?;
        let extra = source::run(vec![Query::new("extra").array(ids).int(7).bool(true).null()])?;
        log::debug("assembling");
        let mut outcomes = Vec::new();
        for row in things.iter() {
            outcomes.push(Outcome::document(&Document {
                id: row.get("id")?,
                amount: row.get("amount")?,
                attributes: row.get("attributes")?,
                weight: row.get("weight")?,
                active: row.get("active")?,
                extra: extra.iter().map(Rows::len).sum(),
            }));
        }
        match config::<Value>()?["misbehave"].as_str() {
            Some("outcomes") => outcomes.push(Outcome::Absent),
            Some("array") => outcomes = vec![Outcome::document(&[1])],
            _ => {}
        }
        Ok(outcomes)
    }
}

docmill_builder::export!(Probe);

fn thing() -> Value {
    json!([{ "id": "a", "amount": "12345678901234567890.10", "attributes": { "n": [1.50] }, "weight": 2, "active": true }])
}

#[test]
fn a_document_keeps_every_digit_of_numerics_and_json() {
    let fixture = Fixture::<Probe>::new()
        .rows("things", thing())
        .rows("extra", json!([{ "x": 1 }, { "x": 2 }]));
    let text =
        r#"{"id":"a","amount":12345678901234567890.10,"attributes":{"n":[1.5]},"weight":2.0,"active":true,"extra":2}"#;
    assert_eq!(
        fixture.assemble("things", &["a"]),
        Ok(vec![Outcome::Document(text.to_owned())])
    );
}

#[test]
fn nulls_are_none_and_nothing_else_is() {
    let mut rows = Vec::new();
    for row in 0..20 {
        let amount = if row % 3 == 0 { Value::Null } else { json!("1") };
        rows.push(
            json!({ "id": row.to_string(), "amount": amount, "attributes": null, "weight": 0.5, "active": false }),
        );
    }
    let ids: Vec<String> = (0..20).map(|row| row.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let outcomes = Fixture::<Probe>::new()
        .rows("things", Value::Array(rows))
        .assemble("things", &ids)
        .unwrap();
    for (row, outcome) in outcomes.iter().enumerate() {
        let Outcome::Document(text) = outcome else {
            panic!("{outcome:?}")
        };
        let document: Value = serde_json::from_str(text).unwrap();
        assert_eq!(document["amount"].is_null(), row % 3 == 0, "{document}");
    }
}

#[test]
fn a_value_of_another_type_is_an_error_that_names_column_and_row_but_not_the_value() {
    let rows = json!([{ "id": "a", "amount": "secret", "attributes": null, "weight": 1, "active": true }]);
    let error = Fixture::<Probe>::new()
        .rows("things", rows)
        .assemble("things", &["a"])
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        r#"column "amount" of read "things": row 0 is a text, asked for a decimal number"#
    );
}

#[test]
fn resolve_gives_each_key_once_and_hops_with_them() {
    let rows =
        json!([{ "thing_id": 7, "kind": "x" }, { "thing_id": null, "kind": "x" }, { "thing_id": 7, "kind": "y" }]);
    let affected = Fixture::<Probe>::new().resolve("things", "parts", rows).unwrap();
    assert_eq!(affected, Affected::new().query(Query::new("hop").text(r#"["7"]"#)));
}

#[test]
fn a_hop_without_keys_is_not_asked() {
    let rows = json!([{ "thing_id": null, "kind": "x" }]);
    assert_eq!(
        Fixture::<Probe>::new().resolve("things", "parts", rows),
        Ok(Affected::new())
    );
}

#[test]
fn rows_that_the_host_would_not_hand_over_are_refused() {
    let error = Fixture::<Probe>::new()
        .resolve("things", "parts", json!([{ "thing_id": 7 }]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("resolve is shown the declared keys: kind, thing_id"),
        "{error}"
    );
}

#[test]
fn answers_that_the_host_would_refuse_are_refused() {
    let misbehave = |how: &str| {
        Fixture::<Probe>::new()
            .config(json!({ "misbehave": how }))
            .rows("things", thing())
    };
    let error = misbehave("outcomes")
        .assemble("things", &["a"])
        .unwrap_err()
        .to_string();
    assert_eq!(error, "assemble gave 2 outcomes for 1 ids");
    let error = misbehave("array").assemble("things", &["a"]).unwrap_err().to_string();
    assert!(error.starts_with(r#"document "a" is not one JSON object"#), "{error}");
    let rows = json!([{ "thing_id": 1, "kind": "x" }]);
    let error = misbehave("query")
        .resolve("things", "parts", rows)
        .unwrap_err()
        .to_string();
    assert_eq!(error, r#"query "unheard-of" is not declared"#);
    let error = misbehave("")
        .resolve("things", "things", json!([{ "id": "" }]))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("an id is empty"), "{error}");
}

#[test]
fn the_descriptor_crosses_with_what_was_declared_and_no_other_key() {
    let descriptor = Fixture::<Probe>::new().describe().unwrap();
    let expected = json!({
        "contract": "0.1", "rows": "columns",
        "indexes": [{
            "name": "things", "mapping": {}, "settings": { "number_of_shards": 1 }, "routing": { "until": "|" },
            "tables": [
                { "table": "things", "schema": "Store", "keys": ["id"], "root": true },
                { "table": "parts", "keys": ["thing_id", "kind"], "columns": ["kind"] },
                { "table": "rates", "keys": [], "everything": true } ],
            "reads": ["things"] }],
        "queries": { "things": "select 1", "extra": "select 2", "hop": "select 3" },
    });
    assert_eq!(descriptor, expected);
}
