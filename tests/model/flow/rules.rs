//! The rules of the model of one document, each of which can be switched off, and the bounds within which it is
//! explored.

use super::state::{Left, Transaction};

/// What is held to. All of them are on in [`Rules::ALL`].
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A commit is published only when a snapshot shows it.
    pub fence: bool,
    /// The label is taken before the snapshot.
    pub label_first: bool,
    /// Writes carry versions.
    pub versions: bool,
    /// A write of an equal version is taken (`external_gte`); not a rule, the model shows that either will do.
    pub equal_wins: bool,
    /// The document is in one assembly at a time.
    pub one_hand: bool,
    /// Only the batch with a transaction's end completes it.
    pub end_marks: bool,
    /// A late window opens at every start that does not follow a clean shutdown.
    pub window_at_start: bool,
    /// A late window opens at every outcome that is unknown.
    pub window_at_unknown: bool,
    /// No request is applied after the window that covers it.
    pub window_outlasts: bool,
    /// A document that is absent while a window is open is remembered and assembled once more.
    pub second_look: bool,
    /// The batches of a remembered document are not confirmed.
    pub ack_waits: bool,
    /// The pass that met a remembered document does not go on.
    pub pass_waits: bool,
    /// Only a task that was *made* after the deadline is the second look; not one that is only reported after it.
    pub due_when_made: bool,
    /// A window that was open when the task was *made* counts, although it is closed when the task is reported.
    pub window_when_made: bool,
    /// An unknown outcome gives a remembered document of the same task a new deadline.
    pub unknown_moves_deadline: bool,
    /// A second look of which some request has no known outcome does not count.
    pub unknown_is_not_final: bool,
    /// A task that goes to another worker still knows of its unknown outcomes.
    pub lease_keeps_unknown: bool,
    /// A shutdown with a window open is not clean.
    pub clean_is_quiet: bool,
    /// The word of the clean shutdown is taken off before the first write.
    pub clean_is_taken_off: bool,
    /// The record of a pass is written before the first write of the new builder.
    pub record_first: bool,
    /// A pass begins behind a marker.
    pub barrier: bool,
    /// A pass that is resumed gets a new marker.
    pub barrier_anew: bool,
    /// The marker is written only when no read of the old builder is left to come.
    pub old_reads_first: bool,
    /// The sweep waits for the answers that the old builder still waits for.
    pub sweep_after_answers: bool,
    /// The sweep waits for the report of a task with an unknown outcome, whatever builder it is with now: its window
    /// opens only with the report.
    pub sweep_after_reports: bool,
    /// The sweep waits for the late window.
    pub sweep_after_window: bool,
}

impl Rules {
    pub const ALL: Self = Self {
        fence: true,
        label_first: true,
        versions: true,
        equal_wins: true,
        one_hand: true,
        end_marks: true,
        window_at_start: true,
        window_at_unknown: true,
        window_outlasts: true,
        second_look: true,
        ack_waits: true,
        pass_waits: true,
        due_when_made: true,
        window_when_made: true,
        unknown_moves_deadline: true,
        unknown_is_not_final: true,
        lease_keeps_unknown: true,
        clean_is_quiet: true,
        clean_is_taken_off: true,
        record_first: true,
        barrier: true,
        barrier_anew: true,
        old_reads_first: true,
        sweep_after_answers: true,
        sweep_after_reports: true,
        sweep_after_window: true,
    };
}

/// How far it is explored.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub transactions: &'static [Transaction],
    pub left: Left,
    /// Items in a batch at most.
    pub batch: u8,
    /// Batches may cut transactions; otherwise an item is a whole transaction.
    pub cut: bool,
    /// Builders that a restart may bring; none: the same.
    pub restart_with: &'static [u8],
    /// Builder 2 does not make this document.
    pub other_ids: bool,
    /// The builder is chosen first, the label is taken in a step of its own.
    pub stamp_apart: bool,
}

impl Bounds {
    pub const fn of(transactions: &'static [Transaction]) -> Self {
        let left = Left { crash: 0, unknown: 0, forget: 0, swap: 0, other: 0, clean: 0, give_back: 0, hand_over: 0 };
        Self { transactions, left, batch: 1, cut: false, restart_with: &[], other_ids: false, stamp_apart: false }
    }
}
