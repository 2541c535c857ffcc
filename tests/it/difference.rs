//! Differences between documents are seen, named and counted: every end-to-end test ends in them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::difference::{compare, differences};

fn one(document: Value) -> BTreeMap<String, Value> {
    BTreeMap::from([("1".to_owned(), document)])
}

#[test]
fn numbers_are_compared_as_numbers_and_fields_in_any_order() {
    let expected = one(serde_json::from_str(r#"{"a": 1.50, "b": 2, "c": [1, {"d": null}]}"#).expect("JSON"));
    let found = one(serde_json::from_str(r#"{"c": [1.0, {"d": null}], "b": 2.0, "a": 1.5}"#).expect("JSON"));
    assert_eq!(compare("i", &expected, &found), Ok(()));
}

#[test]
fn every_kind_of_difference_is_seen_and_named_by_its_path() {
    let cases = [
        (json!({"a": 1}), json!({"a": 2}), "i/1.a: expected 1, found 2"),
        (json!({"a": 9007199254740993_u64}), json!({"a": 9007199254740992_u64}), "i/1.a: expected"),
        (json!({"a": 1}), json!({"a": "1"}), "i/1.a: expected 1, found \"1\""),
        (json!({"a": null}), json!({}), "i/1.a: expected null, found nothing"),
        (json!({}), json!({"a": null}), "i/1.a: expected nothing, found null"),
        (json!({"a": [1, 2]}), json!({"a": [2, 1]}), "i/1.a[0]: expected 1, found 2"),
        (json!({"a": [1]}), json!({"a": [1, 2]}), "i/1.a[1]: expected nothing, found 2"),
        (json!({"a": {"b": [{"c": 1}]}}), json!({"a": {"b": [{"c": 0}]}}), "i/1.a.b[0].c: expected 1, found 0"),
    ];
    for (expected, found, line) in cases {
        let said = compare("i", &one(expected), &one(found)).expect_err(line).to_string();
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn all_are_counted_when_not_all_are_shown() {
    let expected = (0..40).map(|id| (format!("e{id}"), json!({}))).collect();
    let found = (0..3).map(|id| (format!("f{id}"), json!({}))).collect();
    let all = differences("i", &expected, &found);
    assert_eq!((all.missing, all.extra, all.wrong, all.total()), (40, 3, 0, 43));
    assert!(all.to_string().starts_with("43 documents differ: 40 missing, 3 extra, 0 wrong\n"));
}
