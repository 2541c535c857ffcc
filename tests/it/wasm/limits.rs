//! Each limit met by a guest that wants more: the call ends with its name and class, and the runtime goes on.

use std::time::{Duration, Instant};

use docmill::edges::{Failure, FailureClass};
use docmill::wasm::Limits;

use super::handmade::{Handmade, assemble, harmless, resolve, short};

const LOOP: &str = "(loop $for-ever (br $for-ever)) unreachable";

/// The failure of an assemble of two documents.
async fn failure_of(guest: &Handmade, limits: Limits) -> Failure {
    let builder = guest.load(limits).await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
    let failure = assemble(&builder, 2).await.expect_err("the call must fail");
    assert!(
        failure.message().contains("builder of pipeline test, assemble of 2 documents of index things"),
        "{failure}"
    );
    the_runtime_goes_on().await;
    failure
}

async fn the_runtime_goes_on() {
    let builder = harmless().load(Limits::default()).await.expect("a harmless guest");
    assert_eq!(assemble(&builder, 3).await.expect("a harmless guest works").len(), 3);
}

fn is(failure: &Failure, class: FailureClass, part: &str) {
    assert_eq!(failure.class, class, "{}", failure.chain());
    assert!(failure.message().contains(part), "{part:?} is not in {:?}", failure.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_in_any_export_ends_with_the_cpu_budget() {
    let ends = |began: Instant| assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let mut guest = harmless();
    guest.describe = LOOP;
    let began = Instant::now();
    let failure = guest.load(short()).await.unwrap_err();
    is(&failure, FailureClass::Fatal, "over the limit cpu of 300ms");
    ends(began);

    let mut guest = harmless();
    guest.resolve = LOOP;
    let builder = guest.loaded().await;
    let began = Instant::now();
    is(&resolve(&builder).await.unwrap_err(), FailureClass::Time, "over the limit cpu of 300ms");
    ends(began);

    let mut guest = harmless();
    guest.assemble = LOOP;
    let began = Instant::now();
    is(&failure_of(&guest, short()).await, FailureClass::Time, "over the limit cpu of 300ms, in ");
    ends(began);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_before_the_first_call_counts_too() {
    let mut guest = harmless();
    guest.fields = "(func $begin (loop $for-ever (br $for-ever))) (start $begin)";
    is(&guest.load(short()).await.unwrap_err(), FailureClass::Fatal, "over the limit cpu");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_allocates_without_end_meets_the_memory_limit() {
    let mut guest = harmless();
    guest.assemble = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    is(&failure_of(&guest, short()).await, FailureClass::Oversize, "over the limit memory_bytes of 67108864");
    // The same when it catches the refusal and says so.
    guest.assemble = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) \
        (call $err (i32.const 0) (i32.const 0))";
    is(&failure_of(&guest, short()).await, FailureClass::Oversize, "over the limit memory_bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_is_wanted_from_the_start_is_limited_too() {
    let mut guest = harmless();
    guest.fields = "(memory $large 1500)";
    let failure = guest.load(Limits { json_memory_bytes: 64 << 20, ..short() }).await.unwrap_err();
    is(&failure, FailureClass::Fatal, "over the limit memory_bytes");
    // More than any guest of the process can have is refused when it is compiled.
    guest.fields = "(memory $huge 60000)";
    assert_eq!(guest.load(short()).await.unwrap_err().class, FailureClass::Fatal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_grows_without_end_meets_its_limit() {
    let mut guest = harmless();
    guest.fields = "(table $table 0 funcref)";
    guest.assemble = "(loop $more \
        (br_if $more (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable";
    let limits = Limits { table_elements: 50_000, ..short() };
    is(&failure_of(&guest, limits).await, FailureClass::Oversize, "over the limit table_elements of 50000");
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_recursion_and_other_traps_are_deterministic_and_say_where() {
    let mut guest = harmless();
    guest.fields = "(func $dig (param i32) (result i32) (i32.add (call $dig (local.get 0)) (call $dig (local.get 0))))";
    guest.assemble = "(call $dig (i32.const 1))";
    let failure = failure_of(&guest, short()).await;
    is(&failure, FailureClass::Deterministic, "call stack exhausted");
    is(&failure, FailureClass::Deterministic, "in dig < dig");
    for (trap, part) in [
        ("unreachable", "`unreachable` instruction executed, in assemble"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0))) unreachable", "divide by zero"),
        ("(i32.load (i32.const -8))", "out of bounds memory access"),
    ] {
        let mut guest = harmless();
        guest.assemble = trap;
        is(&failure_of(&guest, short()).await, FailureClass::Deterministic, part);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_answer_is_refused_before_the_host_makes_room_for_it() {
    let mut guest = harmless();
    // One document of 20 MiB.
    guest.assemble = "(drop (memory.grow (i32.const 400))) \
        (call $outcomes (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 20971520))";
    is(&failure_of(&guest, short()).await, FailureClass::Oversize, "limit bytes_from_guest of 16777216");
    // A list that says it is longer than memory.
    guest.assemble = "(call $ok (i32.const 0x400) (i32.const 0x7fffffff))";
    assert_eq!(failure_of(&guest, short()).await.class, FailureClass::Deterministic);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_lines_is_bounded_and_cannot_steer_a_terminal() {
    let mut guest = harmless();
    guest.fields = r#"(data (i32.const 0x1000) "\1b[2Jforged\n2026 ERROR all is lost")"#;
    guest.assemble = "(local $left i32) (local.set $left (i32.const 20000)) \
        (loop $more \
          (call $log (i32.const 1) (i32.const 0x1000) (i32.const 33)) \
          (local.set $left (i32.sub (local.get $left) (i32.const 1))) \
          (br_if $more (local.get $left))) \
        (call $log (i32.const 1) (i32.const 0) (i32.const 0x20000)) \
        unreachable";
    let limits = Limits { log_bytes: 2000, cpu: Duration::from_secs(5), wall: Duration::from_secs(9), ..short() };
    let chain = failure_of(&guest, limits).await.full();
    assert!(chain.contains("\\u{1b}[2Jforged\\n2026 ERROR"), "{chain}");
    assert!(chain.len() < 8000 && !chain.contains('\u{1b}') && !chain.contains('\n'), "{} bytes", chain.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_too_many_parts_is_told_which_and_how_many() {
    let with = |fields| Handmade { fields, ..harmless() };
    for (guest, limits, part) in [
        (with("(memory $second 1)"), Limits { memories: 1, ..short() }, "2 is over the limit memories of 1"),
        (
            with("(table $a 1 funcref) (table $b 1 funcref)"),
            Limits { tables: 1, ..short() },
            "2 is over the limit tables of 1",
        ),
        (harmless(), Limits { instances: 1, ..short() }, "2 is over the limit instances of 1"),
    ] {
        let failure = guest.load(limits).await.unwrap_err();
        is(&failure, FailureClass::Fatal, part);
        is(&failure, FailureClass::Fatal, "builder of pipeline test, describe");
        assert!(failure.advice().is_some_and(|advice| advice.contains("fewer parts, or raise `")), "{failure}");
        the_runtime_goes_on().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_between_the_parts_of_a_component_are_limited() {
    let mut guest = harmless();
    guest.imports = r#"(type $resource (resource (rep i32)))
        (core func $make (canon resource.new $resource))
        (core module $Maker
          (import "host" "make" (func $make (param i32) (result i32)))
          (func $begin (local $left i32) (local.set $left (i32.const 200))
            (loop $more
              (drop (call $make (i32.const 7)))
              (local.set $left (i32.sub (local.get $left) (i32.const 1)))
              (br_if $more (local.get $left))))
          (start $begin))
        (core instance $maker (instantiate $Maker (with "host" (instance (export "make" (func $make))))))"#;
    assert!(guest.load(short()).await.is_ok());
    let failure = guest.load(Limits { handles: 100, ..short() }).await.unwrap_err();
    is(&failure, FailureClass::Fatal, "it has more handles open than the limit handles of 100");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_over_what_the_process_has_is_refused_by_name() {
    for (limits, part) in [
        (Limits { memory_bytes: 1 << 40, ..short() }, "its limit memory_bytes of 1099511627776 is over"),
        (Limits { table_elements: 1 << 20, ..short() }, "its limit table_elements of 1048576 is over"),
        (Limits { instances: 65, ..short() }, "can have, 64; lower instances"),
        (Limits { memories: 5, ..short() }, "can have, 4; lower memories"),
        (Limits { tables: 17, ..short() }, "can have, 16; lower tables"),
    ] {
        let failure = harmless().load(limits).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Fatal);
        assert!(failure.to_string().contains(part), "{part:?} is not in {failure}");
    }
}
