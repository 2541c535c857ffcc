//! Keys: which columns' *old* values a change must carry so that it leads to every document it concerns.
//!
//! Rule: a changed row is resolved by its old and its new keys; a hop through another table reads the rows as they are
//! *then*. That misses nothing, provided that for each table on a path the columns by which it is joined *towards the
//! root* are in its replica identity (for the root: the columns that make the id). Not the columns of the other side,
//! not those of filters.
//!
//! | path | needed in the identity | not needed |
//! |---|---|---|
//! | leaf.fk -> root | leaf.fk | |
//! | leaf.m -> middle.code, middle.root -> root | leaf.m, middle.root | middle.code |
//! | root.p -> parent.code | parent.code | root.p |
//! | root.m -> middle.code, middle.p -> parent.code | middle.code, parent.code | root.m, middle.p |
//! | root <- junction(r, t) -> tag.code | junction.r, tag.code | junction.t |
//!
//! Rows move, go and come in transactions of one or two changes; each change is resolved at any moment after its
//! commit, in any order; what it leads to is assembled then (the versions let the newest assembly win: see `flow`).

use crate::check::{Protocol, breaks, holds};
use crate::list::List;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    LeafOfRoot,
    LeafOfMiddle,
    Parent,
    Grandparent,
    Junction,
}

use Shape::{Grandparent, Junction, LeafOfMiddle, LeafOfRoot, Parent};

/// Tables: root (two rows), middle (or junction) and leaf (or parent, or tag), one row each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Table {
    #[default]
    Root,
    Middle,
    Leaf,
}

/// A column: the table and its place (0 or 1).
type Column = (Table, usize);

const LEAF_KEY: Column = (Table::Leaf, 0);
const MIDDLE_CODE: Column = (Table::Middle, 0);
const MIDDLE_OTHER: Column = (Table::Middle, 1);
const ROOT_KEY: Column = (Table::Root, 0);

struct Resolve {
    shape: Shape,
    /// Columns whose old values changes carry, besides primary keys.
    identity: &'static [Column],
}

const CHANGES: u8 = 4;

/// Two columns; 0 is a value that nothing has.
type Row = Option<[u8; 2]>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Rows {
    roots: [Row; 2],
    middle: Row,
    leaf: Row,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Change {
    table: u8,
    row: u8,
    old: Row,
    new: Row,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    rows: Rows,
    changes: u8,
    /// A transaction that has one change and may get another.
    open: Option<Change>,
    /// Committed, and not resolved yet.
    pending: List<Change, 4>,
    documents: [Document; 2],
}

/// The value of what is joined, 0 where nothing is; there is one leaf.
type Document = Option<u8>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Begin(Table, u8, Row),
    Commit,
    CommitWith(Table, u8, Row),
    Resolve(u8),
}

impl Rows {
    fn get(&self, table: Table, row: u8) -> Row {
        match table {
            Table::Root => self.roots[usize::from(row)],
            Table::Middle => self.middle,
            Table::Leaf => self.leaf,
        }
    }

    fn set(&mut self, table: Table, row: u8, value: Row) {
        match table {
            Table::Root => self.roots[usize::from(row)] = value,
            Table::Middle => self.middle = value,
            Table::Leaf => self.leaf = value,
        }
    }
}

fn table_of(number: u8) -> Table {
    [Table::Root, Table::Middle, Table::Leaf][usize::from(number)]
}

impl Resolve {
    /// Document 1 or 2 (0 or 1 here), from the rows.
    fn document(&self, rows: &Rows, number: usize) -> Document {
        let root = rows.roots[number]?;
        let id = number as u8 + 1;
        let Some([key, value]) = rows.leaf else { return Some(0) };
        let middle = rows.middle.unwrap_or([9, 9]);
        let joined = match self.shape {
            LeafOfRoot => key == id,
            Parent => key == root[0],
            LeafOfMiddle | Junction => middle[1] == id && middle[0] == key,
            Grandparent => middle[0] == root[0] && middle[1] == key,
        };
        Some(if joined { value } else { 0 })
    }

    /// The documents that a change leads to, by bits, with hops through the rows as they are now.
    fn leads_to(&self, rows: &Rows, change: &Change) -> u8 {
        let table = table_of(change.table);
        if table == Table::Root {
            return 1 << change.row;
        }
        let old = change
            .old
            .map(|old| [0, 1].map(|place| if self.identity.contains(&(table, place)) { old[place] } else { 0 }));
        [old, change.new]
            .into_iter()
            .flatten()
            .map(|image| self.leads(rows, table, image))
            .fold(0, |all, some| all | some)
    }

    fn leads(&self, rows: &Rows, table: Table, image: [u8; 2]) -> u8 {
        let id = |id: u8| if id == 0 { 0 } else { 1 << (id - 1) };
        let roots_with = |key: u8| {
            let with = |number: &u8| key != 0 && rows.roots[usize::from(*number)].is_some_and(|root| root[0] == key);
            (0..2).filter(with).fold(0, |all, number| all | 1 << number)
        };
        let middle = rows.middle.unwrap_or([9, 9]);
        match (self.shape, table) {
            (LeafOfRoot, _) => id(image[0]),
            (Parent, _) => roots_with(image[0]),
            (LeafOfMiddle | Junction, Table::Middle) => id(image[1]),
            (LeafOfMiddle | Junction, _) if middle[0] == image[0] => id(middle[1]),
            (Grandparent, Table::Middle) => roots_with(image[0]),
            (Grandparent, _) if middle[1] == image[0] => roots_with(middle[0]),
            _ => 0,
        }
    }

    fn choices(&self, rows: &Rows) -> Vec<(Table, u8, Row)> {
        let pairs = |firsts: [u8; 2], seconds: [u8; 2]| {
            firsts.into_iter().flat_map(move |one| seconds.map(|two| Some([one, two])))
        };
        let mut choices = Vec::new();
        let by_key = matches!(self.shape, Parent | Grandparent);
        for row in 0..2 {
            let keys: &[u8] = if by_key { &[1, 2] } else { &[0] };
            choices.extend(keys.iter().map(|key| (Table::Root, row, Some([*key, 0]))));
            choices.push((Table::Root, row, None));
        }
        if !matches!(self.shape, LeafOfRoot | Parent) {
            choices.extend(pairs([1, 2], [1, 2]).chain([None]).map(|value| (Table::Middle, 0, value)));
        }
        choices.extend(pairs([1, 2], [7, 8]).chain([None]).map(|value| (Table::Leaf, 0, value)));
        choices.retain(|(table, row, value)| rows.get(*table, *row) != *value);
        choices
    }

    fn change(&self, s: &mut State, table: Table, row: u8, new: Row) -> Change {
        let old = s.rows.get(table, row);
        s.rows.set(table, row, new);
        s.changes += 1;
        Change { table: table as u8, row, old, new }
    }
}

impl Protocol for Resolve {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let by_key = matches!(self.shape, Parent | Grandparent);
        let roots = if by_key { [Some([1, 0]), Some([2, 0])] } else { [Some([0, 0]), Some([0, 0])] };
        let middle = if matches!(self.shape, LeafOfRoot | Parent) { None } else { Some([1, 1]) };
        let rows = Rows { roots, middle, leaf: Some([1, 7]) };
        let documents = [self.document(&rows, 0), self.document(&rows, 1)];
        State { rows, changes: 0, open: None, pending: List::default(), documents }
    }

    fn steps(&self, s: &State, steps: &mut Vec<Step>) {
        // While a transaction is open nothing else is looked at: its rows are not visible yet.
        if s.open.is_some() {
            steps.push(Step::Commit);
            if s.changes < CHANGES {
                steps.extend(
                    self.choices(&s.rows).into_iter().map(|(table, row, new)| Step::CommitWith(table, row, new)),
                );
            }
            return;
        }
        if s.changes < CHANGES {
            steps.extend(self.choices(&s.rows).into_iter().map(|(table, row, new)| Step::Begin(table, row, new)));
        }
        steps.extend((0..s.pending.len() as u8).map(Step::Resolve));
    }

    fn after(&self, before: &State, step: &Step) -> State {
        let mut s = *before;
        match *step {
            Step::Begin(table, row, new) => s.open = Some(self.change(&mut s, table, row, new)),
            Step::Commit => s.pending.push(s.open.take().unwrap_or_default()),
            Step::CommitWith(table, row, new) => {
                let second = self.change(&mut s, table, row, new);
                s.pending.push(s.open.take().unwrap_or_default());
                s.pending.push(second);
            }
            Step::Resolve(place) => {
                let change = s.pending.remove(usize::from(place));
                let found = self.leads_to(&s.rows, &change);
                for number in (0..2).filter(|number| found >> number & 1 == 1) {
                    s.documents[number] = self.document(&s.rows, number);
                }
            }
        }
        s.pending.sort_unstable();
        s
    }

    fn ended(&self, s: &State) -> bool {
        s.changes == CHANGES && s.open.is_none() && s.pending.is_empty()
    }

    fn wrong(&self, s: &State) -> Option<String> {
        if s.open.is_some() || !s.pending.is_empty() {
            return None;
        }
        let stale = (0..2).find(|number| s.documents[*number] != self.document(&s.rows, *number))?;
        let (found, want) = (s.documents[stale], self.document(&s.rows, stale));
        Some(format!("document {} shows {found:?}, the rows give {want:?}", stale + 1))
    }

    fn words(&self, s: &State, step: &Step) -> String {
        let tell = |table: Table, row: u8, new: Row| {
            let old = s.rows.get(table, row);
            let row = if table == Table::Root { format!(" {}", row + 1) } else { String::new() };
            format!("{table:?}{row} changes from {old:?} to {new:?}")
        };
        match *step {
            Step::Begin(table, row, new) => tell(table, row, new),
            Step::Commit => "commit".to_owned(),
            Step::CommitWith(table, row, new) => format!("{}, in the same transaction; commit", tell(table, row, new)),
            Step::Resolve(place) => {
                let change = &s.pending[usize::from(place)];
                let found = self.leads_to(&s.rows, change);
                let found: Vec<u8> = (1..=2).filter(|number| found >> (number - 1) & 1 == 1).collect();
                let Change { old, new, table, .. } = change;
                format!("the change of {:?} from {old:?} to {new:?} leads to documents {found:?}", table_of(*table))
            }
        }
    }
}

/// The columns that are needed, and all that are not.
const NEEDED: [(Shape, &[Column], &[Column]); 5] = [
    (LeafOfRoot, &[LEAF_KEY], &[]),
    (LeafOfMiddle, &[LEAF_KEY, MIDDLE_OTHER], &[MIDDLE_CODE]),
    (Parent, &[LEAF_KEY], &[ROOT_KEY]),
    (Grandparent, &[LEAF_KEY, MIDDLE_CODE], &[MIDDLE_OTHER, ROOT_KEY]),
    (Junction, &[LEAF_KEY, MIDDLE_OTHER], &[MIDDLE_CODE]),
];

#[test]
fn old_and_new_keys_towards_the_root_lead_to_every_document() {
    for (shape, identity, _) in NEEDED {
        holds(&format!("{shape:?}, identity {identity:?}"), Resolve { shape, identity });
    }
}

#[test]
fn every_column_that_is_needed_is_needed_whatever_else_is_there() {
    for (shape, needed, others) in NEEDED {
        for lacking in needed {
            let rest = needed.iter().filter(|column| *column != lacking).chain(others);
            let identity: &'static [Column] = rest.copied().collect::<Vec<_>>().leak();
            breaks(&format!("{shape:?}, identity {identity:?} without {lacking:?}"), Resolve { shape, identity });
        }
    }
}
