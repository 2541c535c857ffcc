//! A text of a guest becomes a document: one JSON object on one line, within its limits.

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use super::limits::Limits;
use super::limits_met::LimitsMet;
use crate::model::{Rejection, is_deeper};

/// The document, as its own bytes.
///
/// # Errors
///
/// Why it is none; no value of it is in the reason.
pub(super) fn document(text: String, limits: &Limits, met: &LimitsMet) -> Result<Bytes, Rejection> {
    let bytes = text.len();
    let rejection = |kind: &str, reason: String| Rejection {
        kind: kind.to_owned(),
        reason: format!("the builder's document of {bytes} bytes {reason}"),
        detail: None,
    };
    if bytes > limits.document_bytes {
        let limit = limits.document_bytes;
        met.count("document_bytes");
        return Err(rejection("builder_limit", format!("is over the limit document_bytes of {limit}")));
    }
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        return Err(rejection("builder_json", "is no JSON object".to_owned()));
    }
    if let Err(error) = serde_json::from_str::<IgnoredAny>(&text) {
        // Category and place only: the words of the error may quote the document.
        let found = match error.classify() {
            Category::Eof => "it ends too early",
            _ => "there is a mistake in its syntax",
        };
        let (line, column) = (error.line(), error.column());
        return Err(rejection(
            "builder_json",
            format!("is not one JSON object: {found} (line {line}, column {column})"),
        ));
    }
    if is_deeper(text.as_bytes(), limits.document_depth) {
        let limit = limits.document_depth;
        met.count("document_depth");
        return Err(rejection("builder_limit", format!("is nested deeper than the limit document_depth of {limit}")));
    }
    Ok(one_line(text))
}

/// Line breaks are legal between tokens (inside strings JSON has none), but in a bulk request one would end the
/// document and begin a line of the guest's own.
fn one_line(text: String) -> Bytes {
    let mut bytes = text.into_bytes();
    if bytes.contains(&b'\n') || bytes.contains(&b'\r') {
        bytes.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    }
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Bytes, Rejection> {
        let limits = Limits { document_depth: 3, document_bytes: 60, ..Limits::default() };
        document(text.to_owned(), &limits, &LimitsMet::default())
    }

    #[test]
    fn one_json_object_is_a_document_and_nothing_else_is() {
        for good in [
            "{}",
            r#"{"a":[1,2.5e7,"x\"[[[[",null,true],"b":{"c":[]}}"#,
            " {} ",
            r#"{"a":12345678901234567890.123456789}"#,
        ] {
            assert_eq!(check(good), Ok(Bytes::copy_from_slice(good.as_bytes())));
        }
        for bad in [
            "",
            "[]",
            "1",
            "null",
            "{",
            "{}{}",
            "{} {\"index\":{}}",
            "{}\n{\"delete\":{}}\n",
            r#"{"a":}"#,
            r#"{"a":"b"#,
            "{\"a\":\"\n\"}",
            "{a:1}",
            "{\"a\":01}",
            "{\"a\":NaN}",
            "\u{feff}{}",
        ] {
            assert_eq!(check(bad).expect_err(bad).kind, "builder_json", "{bad}");
        }
    }

    #[test]
    fn a_line_break_between_tokens_cannot_smuggle_a_second_line() {
        assert_eq!(check("{\n\"a\":\r\n1}\n").unwrap(), Bytes::from("{ \"a\":  1} "));
    }

    #[test]
    fn depth_and_size_have_limits() {
        assert!(check(r#"{"a":[[1]],"b":{"c":[]}}"#).is_ok());
        assert!(check(r#"{"a":[[[1]]]}"#).unwrap_err().reason.contains("document_depth of 3"));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(60));
        assert!(check(&long).unwrap_err().reason.contains("document_bytes of 60"));
    }

    #[test]
    fn nesting_without_end_does_not_use_up_the_stack() {
        let limits = Limits::default();
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert!(document(deep, &limits, &LimitsMet::default()).is_err());
    }

    #[test]
    fn no_value_of_a_document_is_in_the_reason() {
        let rejection = check("{\"secret\":hunter2}").unwrap_err();
        assert!(!format!("{rejection:?}").contains("hunter2"), "{rejection:?}");
    }
}
