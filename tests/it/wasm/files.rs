//! What is refused before any of it runs: files that are no builder, and builders that say what cannot be.

use docmill::edges::{Failure, FailureClass};
use docmill::wasm::{Limits, WasmBuilder};
use serde_json::json;

use super::handmade::{descriptor, harmless, resolve, runtime};

async fn refusal(bytes: &[u8]) -> Failure {
    let loaded = WasmBuilder::load(runtime(), bytes, json!({}), Limits::default(), "test").await;
    let failure = loaded.expect_err("it must be refused");
    assert_eq!(failure.class, FailureClass::Fatal, "{}", failure.chain());
    failure
}

fn says(failure: &Failure, part: &str) {
    assert!(failure.chain().contains(part), "{part:?} is not in {:?}", failure.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_component_is_refused_by_what_it_is() {
    says(&refusal(b"").await, "is not WebAssembly");
    says(&refusal(b"\x7fELF and so on, long enough").await, "is not WebAssembly");
    says(&refusal(&wat::parse_str("(module)").unwrap()).await, "a core module, not a component");
    says(
        &refusal(&wat::parse_str("(component)").unwrap()).await,
        "exports nothing and not docmill:builder/guest@0.1.0",
    );
    let mut damaged = harmless().wasm();
    damaged.truncate(damaged.len() / 2);
    says(&refusal(&damaged).await, "the component is damaged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_another_world_is_told_what_it_lacks() {
    let lacks = r#"(component (instance $guest) (export "docmill:builder/guest@0.1.0" (instance $guest)))"#;
    says(&refusal(&wat::parse_str(lacks).unwrap()).await, "lacks describe, lacks resolve, lacks assemble");
    let other = r#"(component (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#;
    says(&refusal(&wat::parse_str(other).unwrap()).await, "it exports wasi:cli/run@0.2.0");
    // The right names with a type that is not the contract's.
    let wrong = std::str::from_utf8(include_bytes!("builder.wat")).unwrap().replace(";;BODY;;", BODIES);
    let wrong = wrong.replace(r#"(case "rejected" string)"#, r#"(case "refused" string)"#);
    let failure = refusal(&wat::parse_str(wrong).unwrap()).await;
    says(&failure, "its docmill:builder/guest@0.1.0 has assemble with another type");
    says(&failure, "expected variant case named rejected, found refused");
}

const BODIES: &str = r#"
    (func (export "describe") (type $describe) unreachable)
    (func (export "resolve") (type $resolve) unreachable)
    (func (export "assemble") (type $assemble) unreachable)"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_of_a_descriptor_is_named_at_once_by_its_path() {
    let mut guest = harmless();
    let mut bad = descriptor();
    bad["indexes"][0]["shards"] = json!(3);
    bad["indexes"][0]["tables"][0]["colums"] = json!("any");
    bad["indexes"][0]["reads"] = json!(["nothing"]);
    guest.descriptor = bad.to_string();
    let failure = guest.load(Limits::default()).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Fatal);
    for part in ["indexes[0].shards", "indexes[0].tables[0].colums", "did you mean columns", "\"nothing\""] {
        says(&failure, part);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_describe_that_fails_is_a_refusal_with_the_guest_s_words() {
    let mut guest = harmless();
    guest.fields = r#"(data (i32.const 0x1000) "no setting \1b[31mregion")"#;
    guest.describe = "(call $err (i32.const 0x1000) (i32.const 22))";
    let failure = guest.load(Limits::default()).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Fatal);
    says(&failure, "builder of pipeline test, describe");
    says(&failure, "no setting \\u{1b}[31mregion");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_reaches_the_guest() {
    let mut guest = harmless();
    guest.describe =
        "(call $config (i32.const 0x300)) (call $err (i32.load (i32.const 0x300)) (i32.load (i32.const 0x304)))";
    says(&guest.load(Limits::default()).await.unwrap_err(), r#"{"key":"value"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_is_of_component_and_configuration() {
    let load = |config| async move {
        WasmBuilder::load(runtime(), &harmless().wasm(), config, Limits::default(), "test").await.unwrap()
    };
    use docmill::edges::DocumentBuilder;
    let one = load(json!({ "a": 1, "b": 2 })).await;
    assert_eq!(one.version(), load(json!({ "b": 2, "a": 1 })).await.version());
    assert_ne!(one.version(), load(json!({ "a": 1, "b": 3 })).await.version());
    assert_eq!(one.version().0.len(), 64);
    assert_eq!(resolve(&one).await.unwrap().ids, Vec::<String>::new());
}
