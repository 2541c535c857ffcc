//! Between the words of the crate and the generated types. Columns are moved, never copied cell by cell.

use super::bindings::docmill::builder::types as wit;
use super::json_rows::json_rows;
use crate::model::{Affected, Cells, Column, Query, RowForm, Rows, Texts};

/// Rows in the form that the guest asked for.
pub(super) fn rowset(rows: Rows, form: RowForm) -> wit::Rowset {
    match form {
        RowForm::Columns => wit::Rowset::Columns(wit::Table {
            count: rows.count(),
            columns: rows.into_columns().into_iter().map(column).collect(),
        }),
        RowForm::Json => wit::Rowset::Json(json_rows(&rows)),
    }
}

fn column(column: Column) -> wit::Column {
    let texts = |Texts { bytes, ends }| wit::Texts { bytes, ends };
    let cells = match column.cells {
        Cells::Booleans(cells) => wit::Cells::Booleans(cells),
        Cells::Integers(cells) => wit::Cells::Integers(cells),
        Cells::Floats(cells) => wit::Cells::Floats(cells),
        Cells::Numerics(cells) | Cells::Texts(cells) => wit::Cells::Texts(texts(cells)),
        Cells::Json(cells) => wit::Cells::Json(texts(cells)),
        Cells::Binary(cells) => wit::Cells::Binary(texts(cells)),
    };
    wit::Column { name: column.name, nulls: column.nulls, cells }
}

/// What the guest wants to run.
pub(super) fn queries(queries: Vec<wit::Query>) -> Vec<Query> {
    let query = |wit::Query { name, params }| Query { name, params };
    queries.into_iter().map(query).collect()
}

/// What the guest says is affected.
pub(super) fn affected(affected: wit::Affected) -> Affected {
    Affected { ids: affected.ids, queries: queries(affected.queries) }
}
