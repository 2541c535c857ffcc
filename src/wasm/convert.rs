//! Between the words of the crate and the generated types. Columns are moved, not copied cell by cell.

use base64::Engine as _;
use serde_json::Value as Json;

use super::bindings::docmill::builder::types as wit;
use crate::model::{Affected, Cells, Column, Query, RowForm, Rows, Texts};

/// Rows in the form that the guest asked for.
pub(super) fn rowset(rows: Rows, form: RowForm) -> wit::Rowset {
    match form {
        RowForm::Columns => {
            let count = rows.count();
            wit::Rowset::Columns(wit::Table { count, columns: rows.into_columns().into_iter().map(column).collect() })
        }
        RowForm::Json => wit::Rowset::Json(json(&rows)),
    }
}

fn column(column: Column) -> wit::Column {
    let texts = |texts: Texts| wit::Texts { bytes: texts.bytes, ends: texts.ends };
    let cells = match column.cells {
        Cells::Booleans(cells) => wit::Cells::Booleans(cells),
        Cells::Integers(cells) => wit::Cells::Integers(cells),
        Cells::Floats(cells) => wit::Cells::Floats(cells),
        Cells::Texts(cells) => wit::Cells::Texts(texts(cells)),
        Cells::Json(cells) => wit::Cells::Json(texts(cells)),
        Cells::Binary(cells) => wit::Cells::Binary(texts(cells)),
    };
    wit::Column { name: column.name, nulls: column.nulls, cells }
}

/// Beyond this an interpreted language's numbers lose digits.
const EXACT_INTEGER_MAX: i64 = 1 << 53;

/// `[{"id":1,"name":"x"},…]`
fn json(rows: &Rows) -> String {
    let mut text = String::with_capacity(rows.bytes() * 2 + 2);
    text.push('[');
    let names: Vec<String> = rows.columns().iter().map(|column| Json::from(column.name.as_str()).to_string()).collect();
    for row in 0..rows.count() as usize {
        text.push_str(if row == 0 { "{" } else { ",{" });
        for (place, (column, name)) in rows.columns().iter().zip(&names).enumerate() {
            if place > 0 {
                text.push(',');
            }
            text.push_str(name);
            text.push(':');
            if column.is_null(row) { text.push_str("null") } else { cell(&column.cells, row, &mut text) }
        }
        text.push('}');
    }
    text.push(']');
    text
}

fn cell(cells: &Cells, row: usize, text: &mut String) {
    let string = |bytes: &[u8]| Json::from(String::from_utf8_lossy(bytes)).to_string();
    let of = |texts: &Texts| texts.get(row).unwrap_or_default().to_vec();
    match cells {
        Cells::Booleans(cells) => text.push_str(if cells[row] == 0 { "false" } else { "true" }),
        Cells::Integers(cells) if cells[row].unsigned_abs() > EXACT_INTEGER_MAX.unsigned_abs() => {
            text.push_str(&format!("\"{}\"", cells[row]));
        }
        Cells::Integers(cells) => text.push_str(&cells[row].to_string()),
        Cells::Floats(cells) if cells[row].is_finite() => text.push_str(&Json::from(cells[row]).to_string()),
        Cells::Floats(cells) => text.push_str(match cells[row] {
            value if value.is_nan() => "\"NaN\"",
            value if value > 0.0 => "\"Infinity\"",
            _ => "\"-Infinity\"",
        }),
        Cells::Texts(texts) => text.push_str(&string(&of(texts))),
        // PostgreSQL made it, so it is JSON.
        Cells::Json(texts) => text.push_str(&String::from_utf8_lossy(&of(texts))),
        Cells::Binary(texts) => {
            text.push('"');
            base64::engine::general_purpose::STANDARD.encode_string(of(texts), text);
            text.push('"');
        }
    }
}

/// What the guest wants to run.
pub(super) fn queries(queries: Vec<wit::Query>) -> Vec<Query> {
    queries.into_iter().map(|query| Query { name: query.name, params: query.params }).collect()
}

/// What the guest says is affected.
pub(super) fn affected(affected: wit::Affected) -> Affected {
    Affected { ids: affected.ids, queries: queries(affected.queries) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CellKind, ColumnBuilder};

    #[test]
    fn rows_as_json_keep_every_digit_and_every_null() {
        let mut id = ColumnBuilder::new("id", CellKind::Integer);
        id.push_integer(EXACT_INTEGER_MAX + 1);
        id.push_integer(7);
        let mut score = ColumnBuilder::new("sc\"ore", CellKind::Float);
        score.push_float(f64::NEG_INFINITY);
        score.push_null();
        let mut raw = ColumnBuilder::new("raw", CellKind::Binary);
        raw.push_bytes(&[0, 255]);
        raw.push_bytes(b"");
        let rows = Rows::new(2, vec![id.finish(), score.finish(), raw.finish()]).unwrap();
        assert_eq!(
            json(&rows),
            r#"[{"id":"9007199254740993","sc\"ore":"-Infinity","raw":"AP8="},{"id":7,"sc\"ore":null,"raw":""}]"#
        );
    }
}
