//! What comes back from a guest is checked before anyone else sees it.

use docmill::edges::{Failure, FailureClass};
use docmill::model::Outcome;
use docmill::wasm::Limits;

use super::handmade::{Handmade, assemble, harmless, resolve, short};

async fn assembled(guest: &Handmade) -> Result<Vec<Outcome>, Failure> {
    assemble(&guest.loaded().await, 2).await
}

/// Answers this text as every document.
fn documents(text: &str) -> Handmade {
    let data: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let mut guest = harmless();
    guest.fields = Box::leak(format!("(data (i32.const 0x1000) \"{data}\")").into_boxed_str());
    let assemble =
        format!("(call $outcomes (local.get $count) (i32.const 0) (i32.const 0x1000) (i32.const {}))", text.len());
    guest.assemble = Box::leak(assemble.into_boxed_str());
    guest
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_and_too_few_outcomes_blame_the_call() {
    for (count, found) in [("(i32.const 3)", "3 outcomes for 2 ids"), ("(i32.const 0)", "0 outcomes for 2 ids")] {
        let mut guest = harmless();
        let body = format!("(call $outcomes {count} (i32.const 1) (i32.const 0) (i32.const 0))");
        guest.assemble = Box::leak(body.into_boxed_str());
        let failure = assembled(&guest).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Deterministic);
        assert!(failure.message().contains(found), "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_arrives_as_it_was_made() {
    let text = r#"{"name":"Zoë \n 𝄞","n":12345678901234567890.123}"#;
    let outcomes = assembled(&documents(text)).await.unwrap();
    assert_eq!(outcomes, [Outcome::Document(text.into()), Outcome::Document(text.into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_document_is_refused_for_itself_alone() {
    for bad in ["", "null", "[{}]", "{\"a\":1", "{}{\"delete\":{\"_id\":\"1\"}}", "{\"secret\":hunter2}"] {
        for outcome in assembled(&documents(bad)).await.unwrap() {
            let Outcome::Rejected(rejection) = outcome else { panic!("{bad} was taken for a document") };
            assert_eq!(rejection.kind, "builder_json");
            assert!(!rejection.reason.contains("hunter2"), "{}", rejection.reason);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_break_cannot_smuggle_a_bulk_action() {
    let outcomes = assembled(&documents("{\n\"a\":1\r\n}\n")).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Document("{ \"a\":1  } ".into()));
    let smuggled = "{}\n{\"delete\":{\"_index\":\"other\",\"_id\":\"1\"}}\n";
    assert!(matches!(&assembled(&documents(smuggled)).await.unwrap()[0], Outcome::Rejected(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_no_utf8_is_a_trap() {
    let mut guest = harmless();
    guest.fields = r#"(data (i32.const 0x1000) "{\"a\":\"\ff\"}")"#;
    guest.assemble = "(call $outcomes (local.get $count) (i32.const 0) (i32.const 0x1000) (i32.const 9))";
    assert_eq!(assembled(&guest).await.unwrap_err().class, FailureClass::Deterministic);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_over_its_limits_is_refused_for_itself_alone() {
    let guest = documents(r#"{"a":{"b":{"c":1}}}"#);
    for (limits, name) in [
        (Limits { document_depth: 2, ..short() }, "document_depth of 2"),
        (Limits { document_bytes: 10, ..short() }, "document_bytes of 10"),
    ] {
        let outcomes = assemble(&guest.load(limits).await.unwrap(), 2).await.unwrap();
        let Outcome::Rejected(rejection) = &outcomes[0] else { panic!("{name} was not met") };
        assert_eq!(rejection.kind, "builder_limit");
        assert!(rejection.reason.contains(name), "{}", rejection.reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_a_rejection_are_kept_apart_and_made_harmless() {
    let mut guest = documents("user ada@example.com\u{1b}[31m has no order");
    guest.assemble = "(call $outcomes (local.get $count) (i32.const 2) (i32.const 0x1000) (i32.const 30))";
    let outcomes = assembled(&guest).await.unwrap();
    let Outcome::Rejected(rejection) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!((rejection.kind.as_str(), rejection.reason.as_str()), ("builder", "the builder rejected it"));
    assert!(rejection.detail.as_ref().unwrap().starts_with("user ada@example.com\\u{1b}[31m"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_guest_is_deterministic_and_its_words_are_the_cause() {
    let mut guest = harmless();
    guest.fields = r#"(data (i32.const 0x1000) "ada@example.com")"#;
    guest.assemble = "(call $err (i32.const 0x1000) (i32.const 15))";
    let failure = assembled(&guest).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Deterministic);
    assert!(!failure.to_string().contains("ada@example.com"));
    assert!(!failure.chain().contains("ada@example.com") && failure.full().contains("ada@example.com"));
}

/// Answers these ids, as bytes.
fn resolves(ids: &[&str]) -> Handmade {
    let (mut texts, mut list) = (String::new(), String::new());
    let mut at = 0x1000u32;
    for id in ids {
        texts.extend(id.bytes().map(|byte| format!("\\{byte:02x}")));
        for number in [at, id.len() as u32] {
            list.extend(number.to_le_bytes().map(|byte| format!("\\{byte:02x}")));
        }
        at += id.len() as u32;
    }
    let mut guest = harmless();
    let fields = format!("(data (i32.const 0x1000) \"{texts}\") (data (i32.const 0x200) \"{list}\")");
    guest.fields = Box::leak(fields.into_boxed_str());
    let body = format!("(call $affected (i32.const 0x200) (i32.const {}) (i32.const 0) (i32.const 0))", ids.len());
    guest.resolve = Box::leak(body.into_boxed_str());
    guest
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_come_out_once_and_bad_ones_blame_the_call() {
    let good = resolves(&["b", "a", "b"]).loaded().await;
    assert_eq!(resolve(&good).await.unwrap().ids, ["b", "a"]);
    for bad in ["", "a\nb", "a\u{7f}", &"x".repeat(513)] {
        let failure = resolve(&resolves(&["a", bad]).loaded().await).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Deterministic);
        assert!(failure.message().contains("resolve of index things, table things: id 1 of its answer"), "{failure}");
    }
    let many = resolves(&["1", "2", "3"]).load(Limits { resolved_ids: 2, ..short() }).await.unwrap();
    let failure = resolve(&many).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Oversize);
    assert!(failure.message().contains("3 is over the limit resolved_ids of 2"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_wants_json_is_given_json() {
    let mut guest = harmless();
    guest.descriptor = guest.descriptor.replace("columns", "json");
    // Answers the rows as they came as its one id.
    guest.resolve = "(if (i32.ne (local.get $form) (i32.const 1)) (then unreachable)) \
        (i32.store (i32.const 0x200) (local.get 5)) (i32.store (i32.const 0x204) (local.get 6)) \
        (call $affected (i32.const 0x200) (i32.const 1) (i32.const 0) (i32.const 0))";
    let ids = resolve(&guest.loaded().await).await.unwrap().ids;
    assert_eq!(ids, [r#"[{"id":0},{"id":1},{"id":2}]"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_was_not_declared_is_refused_by_name() {
    let mut guest = harmless();
    guest.fields = r#"(data (i32.const 0x1000) "delete")
        (data (i32.const 0x200) "\00\10\00\00\06\00\00\00\00\00\00\00\00\00\00\00")"#;
    guest.resolve = "(call $affected (i32.const 0) (i32.const 0) (i32.const 0x200) (i32.const 1))";
    let failure = resolve(&guest.loaded().await).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Deterministic);
    assert!(failure.message().contains("query \"delete\""), "{failure}");
}
