//! What the model of one document holds: the source's log, the front half, the requests on their way, the index, the
//! late window, the change of builder, and what is still allowed to go wrong. Bytes only: there are millions of these.

use crate::list::List;

/// No document.
pub const ABSENT: u8 = 0;

/// A transaction of the source: what it writes, row by row.
pub type Transaction = &'static [Write];

/// One row written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// The root row is there, with this value (1 to 3).
    Root(u8),
    /// The child row is there, with this value (1 to 3).
    Child(u8),
    /// The root row is gone.
    NoRoot,
    /// The root's table is emptied: no row says so, only a request for a pass.
    Truncate,
}

/// An entry of the log: its place, from 1, is its position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Entry {
    #[default]
    Unused,
    /// The commit of this transaction.
    Commit(u8),
    /// A marker: the commit of a transaction that only says so.
    Marker,
}

/// A batch that the watermark has not passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Batch {
    /// The position that it completes, or 0.
    pub end: u8,
    pub phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Its document waits for a hand.
    #[default]
    Wanted,
    /// That task is for it.
    Held(u8),
    /// Written, and its document is remembered: not confirmed.
    Kept,
    Done,
}

/// An assembly of the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Task {
    pub stage: Stage,
    pub builder: u8,
    pub label: u8,
    /// What was read, or what was answered.
    pub content: u8,
    /// It is for the pass, too.
    pub pass: bool,
    /// A request of it had no known outcome.
    pub unknown: bool,
    /// Made after the deadline of the remembered document.
    pub due: bool,
    /// Made while a window was open.
    pub window: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    #[default]
    Free,
    /// The builder is chosen, the label is not taken.
    Unstamped,
    /// The label is taken, nothing is read.
    Made,
    /// Read, and the label is not taken (without the rule).
    Read,
    Sent,
    /// The server answered; the front half does not know yet.
    Answered,
}

/// A request on its way to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Request {
    pub version: u8,
    pub content: u8,
    pub owner: Owner,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// Nobody waits for it any more, and the late window that covers it is open.
    #[default]
    Late,
    /// That task waits for the answer.
    Task(u8),
    /// That task gave it up and has not reported yet.
    GivenUp(u8),
}

/// What the index holds, and the version that it remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Index {
    pub version: u8,
    pub content: u8,
}

/// Whether the document is remembered because it was absent while a window was open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Look {
    #[default]
    None,
    Remembered,
    /// The same, and a later late request is not covered by its deadline (without the rule).
    Overtaken,
    /// Its deadline has passed: to be assembled once more.
    Due,
}

/// The barrier of a change of builder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Barrier {
    #[default]
    None,
    /// The marker is still to be written.
    Unmarked,
    /// The marker is at this position and was not published yet.
    Marked(u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pass {
    #[default]
    None,
    Todo,
    /// A task of it is under way.
    Running,
    /// Its document is remembered.
    Kept,
}

/// The durable record of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    pub builder: u8,
    pub pending: bool,
    pub marked: bool,
    /// It is a sweep alone, of what was remembered.
    pub held: bool,
}

/// How often each thing may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Left {
    pub crash: u8,
    pub unknown: u8,
    pub forget: u8,
    pub swap: u8,
    /// An outcome of another document is unknown.
    pub other: u8,
    pub clean: u8,
    pub give_back: u8,
    pub hand_over: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// Transactions whose commit record is in the log.
    pub begun: u8,
    pub log: List<Entry, 6>,
    /// Which entries snapshots show, by bits.
    pub visible: u8,
    /// Entries that capture published: the label.
    pub published: u8,
    /// Entries that are wholly in batches, and rows of the next one that are.
    pub taken: u8,
    pub rows: u8,
    pub batches: List<Batch, 5>,
    pub tasks: [Task; 2],
    pub net: List<Request, 5>,
    pub index: Index,
    pub window: bool,
    pub look: Look,
    pub written: u8,
    pub confirmed: u8,
    pub builder: u8,
    pub barrier: Barrier,
    /// The marker of the pass: what is written at or above it the sweep leaves alone.
    pub fresh: u8,
    pub pass: Pass,
    pub record: Record,
    /// Durable: the last shutdown was clean.
    pub clean: bool,
    pub left: Left,
}

impl State {
    pub fn shows(&self, position: u8) -> bool {
        self.visible >> (position - 1) & 1 == 1
    }

    /// Sorted, so that the order in which requests were sent makes no two states of one.
    pub fn send(&mut self, request: Request) {
        self.net.push(request);
        self.net.sort_unstable();
    }

    /// The watermark goes over the batches that are done.
    pub fn advance(&mut self) {
        while self.batches.first().is_some_and(|batch| batch.phase == Phase::Done) {
            let end = self.batches.remove(0).end;
            self.written = self.written.max(end);
        }
    }
}

/// What a document is made of, in one byte.
pub fn content(builder: u8, root: u8, child: u8) -> u8 {
    builder * 16 + root * 4 + child
}
