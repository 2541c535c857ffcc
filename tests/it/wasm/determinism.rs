//! The same rows give the same bytes: what WebAssembly leaves open is settled, and what could differ cannot be asked for.

use std::sync::Arc;

use docmill::edges::{Failure, FailureClass};
use docmill::model::Outcome;
use docmill::wasm::{Limits, Runtime, RuntimeOptions, WasmBuilder};
use serde_json::json;

use super::handmade::{Handmade, assemble, harmless};

/// NaNs made in as many ways as there are, none of them from constants, which a compiler could settle by itself: memory is zero.
/// Processors give them different signs and payloads, and hand payloads of inputs on.
const NANS: &str = r#"
  (memory $zeroes 1)
  (func $zero (result f64) (f64.load $zeroes (i32.const 0)))
  (func $payload (result f64) (f64.reinterpret_i64 (i64.or (i64.const 0xfff8000000000123) (i64.load $zeroes (i32.const 0)))))
  (func $infinity (result f64) (f64.div (f64.const 1) (call $zero)))
  (func $bits (param $which i32) (result i64)
    (i64.reinterpret_f64
      (block $nan (result f64)
        (br_if $nan (f64.div (call $zero) (call $zero)) (i32.eqz (local.get $which))) (drop)
        (br_if $nan (f64.sub (call $infinity) (call $infinity)) (i32.eq (local.get $which) (i32.const 1))) (drop)
        (br_if $nan (f64.mul (call $infinity) (call $zero)) (i32.eq (local.get $which) (i32.const 2))) (drop)
        (br_if $nan (f64.sqrt (f64.sub (call $zero) (f64.const 1))) (i32.eq (local.get $which) (i32.const 3))) (drop)
        (br_if $nan (f64.add (call $payload) (f64.const 1)) (i32.eq (local.get $which) (i32.const 4))) (drop)
        (br_if $nan (f64.min (f64.const 1) (call $payload)) (i32.eq (local.get $which) (i32.const 5))) (drop)
        (br_if $nan (f64.promote_f32 (f32.demote_f64 (call $payload))) (i32.eq (local.get $which) (i32.const 6))) (drop)
        (br_if $nan (f64.nearest (call $payload)) (i32.eq (local.get $which) (i32.const 7))) (drop)
        (f64x2.extract_lane 1
          (f64x2.div (f64x2.splat (call $zero)) (f64x2.splat (call $zero)))))))
  (func $hex (param $at i32) (param $bits i64)
    (local $left i32) (local $digit i32)
    (local.set $left (i32.const 16))
    (loop $next
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (local.set $digit (i32.wrap_i64 (i64.and (local.get $bits) (i64.const 15))))
      (i32.store8 (i32.add (local.get $at) (local.get $left))
        (i32.add (local.get $digit) (select (i32.const 87) (i32.const 48) (i32.gt_u (local.get $digit) (i32.const 9)))))
      (local.set $bits (i64.shr_u (local.get $bits) (i64.const 4)))
      (br_if $next (local.get $left))))
  (data (i32.const 0x1000) "{\"nan\":\"")"#;

/// `{"nan":"` and the bits of nine NaNs.
const ASSEMBLE: &str = r#"(local $which i32)
  (loop $next
    (call $hex (i32.add (i32.const 0x1008) (i32.mul (local.get $which) (i32.const 16))) (call $bits (local.get $which)))
    (local.set $which (i32.add (local.get $which) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $which) (i32.const 9))))
  (i32.store16 (i32.const 0x1098) (i32.const 0x7d22))
  (call $outcomes (local.get $count) (i32.const 0) (i32.const 0x1000) (i32.const 154))"#;

fn guest_of_nans() -> Handmade {
    Handmade { fields: NANS, assemble: ASSEMBLE, ..harmless() }
}

async fn loaded(guest: &Handmade) -> Result<Arc<WasmBuilder>, Failure> {
    let runtime = Runtime::new(RuntimeOptions { calls_at_once: 4, ..RuntimeOptions::default() }).unwrap();
    WasmBuilder::load(&runtime, &guest.wasm(), json!({}), Limits::default(), "test").await
}

#[tokio::test(flavor = "multi_thread")]
async fn nans_have_one_form_however_they_came_about() {
    let builder = loaded(&guest_of_nans()).await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
    let outcomes = assemble(&builder, 1).await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
    let Outcome::Document(document) = &outcomes[0] else { panic!("{outcomes:?}") };
    let expected = format!("{{\"nan\":\"{}\"}}", "7ff8000000000000".repeat(9));
    assert_eq!(std::str::from_utf8(document).unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_instances_of_two_processes_give_the_same_bytes() {
    // Two runtimes compile, and lay out their memory, by themselves.
    let (one, other) = (loaded(&guest_of_nans()).await.unwrap(), loaded(&guest_of_nans()).await.unwrap());
    let first = assemble(&one, 50).await.unwrap();
    for _ in 0..50 {
        assert_eq!(assemble(&one, 50).await.unwrap(), first);
        assert_eq!(assemble(&other, 50).await.unwrap(), first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_differ_between_two_runs_is_switched_off() {
    for (fields, part) in [
        ("(memory $shared 1 1 shared)", "threads must be enabled"),
        ("(func (param v128) (result v128) (f32x4.relaxed_min (local.get 0) (local.get 0)))", "relaxed SIMD"),
        ("(func (result i32) (i32.atomic.load (i32.const 0)))", "threads support is not enabled"),
    ] {
        let failure = loaded(&Handmade { fields, ..harmless() }).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Fatal);
        assert!(failure.chain().contains(part), "{part:?} is not in {}", failure.chain());
    }
}
