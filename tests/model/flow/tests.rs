//! What holds with all rules, and what breaks without each.

use super::Flow;
use super::rules::{Bounds, Rules};
use super::state::Write::{Child, NoRoot, Root, Truncate};
use super::state::{Left, Transaction};
use crate::check::{breaks, holds};

const NONE: Left = Left { crash: 0, unknown: 0, forget: 0, swap: 0, other: 0, clean: 0, give_back: 0 };

const PUT_CHILD: &[Transaction] = &[&[Root(1)], &[Child(1)]];
const PUT_PUT: &[Transaction] = &[&[Root(1)], &[Root(2)]];
const PUT_DELETE: &[Transaction] = &[&[Root(1)], &[NoRoot]];
const PUT_CHILD_DELETE: &[Transaction] = &[&[Root(1)], &[Child(1)], &[NoRoot]];
const PUT_DELETE_PUT: &[Transaction] = &[&[Root(1)], &[NoRoot], &[Root(3)]];
const CHILD_PUT_DELETE: &[Transaction] = &[&[Child(1)], &[Root(1)], &[NoRoot]];
const PUT_TRUNCATE: &[Transaction] = &[&[Root(1)], &[Truncate]];
const OF_TWO_ROWS: &[Transaction] = &[&[Root(1), Child(1)], &[Child(2), Root(2)]];

fn bounds(transactions: &'static [Transaction], left: Left) -> Bounds {
    Bounds { left, ..Bounds::of(transactions) }
}

fn all(bounds: Bounds) -> Flow {
    Flow { rules: Rules::ALL, bounds }
}

fn without(switch: impl FnOnce(&mut Rules), bounds: Bounds) -> Flow {
    let mut rules = Rules::ALL;
    switch(&mut rules);
    Flow { rules, bounds }
}

#[test]
fn a_document_ends_as_its_rows_after_crashes_late_requests_and_forgotten_deletions() {
    let left = Left { crash: 2, unknown: 1, forget: 2, ..NONE };
    holds("put, child, delete; 2 crashes", all(bounds(PUT_CHILD_DELETE, left)));
    holds("put, delete, put; 2 crashes", all(bounds(PUT_DELETE_PUT, left)));
}

#[test]
fn windows_of_other_documents_clean_shutdowns_and_returned_tasks_do_no_harm() {
    let left = Left { crash: 1, unknown: 2, forget: 1, other: 1, clean: 1, give_back: 1, ..NONE };
    holds("windows", all(bounds(PUT_DELETE, left)));
}

#[test]
fn batches_may_cut_a_transaction_anywhere() {
    let bounds = Bounds { cut: true, batch: 2, ..bounds(OF_TWO_ROWS, Left { crash: 1, unknown: 1, ..NONE }) };
    holds("cut", all(bounds));
}

#[test]
fn a_change_of_builder_reaches_every_document() {
    let two = |transactions, left| all(Bounds { restart_with: &[1, 2], ..bounds(transactions, left) });
    holds("swap, no crash", two(PUT_CHILD_DELETE, Left { unknown: 1, forget: 1, swap: 1, ..NONE }));
    holds("swap and crash", two(PUT_DELETE, Left { crash: 1, forget: 1, swap: 1, ..NONE }));
    holds("restart with another builder", two(PUT_CHILD, Left { crash: 2, ..NONE }));
    holds("restart with another builder", two(PUT_DELETE, Left { crash: 1, unknown: 1, forget: 1, ..NONE }));
    let left = Left { unknown: 1, swap: 1, ..NONE };
    holds("swap, apart", all(Bounds { stamp_apart: true, ..bounds(PUT_CHILD, left) }));
}

#[test]
fn sweep() {
    let left = Left { crash: 1, unknown: 1, forget: 1, swap: 1, ..NONE };
    holds("sweep", all(Bounds { restart_with: &[1, 2], other_ids: true, ..bounds(PUT_CHILD, left) }));
}

#[test]
fn others() {
    holds("gt", without(|r| r.equal_wins = false, bounds(PUT_DELETE_PUT, Left { crash: 1, unknown: 1, forget: 1, ..NONE })));
    holds("gt swap", without(|r| r.equal_wins = false, Bounds { restart_with: &[1, 2], ..bounds(PUT_CHILD, Left { crash: 1, swap: 1, ..NONE }) }));
    holds("ndjson", without(|r| r.versions = false, bounds(PUT_CHILD_DELETE, NONE)));
    holds("two hands, nothing forgotten", without(|r| r.one_hand = false, bounds(PUT_CHILD_DELETE, Left { crash: 1, ..NONE })));
    holds("old reads, stamped at once", without(|r| r.old_reads_first = false, bounds(PUT_CHILD, Left { swap: 1, unknown: 1, ..NONE })));
}

#[test]
fn neg_basic() {
    breaks("fence", without(|r| r.fence = false, bounds(PUT_PUT, NONE)));
    breaks("label", without(|r| { r.label_first = false; r.one_hand = false }, bounds(PUT_PUT, NONE)));
    breaks("label, one hand", without(|r| { r.label_first = false; }, bounds(PUT_PUT, Left { unknown: 1, crash: 1, ..NONE })));
    breaks("versions", without(|r| { r.versions = false; r.one_hand = false }, bounds(PUT_PUT, NONE)));
    breaks("versions, one hand", without(|r| { r.versions = false; }, bounds(PUT_PUT, Left { unknown: 1, ..NONE })));
    breaks("one hand", without(|r| { r.one_hand = false }, bounds(PUT_CHILD_DELETE, Left { forget: 1, ..NONE })));
    breaks("one hand", without(|r| { r.one_hand = false }, bounds(PUT_DELETE, Left { forget: 1, ..NONE })));
}

#[test]
fn neg_window() {
    let one = Left { unknown: 1, forget: 1, ..NONE };
    let crash = Left { crash: 1, forget: 1, ..NONE };
    breaks("window_at_start", without(|r| r.window_at_start = false, bounds(PUT_DELETE, crash)));
    breaks("window_at_unknown", without(|r| r.window_at_unknown = false, bounds(PUT_DELETE, one)));
    breaks("window_outlasts", without(|r| r.window_outlasts = false, bounds(PUT_DELETE, one)));
    breaks("second_look", without(|r| r.second_look = false, bounds(PUT_DELETE, one)));
    breaks("ack_waits", without(|r| r.ack_waits = false, bounds(PUT_DELETE, Left { crash: 1, ..one })));
    breaks("due_when_made", without(|r| r.due_when_made = false, bounds(PUT_DELETE, one)));
    breaks("window_when_made", without(|r| r.window_when_made = false, bounds(PUT_DELETE, crash)));
}

#[test]
fn neg_window_2() {
    let one = Left { unknown: 1, forget: 1, ..NONE };
    breaks("lease", without(|r| r.lease_keeps_unknown = false, bounds(PUT_DELETE, Left { give_back: 1, ..one })));
    breaks("clean_is_quiet", without(|r| r.clean_is_quiet = false, bounds(PUT_DELETE, Left { clean: 1, ..one })));
    breaks("clean_is_taken_off", without(|r| r.clean_is_taken_off = false, bounds(PUT_DELETE, Left { clean: 1, crash: 1, forget: 1, ..NONE })));
}
#[test]
fn neg_window_3() {
    let one = Left { unknown: 1, forget: 1, ..NONE };
    breaks("unknown moves", without(|r| r.unknown_moves_deadline = false, bounds(CHILD_PUT_DELETE, Left { other: 1, ..one })));
}
#[test]
fn neg_window_4() {
    let one = Left { unknown: 1, forget: 1, ..NONE };
    breaks("unknown final", without(|r| r.unknown_is_not_final = false, bounds(CHILD_PUT_DELETE, Left { other: 1, ..one })));
}
#[test]
fn neg_window_5() {
    breaks("pass waits", without(|r| r.pass_waits = false, bounds(PUT_TRUNCATE, Left { crash: 1, unknown: 1, forget: 1, ..NONE })));
    holds("truncate", all(bounds(PUT_TRUNCATE, Left { crash: 2, unknown: 1, forget: 1, ..NONE })));
}

#[test]
fn neg_swap() {
    let swap = Left { crash: 0, unknown: 1, swap: 1, ..NONE };
    breaks("barrier", without(|r| r.barrier = false, bounds(PUT_CHILD, swap)));
    let crash = Left { crash: 1, swap: 1, ..NONE };
    breaks("record first", without(|r| r.record_first = false, Bounds { restart_with: &[1, 2], ..bounds(PUT_CHILD, crash) }));
    breaks("barrier anew", without(|r| r.barrier_anew = false, Bounds { restart_with: &[2], ..bounds(PUT_CHILD, crash) }));
    breaks("old reads", without(|r| r.old_reads_first = false, Bounds { stamp_apart: true, ..bounds(PUT_CHILD, Left { unknown: 1, ..swap }) }));
    breaks("sweep answers", without(|r| r.sweep_after_answers = false, Bounds { other_ids: true, ..bounds(PUT_CHILD, swap) }));
    breaks("sweep window", without(|r| r.sweep_after_window = false, Bounds { restart_with: &[1, 2], other_ids: true, ..bounds(PUT_CHILD, crash) }));
}
