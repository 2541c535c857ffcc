//! Positions that go backwards: a fail-over to a server with a shorter log (a lagging standby, a restored backup), and
//! a source that crashes with asynchronous commit, where commits that reads showed are gone and their positions are
//! used again. One document, whose content is the last commit; the fence is left out (`flow`), a read shows everything
//! published or more.
//!
//! Rules:
//! - a version is a history number and a label; the number goes up when the source is another one or its log went back;
//! - it is durable before the first write under it;
//! - reads go to the server that the stream comes from;
//! - another history assembles everything again;
//! - a source that crashed and may have lost commits is noticed, and everything is assembled again behind a marker;
//! - the server streams only what is on its disk (PostgreSQL does: its log is decoded up to the flush position), so
//!   that a commit that was *published* is never lost. Without that, the pass after a crash needs another history, too.

use crate::check::{Protocol, breaks, holds};
use crate::list::List;

#[derive(Clone, Copy)]
struct History {
    rules: Rules,
    commits: u8,
    fail_overs: u8,
    source_crashes: u8,
    crashes: u8,
    /// A fail-over may lose the end of the log.
    lags: bool,
}

#[derive(Clone, Copy)]
struct Rules {
    number_goes_up: bool,
    number_first: bool,
    reads_follow: bool,
    everything_again: bool,
    crash_is_noticed: bool,
    crash_barrier: bool,
    only_flushed: bool,
    /// Not a rule of ours as long as `only_flushed` holds.
    crash_is_another_history: bool,
}

const ALL: Rules = Rules {
    number_goes_up: true,
    number_first: true,
    reads_follow: true,
    everything_again: true,
    crash_is_noticed: true,
    crash_barrier: true,
    only_flushed: true,
    crash_is_another_history: false,
};

/// A marker in a log: a commit that writes nothing.
const MARKER: u8 = 99;

type Log = List<u8, 5>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    logs: [Log; 3],
    /// The server that is the source, and how often it crashed.
    server: u8,
    source_crashes: u8,
    /// What capture follows; `None` while it is lost.
    follows: Option<(u8, u8)>,
    published: u8,
    confirmed: u8,
    /// Entries of the source's log that are on its disk, as far as we saw.
    flushed: u8,
    /// The document is wanted by a live change; by the pass.
    wanted: bool,
    pass: Pass,
    number: u8,
    /// The marker that the pass waits for; 0: none.
    barrier: u8,
    /// Durable: the history, and the server and its crashes that it belongs to; whether a pass is to be done.
    record: Record,
    net: List<Request, 2>,
    index: ((u8, u8), u8),
    left: Left,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Pass {
    #[default]
    None,
    Todo,
    Sent,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Record {
    number: u8,
    source: (u8, u8),
    pass: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Request {
    version: (u8, u8),
    content: u8,
    awaited: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Left {
    commits: u8,
    fail_overs: u8,
    source_crashes: u8,
    crashes: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Commit,
    /// To a server whose log has so many entries.
    FailOver(u8),
    /// The log's entries from there on are gone.
    SourceCrash(u8),
    Connect,
    Publish,
    Mark,
    /// The document is read on that server, as of so many entries.
    Send(u8, u8),
    Apply(u8),
    Lose(u8),
    Confirm,
    PassEnds,
    Crash,
}

impl History {
    fn log<'a>(&self, s: &'a State, server: u8) -> &'a Log {
        &s.logs[usize::from(server)]
    }

    fn source(&self, s: &State) -> (u8, u8) {
        (s.server, s.source_crashes)
    }

    fn follows(&self, s: &State) -> bool {
        s.follows == Some(self.source(s))
    }

    fn awaits(&self, s: &State) -> bool {
        s.net.iter().any(|request| request.awaited)
    }

    /// Everything that was committed is delivered, and nothing is in flight.
    fn is_quiet(&self, s: &State) -> bool {
        self.follows(s)
            && usize::from(s.published) == self.log(s, s.server).len()
            && !s.wanted
            && s.net.is_empty()
            && s.pass == Pass::None
    }

    fn connect(&self, s: &mut State) {
        let source = self.source(s);
        let other = s.record.source.0 != source.0;
        let crashed = !other && s.record.source.1 != source.1 && self.rules.crash_is_noticed;
        s.follows = Some(source);
        let end = self.log(s, source.0).len() as u8;
        s.confirmed = s.confirmed.min(end);
        s.published = s.confirmed;
        forget_answers(s);
        s.wanted = false;
        s.barrier = 0;
        s.number = s.record.number;
        let up = other && self.rules.number_goes_up || crashed && self.rules.crash_is_another_history;
        if up {
            s.number += 1;
        }
        let again = other && self.rules.everything_again || crashed;
        s.pass = if again || s.record.pass { Pass::Todo } else { Pass::None };
        if s.pass == Pass::Todo && !up && self.rules.crash_barrier {
            s.barrier = MARKER;
        }
        if again || self.rules.number_first {
            let number = if self.rules.number_first { s.number } else { s.record.number };
            let noticed = if self.rules.number_first { source } else { s.record.source };
            s.record = Record { number, source: noticed, pass: s.record.pass || again };
        }
    }
}

/// Nobody waits for what is in flight any more.
fn forget_answers(s: &mut State) {
    s.net.iter_mut().for_each(|request| request.awaited = false);
    s.net.sort_unstable();
}

/// The content as of the first `entries` of a log.
fn shows(log: &Log, entries: u8) -> u8 {
    log[..usize::from(entries)].iter().rev().copied().find(|commit| *commit != MARKER).unwrap_or_default()
}

impl Protocol for History {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let left = Left {
            commits: self.commits,
            fail_overs: self.fail_overs,
            source_crashes: self.source_crashes,
            crashes: self.crashes,
        };
        State {
            number: 1,
            record: Record { number: 1, ..Record::default() },
            follows: Some((0, 0)),
            left,
            ..State::default()
        }
    }

    fn steps(&self, s: &State, steps: &mut Vec<Step>) {
        let end = self.log(s, s.server).len() as u8;
        if s.left.commits > 0 {
            steps.push(Step::Commit);
        }
        if s.left.fail_overs > 0 {
            let shortest = if self.lags { 0 } else { end };
            steps.extend((shortest..=end).map(Step::FailOver));
        }
        if s.left.source_crashes > 0 {
            let flushed = if self.rules.only_flushed { s.flushed } else { 0 };
            steps.extend((flushed..=end).map(Step::SourceCrash));
        }
        if s.left.crashes > 0 {
            steps.push(Step::Crash);
        }
        if self.follows(s) {
            if s.published < end {
                steps.push(Step::Publish);
            }
            if s.barrier == MARKER && self.log(s, s.server).has_room() {
                steps.push(Step::Mark);
            }
            let behind = s.barrier == 0 || s.published >= s.barrier;
            if s.net.has_room() && (s.wanted || s.pass == Pass::Todo && behind) && !self.awaits(s) {
                steps.extend((s.published..=end).map(|entries| Step::Send(s.server, entries)));
                if !self.rules.reads_follow && s.server > 0 {
                    let server = s.server - 1;
                    steps.push(Step::Send(server, self.log(s, server).len() as u8));
                }
            }
            let idle = !s.wanted && !self.awaits(s);
            // A pass does not hold up the stream: it is recorded.
            if s.confirmed < s.published && idle {
                steps.push(Step::Confirm);
            }
            if s.pass == Pass::Sent && !self.awaits(s) {
                steps.push(Step::PassEnds);
            }
        } else {
            steps.push(Step::Connect);
        }
        for (place, request) in (0..).zip(s.net.iter()) {
            steps.push(Step::Apply(place));
            if !request.awaited {
                steps.push(Step::Lose(place));
            }
        }
    }

    fn after(&self, before: &State, step: &Step) -> State {
        let mut s = *before;
        match *step {
            Step::Commit => {
                s.left.commits -= 1;
                s.logs[usize::from(s.server)].push(self.commits - s.left.commits);
            }
            Step::FailOver(entries) => {
                s.left.fail_overs -= 1;
                let log = *self.log(&s, s.server);
                s.server += 1;
                (s.source_crashes, s.flushed) = (0, entries);
                s.logs[usize::from(s.server)] = first(&log, entries);
            }
            Step::SourceCrash(entries) => {
                s.left.source_crashes -= 1;
                s.source_crashes += 1;
                s.flushed = entries;
                s.logs[usize::from(s.server)] = first(self.log(before, s.server), entries);
            }
            Step::Connect => self.connect(&mut s),
            Step::Publish => {
                s.published += 1;
                s.flushed = s.flushed.max(s.published);
                s.wanted |= self.log(&s, s.server)[usize::from(s.published - 1)] != MARKER;
            }
            Step::Mark => {
                s.logs[usize::from(s.server)].push(MARKER);
                s.barrier = self.log(&s, s.server).len() as u8;
            }
            Step::Send(server, entries) => {
                let content = shows(self.log(&s, server), entries);
                s.net.push(Request { version: (s.number, s.published), content, awaited: true });
                s.net.sort_unstable();
                s.wanted = false;
                if s.pass == Pass::Todo && (s.barrier == 0 || s.barrier != MARKER && s.published >= s.barrier) {
                    s.pass = Pass::Sent;
                }
            }
            Step::Apply(place) => {
                let request = s.net.remove(usize::from(place));
                if request.version >= s.index.0 {
                    s.index = (request.version, request.content);
                }
            }
            Step::Lose(place) => {
                s.net.remove(usize::from(place));
            }
            Step::Confirm => s.confirmed = s.published,
            Step::PassEnds => {
                (s.pass, s.barrier) = (Pass::None, 0);
                s.record = Record { number: s.number, source: s.follows.unwrap_or_default(), pass: false };
            }
            Step::Crash => {
                s.left.crashes -= 1;
                s.follows = None;
                forget_answers(&mut s);
            }
        }
        s
    }

    fn ended(&self, s: &State) -> bool {
        s.left.commits == 0 && self.is_quiet(s)
    }

    fn wrong(&self, s: &State) -> Option<String> {
        let end = self.log(s, s.server).len() as u8;
        let want = shows(self.log(s, s.server), end);
        let (version, found) = s.index;
        (found != want && self.is_quiet(s))
            .then(|| format!("the index has commit {found} (version {version:?}), the row is of commit {want}"))
    }

    fn words(&self, s: &State, step: &Step) -> String {
        let end = self.log(s, s.server).len();
        match *step {
            Step::Commit => {
                let commit = self.commits - s.left.commits + 1;
                format!("commit {commit} on server {} at {}", s.server, end + 1)
            }
            Step::FailOver(entries) => {
                format!("fail-over to server {}: it has {entries} of {end} entries", s.server + 1)
            }
            Step::SourceCrash(entries) => format!("the source crashes: {entries} of {end} entries are left"),
            Step::Connect => {
                let after = self.after(s, step);
                let pass = if after.pass == Pass::Todo { ", everything is to be assembled again" } else { "" };
                let durable = if after.record.number == after.number { "durable" } else { "not durable" };
                format!("docmill connects to server {}: history {} ({durable}){pass}", s.server, after.number)
            }
            Step::Publish => format!("{} is published", s.published + 1),
            Step::Mark => format!("a marker is written at {}", end + 1),
            Step::Send(server, entries) => {
                let content = shows(self.log(s, server), entries);
                let pass = if self.after(s, step).pass != s.pass { ", for the pass" } else { "" };
                let version = (s.number, s.published);
                format!(
                    "the document is read on server {server}: commit {content}; sent with version {version:?}{pass}"
                )
            }
            Step::Apply(place) => {
                let Request { version, content, awaited } = s.net[usize::from(place)];
                let outcome = if version >= s.index.0 { "written" } else { "409" };
                let late = if awaited { "a" } else { "a LATE" };
                format!("the server applies {late} request, commit {content}, version {version:?}: {outcome}")
            }
            Step::Lose(place) => {
                format!("the late request with version {:?} is lost", s.net[usize::from(place)].version)
            }
            Step::Confirm => format!("the slot is confirmed at {}", s.published),
            Step::PassEnds => "the pass ends".to_owned(),
            Step::Crash => "kill -9".to_owned(),
        }
    }
}

fn first(log: &Log, entries: u8) -> Log {
    let mut kept = Log::default();
    log[..usize::from(entries)].iter().for_each(|commit| kept.push(*commit));
    kept
}

fn history(rules: Rules, commits: u8, fail_overs: u8, source_crashes: u8, crashes: u8) -> History {
    History { rules, commits, fail_overs, source_crashes, crashes, lags: true }
}

#[test]
fn a_source_whose_positions_go_back_begins_another_history() {
    holds("two fail-overs, kill -9", history(ALL, 2, 2, 0, 1));
    breaks("the number stays", history(Rules { number_goes_up: false, ..ALL }, 2, 1, 0, 0));
    breaks("the number is durable only after the pass", history(Rules { number_first: false, ..ALL }, 2, 2, 0, 0));
    breaks("a read on the old server", history(Rules { reads_follow: false, ..ALL }, 2, 1, 0, 0));
    breaks("nothing is assembled again", history(Rules { everything_again: false, ..ALL }, 2, 1, 0, 0));
}

#[test]
fn a_planned_fail_over_that_loses_nothing_would_need_no_other_history() {
    let rules = Rules { number_goes_up: false, ..ALL };
    holds("nothing lost", History { lags: false, ..history(rules, 2, 2, 0, 1) });
}

#[test]
fn commits_that_a_crashed_source_showed_and_lost_do_not_stay() {
    holds("source crash, kill -9", history(ALL, 3, 0, 1, 1));
    breaks("the crash is not noticed", history(Rules { crash_is_noticed: false, ..ALL }, 2, 0, 1, 0));
    breaks("the pass has no barrier", history(Rules { crash_barrier: false, ..ALL }, 2, 0, 1, 0));
    let ahead = Rules { only_flushed: false, ..ALL };
    breaks("published before it is on disk, same history", history(ahead, 2, 0, 1, 0));
    holds(
        "published before it is on disk, another history",
        history(Rules { crash_is_another_history: true, ..ahead }, 2, 0, 1, 1),
    );
}
