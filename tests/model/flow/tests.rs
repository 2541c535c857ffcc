//! What holds with all rules, and what breaks without each.

use super::Flow;
use super::rules::{Bounds, Rules};
use super::state::Write::{Child, NoRoot, Root, Truncate};
use super::state::{Left, Transaction};
use crate::check::{breaks, holds};

const NONE: Left = Left { crash: 0, unknown: 0, forget: 0, swap: 0, other: 0, clean: 0, give_back: 0, hand_over: 0 };

const PUT_CHILD: &[Transaction] = &[&[Root(1)], &[Child(1)]];
const PUT_PUT: &[Transaction] = &[&[Root(1)], &[Root(2)]];
const PUT_DELETE: &[Transaction] = &[&[Root(1)], &[NoRoot]];
const PUT_TRUNCATE: &[Transaction] = &[&[Root(1)], &[Truncate]];
const PUT_CHILD_DELETE: &[Transaction] = &[&[Root(1)], &[Child(1)], &[NoRoot]];
const PUT_DELETE_PUT: &[Transaction] = &[&[Root(1)], &[NoRoot], &[Root(3)]];
const CHILD_PUT_DELETE: &[Transaction] = &[&[Child(1)], &[Root(1)], &[NoRoot]];
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
    let left = Left { crash: 2, unknown: 1, forget: 1, ..NONE };
    holds("put, child, delete", all(bounds(PUT_CHILD_DELETE, left)));
    holds("put, delete, put", all(bounds(PUT_DELETE_PUT, left)));
    holds("put, delete; forgotten twice", all(bounds(PUT_DELETE, Left { unknown: 2, forget: 2, ..left })));
    let cut = Bounds { cut: true, batch: 2, ..bounds(OF_TWO_ROWS, Left { crash: 1, unknown: 1, ..NONE }) };
    holds("transactions cut by batches", all(cut));
}

#[test]
fn windows_of_other_documents_clean_shutdowns_and_returned_tasks_do_no_harm() {
    let left = Left { crash: 1, unknown: 2, forget: 1, other: 1, clean: 1, give_back: 1, ..NONE };
    holds("put, delete", all(bounds(PUT_DELETE, left)));
    let left = Left { unknown: 2, forget: 1, other: 1, ..NONE };
    holds("child, put, delete", all(bounds(CHILD_PUT_DELETE, left)));
}

#[test]
fn a_pass_that_finds_a_document_absent_waits_for_its_second_look() {
    let left = Left { crash: 1, unknown: 1, forget: 1, ..NONE };
    holds("TRUNCATE", all(bounds(PUT_TRUNCATE, left)));
    breaks("the pass does not wait", without(|rules| rules.pass_waits = false, bounds(PUT_TRUNCATE, left)));
}

#[test]
fn fence_label_version_and_hand_are_each_needed() {
    let unknown = Left { unknown: 1, ..NONE };
    breaks("no fence", without(|rules| rules.fence = false, bounds(PUT_PUT, NONE)));
    let label = |rules: &mut Rules| rules.label_first = false;
    breaks("the label after the snapshot", without(label, bounds(PUT_PUT, unknown)));
    let versions = |rules: &mut Rules| rules.versions = false;
    breaks("no versions", without(versions, bounds(PUT_PUT, unknown)));
    let hand = |rules: &mut Rules| rules.one_hand = false;
    breaks("two hands", without(hand, bounds(PUT_DELETE, Left { forget: 1, ..NONE })));
}

#[test]
fn each_rule_of_the_late_window_is_needed() {
    let one = Left { unknown: 1, forget: 1, ..NONE };
    let crash = Left { crash: 1, forget: 1, ..NONE };
    let put_delete = |left| bounds(PUT_DELETE, left);
    breaks("no window at a start", without(|rules| rules.window_at_start = false, put_delete(crash)));
    breaks("no window at an unknown outcome", without(|rules| rules.window_at_unknown = false, put_delete(one)));
    breaks("a window too short", without(|rules| rules.window_outlasts = false, put_delete(one)));
    breaks("no second look", without(|rules| rules.second_look = false, put_delete(one)));
    let both = Left { crash: 1, ..one };
    breaks("confirmed before the second look", without(|rules| rules.ack_waits = false, put_delete(both)));
    breaks("due when reported, not when made", without(|rules| rules.due_when_made = false, put_delete(one)));
    breaks("window when reported, not when made", without(|rules| rules.window_when_made = false, put_delete(crash)));
    let other = bounds(CHILD_PUT_DELETE, Left { other: 1, ..one });
    breaks("the deadline stays", without(|rules| rules.unknown_moves_deadline = false, other));
    let returned = put_delete(Left { give_back: 1, ..one });
    breaks("a returned task forgets", without(|rules| rules.lease_keeps_unknown = false, returned));
    let clean = Left { clean: 1, ..one };
    breaks("clean with a window open", without(|rules| rules.clean_is_quiet = false, put_delete(clean)));
    let clean = Left { clean: 1, ..crash };
    breaks("the clean word stays", without(|rules| rules.clean_is_taken_off = false, put_delete(clean)));
}

#[test]
fn a_change_of_builder_reaches_every_document() {
    let two = |transactions, left| all(Bounds { restart_with: &[1, 2], ..bounds(transactions, left) });
    holds("swap", two(PUT_DELETE, Left { unknown: 1, forget: 1, swap: 1, ..NONE }));
    holds("swap and kill -9", two(PUT_CHILD, Left { crash: 1, swap: 1, ..NONE }));
    holds("start with another builder", two(PUT_DELETE, Left { crash: 1, unknown: 1, forget: 1, ..NONE }));
    let left = Left { unknown: 1, swap: 1, ..NONE };
    let apart = Bounds { stamp_apart: true, ..bounds(PUT_CHILD, left) };
    holds("swap, label after the builder", all(apart));

    let crash = Left { crash: 1, swap: 1, ..NONE };
    let restart = |with| Bounds { restart_with: with, ..bounds(PUT_CHILD, crash) };
    breaks("no barrier", without(|rules| rules.barrier = false, bounds(PUT_CHILD, left)));
    breaks("the record last", without(|rules| rules.record_first = false, restart(&[1, 2])));
    breaks("the old marker", without(|rules| rules.barrier_anew = false, restart(&[2])));
    breaks("the marker before the last old read", without(|rules| rules.old_reads_first = false, apart));
}

#[test]
fn a_builder_with_other_ids_leaves_no_orphan() {
    let ids = |transactions, left| Bounds { restart_with: &[1, 2], other_ids: true, ..bounds(transactions, left) };
    holds("swap", all(ids(PUT_CHILD, Left { unknown: 1, forget: 1, swap: 1, ..NONE })));
    holds("swap and kill -9", all(ids(&[&[Root(1)]], Left { crash: 1, unknown: 1, forget: 1, swap: 1, ..NONE })));
    let answers = ids(PUT_CHILD, Left { unknown: 1, swap: 1, ..NONE });
    breaks("the sweep does not wait for answers", without(|rules| rules.sweep_after_answers = false, answers));
    let window = ids(PUT_CHILD, Left { crash: 1, swap: 1, ..NONE });
    breaks("the sweep does not wait for the window", without(|rules| rules.sweep_after_window = false, window));
    let reports = ids(&[&[Root(1)]], Left { crash: 1, unknown: 1, swap: 1, ..NONE });
    breaks("the sweep does not wait for reports", without(|rules| rules.sweep_after_reports = false, reports));
}

#[test]
fn a_sweep_may_take_the_place_of_what_is_remembered() {
    let left = Left { crash: 1, unknown: 1, forget: 1, hand_over: 1, ..NONE };
    holds("handed over", all(bounds(PUT_DELETE, left)));
    let crash = bounds(PUT_DELETE, Left { unknown: 0, ..left });
    breaks("the sweep does not wait for the window", without(|rules| rules.sweep_after_window = false, crash));
}

/// Minutes: `cargo test --test model -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes; the same with smaller bounds is above"]
fn wider_bounds_show_the_same() {
    let left = Left { crash: 1, unknown: 1, forget: 1, ..NONE };
    let two = |transactions, left| Bounds { restart_with: &[1, 2], ..bounds(transactions, left) };
    holds("handed over", all(bounds(CHILD_PUT_DELETE, Left { other: 1, hand_over: 1, ..left })));
    holds("swap", all(two(PUT_DELETE, Left { swap: 1, ..left })));
    holds("other ids", all(Bounds { other_ids: true, ..two(PUT_CHILD, Left { swap: 1, ..left }) }));
    holds("put, child, delete", all(bounds(PUT_CHILD_DELETE, Left { crash: 2, unknown: 2, forget: 2, ..left })));
}

/// Where the pages ask for more than is needed, or a sink has less to give.
#[test]
fn what_is_not_needed() {
    let strict = |rules: &mut Rules| rules.equal_wins = false;
    let left = Left { crash: 1, unknown: 1, forget: 1, ..NONE };
    holds("equal versions lose (external)", without(strict, bounds(PUT_DELETE_PUT, left)));
    let swap = Bounds { restart_with: &[1, 2], ..bounds(&[&[Root(1)]], Left { crash: 1, swap: 1, ..left }) };
    holds("equal versions lose, swap", without(strict, swap));
    holds("no versions, no faults (ndjson)", without(|rules| rules.versions = false, bounds(PUT_CHILD_DELETE, NONE)));
    let remembering = bounds(PUT_CHILD_DELETE, Left { crash: 1, ..NONE });
    holds("two hands, no deletion forgotten", without(|rules| rules.one_hand = false, remembering));
    let at_once = bounds(PUT_CHILD, Left { swap: 1, unknown: 1, ..NONE });
    holds("old reads after the marker, stamped at once", without(|rules| rules.old_reads_first = false, at_once));
    let final_all_the_same = bounds(CHILD_PUT_DELETE, Left { other: 1, unknown: 2, forget: 1, ..NONE });
    holds(
        "a due look with an unknown outcome",
        without(|rules| rules.unknown_is_not_final = false, final_all_the_same),
    );
}
