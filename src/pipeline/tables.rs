//! Which tables a declaration needs captured, and which columns of them: the union over its indexes.

use std::collections::BTreeMap;

use crate::edges::CapturedTable;
use crate::model::{Columns, Declaration, TableName};

/// The tables to capture for `declaration` in a pipeline whose schema is `schema`, in the order of their names.
pub fn captured_tables(declaration: &Declaration, schema: &str) -> Vec<CapturedTable> {
    let mut tables: BTreeMap<TableName, CapturedTable> = BTreeMap::new();
    for table in declaration.indexes.iter().flat_map(|index| &index.tables) {
        let name = table.name_in(schema);
        let captured = tables.entry(name.clone()).or_insert_with(|| CapturedTable {
            table: name,
            keys: Vec::new(),
            columns: Columns::Listed(Vec::new()),
        });
        captured.add(&table.keys, &table.columns);
    }
    tables.into_values().collect()
}
