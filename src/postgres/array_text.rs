//! An array as PostgreSQL prints it, as JSON: `{1,NULL,"a b"}` to `[1,null,"a b"]`.

/// How an element is written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// `t` and `f`
    Boolean,
    /// As it is, unless it is NaN or infinite.
    Number,
    /// As it is.
    Json,
    /// As a string.
    Text,
}

/// The JSON of an array literal; `None` when it is not one.
pub(super) fn to_json(literal: &str, element: Element) -> Option<String> {
    // Where an array does not begin at 1, its bounds go before: [0:1]={…}
    let body = match literal.strip_prefix('[') {
        Some(_) => literal.split_once('=')?.1,
        None => literal,
    };
    let mut parser = Parser { rest: body, json: String::with_capacity(body.len() + 8), element };
    parser.array(0)?;
    parser.rest.is_empty().then_some(parser.json)
}

/// PostgreSQL's own limit on dimensions.
const DIMENSIONS_MAX: usize = 6;

struct Parser<'a> {
    rest: &'a str,
    json: String,
    element: Element,
}

impl Parser<'_> {
    fn array(&mut self, depth: usize) -> Option<()> {
        if depth >= DIMENSIONS_MAX {
            return None;
        }
        self.rest = self.rest.strip_prefix('{')?;
        self.json.push('[');
        if let Some(rest) = self.rest.strip_prefix('}') {
            self.rest = rest;
            self.json.push(']');
            return Some(());
        }
        loop {
            match self.rest.as_bytes().first()? {
                b'{' => self.array(depth + 1)?,
                b'"' => self.quoted()?,
                _ => self.plain()?,
            }
            let ends = match self.rest.as_bytes().first()? {
                // Only boxes are separated by something else.
                b',' | b';' => false,
                b'}' => true,
                _ => return None,
            };
            self.rest = self.rest.get(1..)?;
            self.json.push(if ends { ']' } else { ',' });
            if ends {
                return Some(());
            }
        }
    }

    fn quoted(&mut self) -> Option<()> {
        let mut value = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        loop {
            match characters.next()? {
                (_, '\\') => value.push(characters.next()?.1),
                (at, '"') => {
                    self.rest = self.rest.get(at + 1..)?;
                    break;
                }
                (_, character) => value.push(character),
            }
        }
        self.push(&value);
        Some(())
    }

    fn plain(&mut self) -> Option<()> {
        let end = self.rest.find([',', ';', '}'])?;
        let (value, rest) = self.rest.split_at(end);
        self.rest = rest;
        match value {
            "NULL" => self.json.push_str("null"),
            value => self.push(value),
        }
        Some(())
    }

    fn push(&mut self, value: &str) {
        match (self.element, value) {
            (Element::Boolean, "t") => self.json.push_str("true"),
            (Element::Boolean, "f") => self.json.push_str("false"),
            (Element::Json, _) => self.json.push_str(value),
            (Element::Number, _) if !value.ends_with(['N', 'y']) => self.json.push_str(value),
            _ => self.json.push_str(&string(value)),
        }
    }
}

/// A text as a JSON string.
pub(super) fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_become_json() {
        for (literal, element, expected) in [
            ("{}", Element::Text, "[]"),
            ("{1,NULL,-3}", Element::Number, "[1,null,-3]"),
            ("{NaN,Infinity,-Infinity,1.50}", Element::Number, r#"["NaN","Infinity","-Infinity",1.50]"#),
            ("{t,f,NULL}", Element::Boolean, "[true,false,null]"),
            (r#"{a,"b c","NULL","d\"e\\f","{,}"}"#, Element::Text, r#"["a","b c","NULL","d\"e\\f","{,}"]"#),
            ("{{1,2},{3,4}}", Element::Number, "[[1,2],[3,4]]"),
            ("[0:1]={5,6}", Element::Number, "[5,6]"),
            (r#"{"{\"a\": 1}"}"#, Element::Json, r#"[{"a": 1}]"#),
        ] {
            assert_eq!(to_json(literal, element).as_deref(), Some(expected), "{literal}");
        }
    }

    #[test]
    fn what_is_no_array_is_none() {
        for literal in ["", "{", "{1", "{1,", "1", "{1}x", "{\"a", "{{{{{{{1}}}}}}}", "[0:1]"] {
            assert_eq!(to_json(literal, Element::Text), None, "{literal}");
        }
    }
}
