//! Guests beside each other and beside the rest of the process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use docmill::edges::FailureClass;
use docmill::wasm::{Limits, Runtime, RuntimeOptions, WasmBuilder};
use serde_json::json;

use super::handmade::{assemble, harmless, short};

const LOOP: &str = "(loop $for-ever (br $for-ever)) unreachable";

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_share_a_few_slots() {
    let few = Runtime::new(RuntimeOptions { calls_at_once: 4, ..RuntimeOptions::default() }).unwrap();
    let builder = WasmBuilder::load(&few, &harmless().wasm(), json!({}), Limits::default(), "test").await.unwrap();
    let calls = (0..1000).map(|_| assemble(&builder, 2));
    for outcomes in futures_util::future::join_all(calls).await {
        assert_eq!(outcomes.unwrap_or_else(|failure| panic!("{}", failure.chain())).len(), 2);
    }
    // The last of its users lets go of the runtime inside async code.
    drop((builder, few));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spinning_guest_delays_nothing_outside_the_sandbox() {
    let mut guest = harmless();
    guest.assemble = LOOP;
    let spinner = guest.load(Limits { cpu: Duration::from_millis(600), wall: Duration::from_secs(9), ..short() });
    let spinner = spinner.await.unwrap();
    let spinning: Vec<_> = (0..4)
        .map(|_| {
            let spinner = Arc::clone(&spinner);
            tokio::spawn(async move { assemble(&spinner, 1).await })
        })
        .collect();
    let mut worst = Duration::ZERO;
    for _ in 0..50 {
        let began = Instant::now();
        tokio::time::sleep(Duration::from_millis(5)).await;
        worst = worst.max(began.elapsed());
    }
    // Generous, for machines that test many things at once: without runtimes of their own it would be 600 ms.
    assert!(worst < Duration::from_millis(300), "a timer of 5 ms took {worst:?}");
    for call in spinning {
        assert_eq!(call.await.unwrap().unwrap_err().class, FailureClass::Time);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spinning_guests_do_not_stop_a_neighbour() {
    let mut guest = harmless();
    guest.assemble = LOOP;
    let limits = Limits { cpu: Duration::from_secs(1), wall: Duration::from_secs(9), ..short() };
    let spinner = guest.load(limits).await.unwrap();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let spinning: Vec<_> = (0..threads * 2)
        .map(|_| {
            let spinner = Arc::clone(&spinner);
            tokio::spawn(async move { assemble(&spinner, 1).await })
        })
        .collect();
    let neighbour = harmless().load(Limits::default()).await.unwrap();
    for _ in 0..20 {
        assert_eq!(assemble(&neighbour, 3).await.unwrap().len(), 3);
    }
    assert!(spinning.iter().any(|call| !call.is_finished()), "the neighbour had to wait for the spinning guests");
    for call in spinning {
        let _ = call.await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_caller_is_gone_frees_its_slot() {
    let one = Runtime::new(RuntimeOptions { calls_at_once: 1, ..RuntimeOptions::default() }).unwrap();
    let mut guest = harmless();
    guest.assemble = LOOP;
    let long = Limits { cpu: Duration::from_secs(60), wall: Duration::from_secs(60), ..Limits::default() };
    let spinner = WasmBuilder::load(&one, &guest.wasm(), json!({}), long, "test").await.unwrap();
    let harmless = WasmBuilder::load(&one, &harmless().wasm(), json!({}), Limits::default(), "test").await.unwrap();
    let gone = tokio::time::timeout(Duration::from_millis(100), assemble(&spinner, 1)).await;
    assert!(gone.is_err(), "the loop ended by itself");
    let next = tokio::time::timeout(Duration::from_secs(10), assemble(&harmless, 1)).await;
    assert_eq!(next.expect("the slot is free").unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_one_call_is_left_for_the_next() {
    let mut guest = harmless();
    guest.fields = "(global $calls (mut i32) (i32.const 0))";
    // More outcomes at each further call of the same instance; and a mark in memory that traps when it is found.
    guest.assemble = "(if (i32.load (i32.const 0x2000)) (then unreachable)) \
        (i32.store (i32.const 0x2000) (i32.const 7)) \
        (global.set $calls (i32.add (global.get $calls) (i32.const 1))) \
        (call $outcomes (global.get $calls) (i32.const 1) (i32.const 0) (i32.const 0))";
    let builder = guest.loaded().await;
    for _ in 0..200 {
        assert_eq!(assemble(&builder, 1).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_never_waits_for_calls_of_a_pipeline_that_holds_many() {
    let few = Runtime::new(RuntimeOptions { calls_at_once: 4, ..RuntimeOptions::default() }).unwrap();
    let mut guest = harmless();
    guest.assemble = LOOP;
    let limits = Limits { cpu: Duration::from_secs(3), wall: Duration::from_secs(60), ..short() };
    let hog = WasmBuilder::load(&few, &guest.wasm(), json!({}), limits, "hog").await.unwrap();
    let newcomer = WasmBuilder::load(&few, &harmless().wasm(), json!({}), Limits::default(), "newcomer").await.unwrap();
    let spinning: Vec<_> = (0..20)
        .map(|_| {
            let hog = Arc::clone(&hog);
            tokio::spawn(async move { assemble(&hog, 1).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..20 {
        assert_eq!(assemble(&newcomer, 3).await.unwrap().len(), 3);
    }
    assert!(spinning.iter().all(|call| !call.is_finished()), "the newcomer waited for one of the hog's calls");
    spinning.iter().for_each(|call| call.abort());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_call_ends_as_a_short_one_does_wherever_it_runs() {
    // Several ticks of work, and then an answer, a query or a trap.
    const WORK: &str = "(local $left i64) (local.set $left (i64.const 300000000)) \
        (loop $more (local.set $left (i64.sub (local.get $left) (i64.const 1))) \
        (br_if $more (i64.ne (local.get $left) (i64.const 0))))";
    let limits = || Limits { cpu: Duration::from_secs(20), wall: Duration::from_secs(60), ..short() };
    // Long from its first turn on, whatever the machine.
    let soon = RuntimeOptions { long_call_cpu: Duration::from_millis(1), ..RuntimeOptions::default() };
    let runtime = Runtime::new(soon).unwrap();
    let with = |end: &str| {
        let mut guest = harmless();
        guest.assemble = format!("{WORK} {end}").leak();
        guest.wasm()
    };
    let ending = async |end: &str| {
        let builder = WasmBuilder::load(&runtime, &with(end), json!({}), limits(), "test").await.unwrap();
        // Some of them wait for others to end.
        let calls = (0..12).map(|_| assemble(&builder, 2));
        futures_util::future::join_all(calls).await
    };
    for answer in ending("(call $outcomes (local.get $count) (i32.const 1) (i32.const 0) (i32.const 0))").await {
        assert_eq!(answer.unwrap().len(), 2);
    }
    for answer in ending("unreachable").await {
        assert_eq!(answer.unwrap_err().class, FailureClass::Deterministic);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_long_call_its_pipelines_calls_stand_in_the_line_of_long_ones_and_nobody_elses() {
    // One thread, so four long calls at a time.
    let one = Runtime::new(RuntimeOptions { threads: 1, ..RuntimeOptions::default() }).unwrap();
    let mut guest = harmless();
    // One document without end; of two it is done at once.
    guest.assemble = "(if (i32.eq (local.get $count) (i32.const 1)) (then (loop $for-ever (br $for-ever)))) \
        (call $outcomes (local.get $count) (i32.const 1) (i32.const 0) (i32.const 0))";
    let limits = Limits { cpu: Duration::from_millis(300), wall: Duration::from_secs(60), ..short() };
    let hog = WasmBuilder::load(&one, &guest.wasm(), json!({}), limits, "hog").await.unwrap();
    let other = WasmBuilder::load(&one, &harmless().wasm(), json!({}), Limits::default(), "other").await.unwrap();
    let spin = || {
        let hog = Arc::clone(&hog);
        tokio::spawn(async move { assemble(&hog, 1).await })
    };
    assert_eq!(assemble(&hog, 2).await.unwrap().len(), 2);
    assert_eq!(spin().await.unwrap().unwrap_err().class, FailureClass::Time);
    let spinning: Vec<_> = (0..8).map(|_| spin()).collect();
    // They are in the line before what follows.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let behind = {
        let hog = Arc::clone(&hog);
        tokio::spawn(async move { assemble(&hog, 2).await })
    };
    assert_eq!(assemble(&other, 3).await.unwrap().len(), 3);
    assert!(spinning.iter().all(|call| !call.is_finished()), "the other pipeline stood in the line, too");
    assert_eq!(behind.await.unwrap().unwrap().len(), 2);
    assert!(spinning.iter().any(|call| call.is_finished()), "it did not stand in the line");
    spinning.iter().for_each(|call| call.abort());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_others_keep_from_the_processor_ends_in_bounded_time_and_is_not_blamed() {
    // All of them on one thread, so that none has used its time when it has lasted six times that.
    let options = RuntimeOptions { threads: 1, long_call_cpu: Duration::from_secs(60), ..RuntimeOptions::default() };
    let one = Runtime::new(options).unwrap();
    let mut guest = harmless();
    guest.assemble = LOOP;
    let limits = Limits { cpu: Duration::from_secs(30), wall: Duration::from_millis(300), ..short() };
    let builder = WasmBuilder::load(&one, &guest.wasm(), json!({}), limits, "test").await.unwrap();
    let calls = (0..32).map(|_| assemble(&builder, 1));
    for answer in futures_util::future::join_all(calls).await {
        let failure = answer.unwrap_err();
        assert_eq!((failure.class, failure.guest()), (FailureClass::Transient, None), "{}", failure.chain());
        assert!(failure.chain().contains("waited for a processor"), "{}", failure.chain());
    }
}
