//! Parameters: the text that PostgreSQL reads for a type; for an array type a JSON array, made into an array literal here.

use std::fmt;

use bytes::BytesMut;
use serde_json::value::RawValue;
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type};

/// One parameter, sent as text whatever its type.
pub(super) struct Param(Option<String>);

impl Param {
    /// The parameter of that type; the error says what it should have been, without the value.
    pub fn new(text: Option<&str>, of: &Type) -> Result<Self, String> {
        let Some(text) = text else {
            return Ok(Self(None));
        };
        // The server would read the text up to the zero byte, as another value.
        if text.contains('\0') {
            return Err("it holds a zero byte, which PostgreSQL has in no type".to_owned());
        }
        match element_of(of) {
            None => Ok(Self(Some(text.to_owned()))),
            Some(element) => {
                let mut literal = String::with_capacity(text.len() + 8);
                match push_array(text, is_json(element), &mut literal, 0) {
                    Some(()) => Ok(Self(Some(literal))),
                    None => Err(format!("it must be a JSON array for type {}", of.name())),
                }
            }
        }
    }

    /// A null of any type.
    pub fn null() -> Self {
        Self(None)
    }

    /// A text for a parameter that is cast in the statement.
    pub fn text(text: &str) -> Self {
        Self(Some(text.to_owned()))
    }
}

/// The driver may print parameters into its debug log; they are row values.
impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Param(..)")
    }
}

impl ToSql for Param {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match &self.0 {
            None => IsNull::Yes,
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                IsNull::No
            }
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

fn element_of(of: &Type) -> Option<&Type> {
    match of.kind() {
        Kind::Array(element) => Some(element),
        Kind::Domain(base) => element_of(base),
        _ => None,
    }
}

fn is_json(of: &Type) -> bool {
    match of.kind() {
        Kind::Domain(base) => is_json(base),
        _ => matches!(*of, Type::JSON | Type::JSONB),
    }
}

/// PostgreSQL's own limit on dimensions.
const DIMENSIONS_MAX: usize = 6;

fn push_array(json: &str, elements_are_json: bool, literal: &mut String, depth: usize) -> Option<()> {
    if depth >= DIMENSIONS_MAX {
        return None;
    }
    let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    literal.push('{');
    for (place, element) in elements.iter().enumerate() {
        if place > 0 {
            literal.push(',');
        }
        let element = element.get();
        match element.as_bytes().first()? {
            b'n' => literal.push_str("NULL"),
            _ if elements_are_json => push_quoted(element, literal),
            b'"' => push_quoted(&serde_json::from_str::<String>(element).ok().filter(|s| !s.contains('\0'))?, literal),
            b'[' => push_array(element, false, literal, depth + 1)?,
            b'{' => return None,
            // A number or a truth value: all its digits, as they are.
            _ => literal.push_str(element),
        }
    }
    literal.push('}');
    Some(())
}

fn push_quoted(text: &str, literal: &mut String) {
    literal.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            literal.push('\\');
        }
        literal.push(character);
    }
    literal.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(json: &str, of: &Type) -> Option<String> {
        Param::new(Some(json), of).ok().and_then(|param| param.0)
    }

    #[test]
    fn json_arrays_become_array_literals() {
        for (json, of, expected) in [
            ("[]", Type::INT8_ARRAY, "{}"),
            ("[1, -2 ,null]", Type::INT8_ARRAY, "{1,-2,NULL}"),
            ("[12345678901234567890.5]", Type::NUMERIC_ARRAY, "{12345678901234567890.5}"),
            ("[true,false]", Type::BOOL_ARRAY, "{true,false}"),
            (r#"["a","b\"\\c","NULL",null,""]"#, Type::TEXT_ARRAY, r#"{"a","b\"\\c","NULL",NULL,""}"#),
            ("[[1,2],[3,4]]", Type::INT4_ARRAY, "{{1,2},{3,4}}"),
            (r#"[{"a":1},"x"]"#, Type::JSONB_ARRAY, r#"{"{\"a\":1}","\"x\""}"#),
        ] {
            assert_eq!(literal(json, &of).as_deref(), Some(expected), "{json}");
        }
    }

    #[test]
    fn what_is_no_json_array_is_refused_without_quoting_it() {
        for json in ["{1,2}", "1", "", "[1", r#"[{"secret":1}]"#, r#"["secret\u0000"]"#, "[[[[[[[1]]]]]]]"] {
            let error = Param::new(Some(json), &Type::INT8_ARRAY).expect_err(json);
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(Param::new(Some("a\0b"), &Type::TEXT).is_err());
    }

    #[test]
    fn other_types_take_their_text_as_it_is() {
        assert_eq!(literal("[1]", &Type::TEXT).as_deref(), Some("[1]"));
        assert!(Param::new(None, &Type::INT8_ARRAY).is_ok_and(|param| param.0.is_none()));
        assert_eq!(format!("{:?}", Param::text("secret")), "Param(..)");
    }
}
