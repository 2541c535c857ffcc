//! Names and texts inside SQL and inside the `options` of a start-up packet.

use crate::model::TableName;

/// A name as SQL: `"Order ""x"""`. Always quoted, so that mixed case and reserved words are ordinary.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table as SQL, with its schema.
pub(super) fn table(table: &TableName) -> String {
    format!("{}.{}", identifier(&table.schema), identifier(&table.name))
}

/// Names as SQL, between commas.
pub(super) fn identifiers<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(identifier).collect::<Vec<_>>().join(", ")
}

/// A text as SQL, whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!("e'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// One setting as a start-up packet's `options` take it: spaces and backslashes are escaped.
pub(super) fn setting(name: &str, value: &str) -> String {
    let mut text = format!("-c {name}=");
    for character in value.chars() {
        if character == '\\' || character.is_ascii_whitespace() {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_holds_cannot_end_it() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "e'a\\\\''b'");
        assert_eq!(setting("search_path", "\"My \\Schema\""), "-c search_path=\"My\\ \\\\Schema\"");
    }
}
