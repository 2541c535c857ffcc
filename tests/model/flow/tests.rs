//! What holds with all rules, and what breaks without each.

use super::rules::{Bounds, Rules};
use super::state::{Left, Transaction, Write};
use super::Flow;
use crate::check::{breaks, holds};

use Write::{Child, NoRoot, Root};

const NONE: Left = Left { crash: 0, unknown: 0, forget: 0, swap: 0, other: 0, clean: 0, give_back: 0 };

const PUT_DELETE: &[Transaction] = &[&[Root(1)], &[NoRoot]];
const PUT_CHILD_DELETE: &[Transaction] = &[&[Root(1)], &[Child(1)], &[NoRoot]];
const PUT_DELETE_PUT: &[Transaction] = &[&[Root(1)], &[NoRoot], &[Root(3)]];

fn flow(bounds: Bounds) -> Flow {
    Flow { rules: Rules::ALL, bounds }
}

#[test]
fn basics() {
    holds("basics", flow(Bounds { left: Left { crash: 2, unknown: 1, forget: 2, ..NONE }, ..Bounds::of(PUT_CHILD_DELETE) }));
}

#[test]
fn reinsert() {
    holds("reinsert", flow(Bounds { left: Left { crash: 2, unknown: 1, forget: 2, ..NONE }, ..Bounds::of(PUT_DELETE_PUT) }));
}

#[test]
fn other() {
    holds("other", flow(Bounds { left: Left { crash: 1, unknown: 2, forget: 2, other: 1, clean: 1, give_back: 1, ..NONE }, ..Bounds::of(PUT_DELETE) }));
}

#[test]
fn due() {
    let bounds = Bounds { left: Left { crash: 0, unknown: 1, forget: 1, ..NONE }, ..Bounds::of(PUT_DELETE) };
    breaks("due", Flow { rules: Rules { due_when_made: false, ..Rules::ALL }, bounds });
}
