//! Rows as one JSON text, for guests whose JSON parser is faster than a loop over bytes: `[{"id":1,"name":"x"},…]`.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::{Cells, Rows, Texts};

/// Beyond this an interpreted language's numbers lose digits, so integers cross as strings.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

/// The rows.
pub(super) fn json_rows(rows: &Rows) -> String {
    let count = rows.count() as usize;
    let mut keys: Vec<String> = Vec::with_capacity(rows.columns().len());
    for column in rows.columns() {
        let mut key = String::with_capacity(column.name.len() + 3);
        string(&column.name, &mut key);
        key.push(':');
        keys.push(key);
    }
    let keys_bytes: usize = keys.iter().map(|key| key.len() + 1).sum();
    let mut json = String::with_capacity(2 + count * (keys_bytes + 2) + rows.bytes() * 2);
    json.push('[');
    for row in 0..count {
        json.push_str(if row == 0 { "{" } else { ",{" });
        for (place, (column, key)) in rows.columns().iter().zip(&keys).enumerate() {
            if place > 0 {
                json.push(',');
            }
            json.push_str(key);
            match column.is_null(row) {
                true => json.push_str("null"),
                false => cell(&column.cells, row, &mut json),
            }
        }
        json.push('}');
    }
    json.push(']');
    json
}

fn cell(cells: &Cells, row: usize, json: &mut String) {
    // Writing into a String cannot fail.
    let _ = match cells {
        Cells::Booleans(cells) => write!(json, "{}", cells[row] != 0),
        Cells::Integers(cells) if cells[row].unsigned_abs() > EXACT_INTEGER_MAX => write!(json, "\"{}\"", cells[row]),
        Cells::Integers(cells) => write!(json, "{}", cells[row]),
        Cells::Floats(cells) if cells[row].is_finite() => write!(json, "{}", serde_json::Value::from(cells[row])),
        Cells::Floats(cells) => {
            json.push_str(match cells[row] {
                value if value.is_nan() => "\"NaN\"",
                value if value > 0.0 => "\"Infinity\"",
                _ => "\"-Infinity\"",
            });
            Ok(())
        }
        // `NaN` and the infinities are no numbers of JSON.
        Cells::Numerics(texts) if texts.get(row).is_some_and(|digits| digits.iter().any(u8::is_ascii_digit)) => {
            json.push_str(&text(texts, row));
            Ok(())
        }
        Cells::Numerics(texts) | Cells::Texts(texts) => {
            string(&text(texts, row), json);
            Ok(())
        }
        // PostgreSQL made it, so it is JSON already.
        Cells::Json(texts) => {
            json.push_str(&text(texts, row));
            Ok(())
        }
        Cells::Binary(texts) => {
            json.push('"');
            STANDARD.encode_string(texts.get(row).unwrap_or_default(), json);
            json.push('"');
            Ok(())
        }
    };
}

fn text(texts: &Texts, row: usize) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(texts.get(row).unwrap_or_default())
}

fn string(text: &str, json: &mut String) {
    json.push('"');
    let mut plain = 0;
    for (place, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        json.push_str(&text[plain..place]);
        plain = place + 1;
        match byte {
            b'"' => json.push_str("\\\""),
            b'\\' => json.push_str("\\\\"),
            b'\n' => json.push_str("\\n"),
            b'\r' => json.push_str("\\r"),
            b'\t' => json.push_str("\\t"),
            // Writing into a String cannot fail.
            other => drop(write!(json, "\\u{other:04x}")),
        }
    }
    json.push_str(&text[plain..]);
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CellKind, Column, ColumnBuilder, Value};

    fn column(name: &str, kind: CellKind, values: &[Value]) -> Column {
        let mut column = ColumnBuilder::new(name, kind);
        values.iter().for_each(|value| column.push(value));
        column.finish()
    }

    #[test]
    fn every_digit_and_every_null_arrives() {
        let rows = Rows::new(
            2,
            vec![
                column("id", CellKind::Integer, &[Value::Integer((1 << 53) + 1), Value::Integer(-7)]),
                column("s\"c", CellKind::Float, &[Value::Float(f64::NEG_INFINITY), Value::Null]),
                column("b", CellKind::Boolean, &[Value::Boolean(true), Value::Boolean(false)]),
                column("raw", CellKind::Binary, &[Value::Binary([0, 255].into()), Value::Binary([].into())]),
                column("n", CellKind::Numeric, &[Value::Text("-0.10".into()), Value::Text("NaN".into())]),
                column("j", CellKind::Json, &[Value::Json(r#"{"a": [1]}"#.into()), Value::Null]),
            ],
        );
        assert_eq!(
            json_rows(&rows.unwrap()),
            "[{\"id\":\"9007199254740993\",\"s\\\"c\":\"-Infinity\",\"b\":true,\"raw\":\"AP8=\",\"n\":-0.10,\"j\":{\"a\": [1]}},\
             {\"id\":-7,\"s\\\"c\":null,\"b\":false,\"raw\":\"\",\"n\":\"NaN\",\"j\":null}]"
        );
    }

    #[test]
    fn every_text_reads_back_as_it_was() {
        let every: String = (0..0x250).filter_map(char::from_u32).chain("€𝄞\u{2028}".chars()).collect();
        let texts = ["", &every, "\"\\\n\r\t\u{0}\u{1f}"].map(|text| Value::Text(text.into()));
        let rows = Rows::new(3, vec![column("t", CellKind::Text, &texts)]).unwrap();
        let read: Vec<std::collections::BTreeMap<String, String>> = serde_json::from_str(&json_rows(&rows)).unwrap();
        for (row, text) in read.iter().zip(&texts) {
            assert_eq!(Value::Text(row["t"].as_str().into()), *text);
        }
    }

    #[test]
    fn no_rows_are_an_empty_list() {
        assert_eq!(json_rows(&Rows::default()), "[]");
    }
}
