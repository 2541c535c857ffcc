//! One value of the stream, from the text that PostgreSQL prints to a [`Value`].

use super::array_text;
use super::datetime;
use super::types::Form;
use crate::model::Value;

/// The value; `None` when the text is not what the type prints.
pub(super) fn parse(form: Form, text: &str) -> Option<Value> {
    Some(match form {
        Form::Boolean => Value::Boolean(match text {
            "t" => true,
            "f" => false,
            _ => return None,
        }),
        Form::Integer => Value::Integer(text.parse().ok()?),
        // Through its own precision, as a read sends it.
        Form::Float4 => Value::Float(f64::from(text.parse::<f32>().ok()?)),
        Form::Float8 => Value::Float(text.parse().ok()?),
        Form::Binary => Value::Binary(hex(text.strip_prefix("\\x")?)?.into()),
        Form::Json => Value::Json(text.into()),
        Form::Time => Value::Text(datetime::from_text(text)?.into()),
        Form::Array(element) => Value::Json(array_text::to_json(text, element)?.into()),
        // Its fields have no names here. Nobody reads a composite key; what matters is that equal values are equal.
        Form::Composite => Value::Json(array_text::string(text).into()),
        Form::Numeric | Form::Text => Value::Text(text.into()),
    })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes.chunks_exact(2).map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_the_value_of_its_form() {
        for (form, text, value) in [
            (Form::Boolean, "t", Value::Boolean(true)),
            (Form::Integer, "-9223372036854775808", Value::Integer(i64::MIN)),
            (Form::Float4, "0.1", Value::Float(f64::from(0.1_f32))),
            (Form::Float8, "NaN", Value::Float(f64::NAN)),
            (Form::Float8, "-Infinity", Value::Float(f64::NEG_INFINITY)),
            (Form::Binary, "\\x00ff", Value::Binary(Box::new([0, 255]))),
            (Form::Time, "2026-02-01", Value::Text("2026-02-01".into())),
            (Form::Numeric, "12.50", Value::Text("12.50".into())),
            (Form::Composite, "(1,a)", Value::Json("\"(1,a)\"".into())),
        ] {
            assert_eq!(parse(form, text), Some(value), "{text}");
        }
    }

    #[test]
    fn text_of_another_type_is_none() {
        assert_eq!(parse(Form::Boolean, "yes"), None);
        assert_eq!(parse(Form::Integer, "1.5"), None);
        assert_eq!(parse(Form::Binary, "\\x0"), None);
        assert_eq!(parse(Form::Binary, "00"), None);
        assert_eq!(parse(Form::Time, "soon"), None);
    }
}
