//! What no compiler makes, written by hand: components that know one document, `evil-1`, whatever row changes.

use super::case::Case;
use crate::wasm::handmade::{Handmade, harmless};

/// Every row leads to `evil-1`; the fields of its core module, and its `assemble`.
fn guest(fields: &'static str, assemble: &'static str) -> Vec<u8> {
    let mut guest = harmless();
    guest.descriptor = guest.descriptor.replace("things", "evil");
    let id = r#"(data (i32.const 0x1000) "evil-1") (data (i32.const 0x200) "\00\10\00\00\06\00\00\00")"#;
    let fields: &'static str = Box::leak(format!("{id} {fields}").into_boxed_str());
    let resolve = "(call $affected (i32.const 0x200) (i32.const 1) (i32.const 0) (i32.const 0))";
    Handmade { fields, resolve, assemble, ..guest }.wasm()
}

/// It is quarantined, of that kind and for that reason, and a mended builder makes everything.
async fn quarantines(name: &str, wasm: Vec<u8>, kind: &str, why: &str) {
    let reason = &format!("builder of pipeline hostile, assemble of 1 documents of index evil: {why}");
    let mut case = Case::made(name, wasm).await;
    case.sql("insert into evil values ('evil-1', 'one')").await;
    case.start().await;
    case.await_quarantine(&["evil-1"], kind, reason).await;
    case.beside_neighbour(async |case| {
        case.change("update evil set name = name || '.' where id = 'evil-1'", &["evil-1"]).await
    })
    .await;
    case.await_quarantine(&["evil-1"], kind, reason).await;
    assert!(case.documents().await.is_empty());
    case.mend().await;
    case.await_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_grows_without_end() {
    let grow = "(loop $more \
        (br_if $more (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable";
    let wasm = guest("(table $table 0 funcref)", grow);
    quarantines("grow a table", wasm, "builder_limit", "101000 is over the limit table_elements of 100000").await;
}

/// 64 times the same 16 MiB: small in the guest's memory, 1 GiB if the host copied it.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_a_gibibyte() {
    let answer = "(drop (memory.grow (i32.const 300))) \
        (call $outcomes (i32.const 64) (i32.const 0) (i32.const 0) (i32.const 16777216))";
    let why = "it handed over more than the limit bytes_from_guest of 16777216";
    quarantines("a result of 1 GiB", guest("", answer), "builder_limit", why).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_says_it_is_longer_than_memory() {
    let wasm = guest("", "(call $ok (i32.const 0x400) (i32.const 0x7fffffff))");
    let why = "list pointer/length out of bounds of memory";
    quarantines("a list longer than memory", wasm, "builder_failed", why).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_instruction_that_divides_by_zero() {
    let wasm = guest("", "(drop (i32.div_u (i32.const 1) (i32.const 0))) unreachable");
    quarantines("divide by zero, by hand", wasm, "builder_failed", "it trapped: integer divide by zero, in assemble")
        .await;
}
