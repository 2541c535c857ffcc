//! Whether a table can be captured: what kind it is, and whether its replica identity tells what `resolve` needs of old
//! rows. Plain rules over [`TableFacts`]; remedies are only those that are possible.
//!
//! A table that is published without a usable replica identity makes the application's own UPDATE and DELETE fail, so this
//! is asked before it enters the publication.

use std::collections::BTreeSet;

use super::catalog::{Identity, LeafFacts, TableFacts};
use super::problem::Problem;
use super::quote;
use crate::edges::CapturedTable;
use crate::fail_points::{Rule, off};
use crate::model::{Columns, TableName};

/// Everything about `captured` that keeps its changes from being captured.
pub(super) fn problems(captured: &CapturedTable, facts: Option<&TableFacts>) -> Vec<Problem> {
    let problems = shape_problems(captured, facts);
    match facts {
        Some(facts) if problems.is_empty() => identity_problems(captured, facts),
        _ => problems,
    }
}

/// What of it no replica identity of the table would help.
pub(super) fn shape_problems(captured: &CapturedTable, facts: Option<&TableFacts>) -> Vec<Problem> {
    let subject = format!("table {}", captured.table);
    let Some(facts) = facts else {
        return vec![Problem::new(subject, "there is no such table, or the capture role may not see it")];
    };
    if let Some(found) = unfit(facts.kind, facts.persistence) {
        return vec![Problem::new(subject, found)];
    }
    if facts.inherited {
        let found = "tables inherit from it, and changes of their rows come under their own names";
        return vec![
            Problem::new(subject, found).with_remedy("-- make partitions of them, or declare them one by one"),
        ];
    }
    let mut problems = Vec::new();
    let listed = match &captured.columns {
        Columns::Listed(columns) => columns.as_slice(),
        Columns::Any => &[],
    };
    for name in captured.keys.iter().chain(listed) {
        match facts.columns.iter().find(|column| column.name == *name) {
            None => problems.push(Problem::new(&subject, format!("it has no column {name}"))),
            Some(column) if column.generated => problems.push(
                Problem::new(&subject, format!("column {name} is generated, and its values are never sent"))
                    .with_remedy(format!("-- declare the columns that {name} is computed from instead")),
            ),
            Some(_) => {}
        }
    }
    problems
}

fn identity_problems(captured: &CapturedTable, facts: &TableFacts) -> Vec<Problem> {
    facts.leaves.iter().filter_map(|leaf| leaf_problem(captured, facts, leaf)).collect()
}

/// Whether old rows of the table are known in full, on every leaf.
pub(super) fn is_full(facts: &TableFacts) -> bool {
    facts.identity == Identity::Full && facts.leaves.iter().all(|leaf| leaf.identity == Identity::Full)
}

/// The tables of which old rows do not tell all declared keys, on some leaf.
pub(super) fn lost(tables: &[CapturedTable], catalog: &[Option<TableFacts>]) -> BTreeSet<TableName> {
    let tables = tables.iter().zip(catalog).filter_map(|(captured, facts)| Some((captured, facts.as_ref()?)));
    tables
        .filter(|(captured, facts)| !identity_problems(captured, facts).is_empty())
        .map(|(captured, _)| captured.table.clone())
        .collect()
}

/// The declared keys that may be null.
pub(super) fn nullable(tables: &[CapturedTable], catalog: &[Option<TableFacts>]) -> BTreeSet<(TableName, String)> {
    let tables = tables.iter().zip(catalog).filter_map(|(captured, facts)| Some((captured, facts.as_ref()?)));
    tables
        .flat_map(|(captured, facts)| {
            let nullable =
                facts.columns.iter().filter(|column| !column.not_null && captured.keys.contains(&column.name));
            nullable.map(|column| (captured.table.clone(), column.name.clone()))
        })
        .collect()
}

fn unfit(kind: char, persistence: char) -> Option<&'static str> {
    match (kind, persistence) {
        ('r' | 'p', 'p') => None,
        ('r' | 'p', 'u') => Some("it is unlogged, and its changes are not in the log"),
        ('r' | 'p', _) => Some("it is temporary, and its changes are not in the log"),
        ('v', _) => Some("it is a view; declare the tables under it"),
        ('m', _) => Some("it is a materialized view; declare the tables under it"),
        ('f', _) => Some("it is a foreign table, whose changes happen elsewhere"),
        _ => Some("it is not a table"),
    }
}

fn leaf_problem(captured: &CapturedTable, facts: &TableFacts, leaf: &LeafFacts) -> Option<Problem> {
    let own = leaf.table == captured.table;
    let subject = match own {
        true => format!("table {}", captured.table),
        false => format!("partition {} of table {}", leaf.table, captured.table),
    };
    if let Some(found) = unfit(leaf.kind, leaf.persistence) {
        return Some(Problem::new(subject, found));
    }
    let full = format!("alter table {} replica identity full;", quote::table(&leaf.table));
    // Old rows of a partition are sent as full when the root is, whatever the partition's own identity left out.
    if facts.identity == Identity::Full && leaf.identity != Identity::Full {
        let found = "its replica identity is not full while its root's is, so that old rows arrive with nulls in them";
        return Some(Problem::new(subject, found).with_remedy(full));
    }
    let known = match &leaf.identity {
        Identity::Full => return None,
        Identity::Columns(columns) => columns.as_slice(),
        Identity::None => &[],
    };
    let missing: Vec<&str> = captured.keys.iter().filter(|key| !known.contains(key)).map(String::as_str).collect();
    let found = match (&leaf.identity, missing.is_empty()) {
        (Identity::None, _) => {
            "it has no replica identity: publishing it would make its updates and deletes fail".to_owned()
        }
        (_, true) => return None,
        (_, false) if off(Rule::Keys) => return None,
        (_, false) => format!(
            "its replica identity ({}) lacks the declared key {}, whose old values must be known",
            known.join(", "),
            missing.join(", ")
        ),
    };
    let remedy = match index_remedy(captured, facts, leaf) {
        Some(index) => format!("{full} -- or, cheaper: {index}"),
        None => full,
    };
    Some(Problem::new(subject, found).with_remedy(remedy))
}

/// A unique index over the primary key and the declared keys, where all of them are NOT NULL.
fn index_remedy(captured: &CapturedTable, facts: &TableFacts, leaf: &LeafFacts) -> Option<String> {
    if leaf.primary_key.is_empty() {
        return None;
    }
    let mut columns: Vec<&str> = leaf.primary_key.iter().map(String::as_str).collect();
    for key in &captured.keys {
        if !columns.contains(&key.as_str()) {
            columns.push(key);
        }
    }
    let not_null = |name: &&str| facts.columns.iter().any(|column| column.name == **name && column.not_null);
    if !columns.iter().all(not_null) {
        return None;
    }
    let TableName { name, .. } = &leaf.table;
    let index = quote::identifier(&format!("{}_docmill", name.chars().take(50).collect::<String>()));
    let table = quote::table(&leaf.table);
    Some(format!(
        "create unique index concurrently {index} on {table} ({}); alter table {table} replica identity using index {index};",
        quote::identifiers(columns)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::catalog::ColumnFacts;
    use super::*;

    fn captured(keys: &[&str]) -> CapturedTable {
        CapturedTable {
            table: TableName::new("public", "Orders"),
            keys: keys.iter().map(ToString::to_string).collect(),
            columns: Columns::Any,
        }
    }

    fn column(name: &str, not_null: bool) -> ColumnFacts {
        ColumnFacts { name: name.to_owned(), not_null, generated: false }
    }

    fn facts(identity: Identity) -> TableFacts {
        TableFacts {
            oid: 1,
            kind: 'r',
            persistence: 'p',
            root: None,
            inherited: false,
            identity: identity.clone(),
            columns: vec![column("id", true), column("user_id", true), column("note", false)],
            leaves: vec![LeafFacts {
                table: TableName::new("public", "Orders"),
                kind: 'r',
                persistence: 'p',
                identity,
                primary_key: vec!["id".to_owned()],
            }],
        }
    }

    fn by_key() -> Identity {
        Identity::Columns(vec!["id".to_owned()])
    }

    #[test]
    fn keys_inside_the_identity_need_nothing() {
        assert_eq!(problems(&captured(&["id"]), Some(&facts(by_key()))), []);
        assert_eq!(problems(&captured(&["note"]), Some(&facts(Identity::Full))), []);
    }

    #[test]
    fn an_index_is_only_offered_where_its_columns_are_not_null() {
        let remedy = |keys: &[&str]| {
            let problems = problems(&captured(keys), Some(&facts(by_key())));
            problems[0].remedy.clone().expect("a remedy")
        };
        assert_eq!(
            remedy(&["user_id"]),
            "alter table \"public\".\"Orders\" replica identity full; -- or, cheaper: create unique index concurrently \
             \"Orders_docmill\" on \"public\".\"Orders\" (\"id\", \"user_id\"); alter table \"public\".\"Orders\" replica \
             identity using index \"Orders_docmill\";"
        );
        assert_eq!(remedy(&["note"]), "alter table \"public\".\"Orders\" replica identity full;");
    }

    #[test]
    fn a_table_without_identity_is_refused_even_without_keys() {
        let problems = problems(&captured(&[]), Some(&facts(Identity::None)));
        assert!(problems[0].found.contains("updates and deletes fail"), "{problems:?}");
    }

    #[test]
    fn a_leaf_below_a_full_root_must_be_full() {
        let mut facts = facts(Identity::Full);
        facts.leaves[0].identity = by_key();
        assert!(problems(&captured(&["id"]), Some(&facts))[0].found.contains("nulls"));
        assert!(!is_full(&facts));
    }

    #[test]
    fn what_has_no_changes_in_the_log_is_refused() {
        for (kind, persistence) in [('v', 'p'), ('m', 'p'), ('f', 'p'), ('r', 'u'), ('r', 't'), ('S', 'p')] {
            let mut facts = facts(Identity::Full);
            (facts.kind, facts.persistence) = (kind, persistence);
            assert_eq!(problems(&captured(&["id"]), Some(&facts)).len(), 1, "{kind}{persistence}");
        }
    }
}
