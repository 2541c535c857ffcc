//! What a guest may ask of the database while it assembles, and what happens when the database is in the way.

use std::time::{Duration, Instant};

use docmill::edges::{Failure, FailureClass};
use docmill::model::Outcome;
use docmill::wasm::Limits;

use super::handmade::{Handmade, Source, assemble_from, harmless, resolve, short};

/// Asks for the declared query once, then answers absent.
fn reader() -> Handmade {
    let mut guest = harmless();
    guest.fields = r#"
        (data (i32.const 0x1000) "things") (data (i32.const 0x1010) "[1]")
        (data (i32.const 0x200) "\00\10\00\00\06\00\00\00\20\02\00\00\01\00\00\00")
        (data (i32.const 0x220) "\01\00\00\00\10\10\00\00\03\00\00\00")
        (func $ask (call $run (i32.const 0x200) (i32.const 1) (i32.const 0x300)))"#;
    guest.assemble = "(call $ask) (call $outcomes (local.get $count) (i32.const 1) (i32.const 0) (i32.const 0))";
    guest
}

async fn assembled(guest: &Handmade, limits: Limits, source: Source) -> Result<Vec<Outcome>, Failure> {
    let builder = guest.load(limits).await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
    assemble_from(&builder, 2, source).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_query_is_answered() {
    let outcomes = assembled(&reader(), short(), Source::Rows(5)).await.unwrap();
    assert_eq!(outcomes, [Outcome::Absent, Outcome::Absent]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_ends_the_call_and_is_never_blamed_on_the_builder() {
    let failure = assembled(&reader(), short(), Source::Lost).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Transient);
    assert_eq!(failure.message(), "the connection to the source was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_hangs_ends_with_the_wall_clock_and_costs_no_cpu() {
    let began = Instant::now();
    let limits = Limits { cpu: Duration::from_millis(100), wall: Duration::from_millis(700), ..short() };
    let failure = assembled(&reader(), limits, Source::Hangs).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Time);
    assert!(failure.message().contains("limit wall of 700ms"), "{failure}");
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_rows_and_bytes_have_limits() {
    let mut greedy = reader();
    greedy.assemble = "(loop $more (call $ask) (br $more)) unreachable";
    for (limits, source, part) in [
        (short(), Source::Rows(1), "65 is over the limit queries of 64"),
        (short(), Source::Rows(3000), "over the limit rows of 100000"),
        (
            Limits { bytes_to_guest: 1 << 20, rows: 1 << 20, ..short() },
            Source::Rows(50_000),
            "over the limit bytes_to_guest of 1048576",
        ),
    ] {
        let limits = Limits { cpu: Duration::from_secs(5), wall: Duration::from_secs(9), ..limits };
        let failure = assembled(&greedy, limits, source).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Oversize, "{}", failure.chain());
        assert!(failure.message().contains(part), "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_was_not_declared_never_reaches_the_database() {
    let mut guest = reader();
    let fields = guest.fields.replace("\"things\"", "\"drop a\"");
    guest.fields = Box::leak(fields.into_boxed_str());
    let failure = assembled(&guest, short(), Source::Hangs).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Deterministic);
    assert!(failure.message().contains("query \"drop a\""), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_assemble_may_read() {
    let mut guest = reader();
    guest.resolve = "(call $ask) (call $affected (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))";
    let failure = resolve(&guest.loaded().await).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Deterministic);
    assert!(failure.message().contains("source.run, which only assemble may"), "{failure}");
    guest.describe = "(call $ask) DESCRIBED";
    assert_eq!(guest.load(short()).await.unwrap_err().class, FailureClass::Fatal);
}
