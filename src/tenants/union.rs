//! The tables that several pipelines capture together: of each, the keys and columns of all of them.

use std::collections::BTreeMap;

use crate::edges::CapturedTable;
use crate::model::{Columns, TableName};

/// What must be captured for all of these, in the order of the tables' names.
pub(super) fn union<'a>(tables: impl Iterator<Item = &'a CapturedTable>) -> Vec<CapturedTable> {
    let mut all: BTreeMap<&TableName, CapturedTable> = BTreeMap::new();
    for table in tables {
        let Some(have) = all.get_mut(&table.table) else {
            all.insert(&table.table, table.clone());
            continue;
        };
        merge(&mut have.keys, &table.keys);
        match (&mut have.columns, &table.columns) {
            (Columns::Listed(have), Columns::Listed(more)) => merge(have, more),
            (columns, Columns::Any) => *columns = Columns::Any,
            (Columns::Any, Columns::Listed(_)) => {}
        }
    }
    all.into_values().collect()
}

fn merge(have: &mut Vec<String>, more: &[String]) {
    for column in more {
        if !have.contains(column) {
            have.push(column.clone());
        }
    }
}

/// Whether what is captured holds all that these need.
pub(super) fn covers(captured: &[CapturedTable], tables: &[CapturedTable]) -> bool {
    let all = |have: &[String], wanted: &[String]| wanted.iter().all(|column| have.contains(column));
    tables.iter().all(|table| {
        captured.iter().any(|have| {
            have.table == table.table
                && all(&have.keys, &table.keys)
                && match (&have.columns, &table.columns) {
                    (Columns::Any, _) => true,
                    (Columns::Listed(_), Columns::Any) => false,
                    (Columns::Listed(have), Columns::Listed(wanted)) => all(have, wanted),
                }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(keys: &[&str], columns: Columns) -> CapturedTable {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        CapturedTable { table: TableName::new("public", "t"), keys, columns }
    }

    #[test]
    fn what_is_captured_for_several_covers_each_of_them_and_no_more() {
        let listed = |columns: &[&str]| Columns::Listed(columns.iter().map(|column| (*column).to_owned()).collect());
        let (one, other) = (table(&["id"], listed(&["a"])), table(&["code", "id"], listed(&["b"])));
        let both = union([&one, &other].into_iter());
        assert_eq!(both, [table(&["id", "code"], listed(&["a", "b"]))]);
        assert!(covers(&both, std::slice::from_ref(&one)) && covers(&both, &[other]));
        assert!(!covers(std::slice::from_ref(&one), &both) && !covers(&both, &[table(&["id"], Columns::Any)]));
        assert!(!covers(&[], std::slice::from_ref(&one)) && covers(&[], &[]));
        assert_eq!(union([&one, &table(&[], Columns::Any)].into_iter()), [table(&["id"], Columns::Any)]);
    }
}
