//! What a text of SQL calls: the names in front of parentheses, the operators and the bare words of it. For the builder's own
//! text and for the expressions of a plan. Plain functions; what a name means is the server's to say, and a word of SQL that stands
//! in front of a parenthesis means no function there.
//!
//! It assumes `standard_conforming_strings`, which the reader's sessions have.

use std::collections::BTreeSet;

/// What is called somewhere in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    pub functions: BTreeSet<Call>,
    pub operators: BTreeSet<String>,
    /// Words that are not quoted, in lower case: some call a function without parentheses.
    pub words: BTreeSet<String>,
    /// Whether a name is spelled with escapes (`U&"…"`), so that it cannot be read here.
    pub hides_names: bool,
}

/// One function by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    pub schema: Option<String>,
    pub name: String,
    /// How many arguments it is given, where that could be counted.
    pub arguments: Option<usize>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// With whether it is quoted.
    Name(String, bool),
    Operator(String),
    Open,
    OpenArray,
    Close,
    Comma,
    Dot,
    /// A literal, a parameter, any other sign.
    Other,
}

impl Calls {
    /// Adds what a text calls.
    pub fn read(&mut self, text: &str) {
        let tokens = self.tokens(text);
        /// A parenthesis that is open: what it calls, its commas, and whether anything stands in it.
        struct Open {
            call: Option<(Option<String>, String)>,
            commas: usize,
            empty: bool,
        }
        let mut open: Vec<Open> = Vec::new();
        for (place, token) in tokens.iter().enumerate() {
            if let (Some(inside), false) = (open.last_mut(), *token == Token::Close) {
                inside.empty = false;
            }
            match token {
                Token::Open => open.push(Open { call: called(&tokens[..place]), commas: 0, empty: true }),
                // The commas of an array are none of the call around it.
                Token::OpenArray => open.push(Open { call: None, commas: 0, empty: true }),
                Token::Comma => open.last_mut().into_iter().for_each(|inside| inside.commas += 1),
                Token::Close => {
                    let Some(Open { call: Some((schema, name)), commas, empty }) = open.pop() else { continue };
                    let arguments = Some(if empty { 0 } else { commas + 1 });
                    self.functions.insert(Call { schema, name, arguments });
                }
                Token::Operator(operator) => drop(self.operators.insert(operator.clone())),
                Token::Name(name, false) => drop(self.words.insert(name.clone())),
                _ => {}
            }
        }
        // Text that ends inside a parenthesis is no statement; what it calls is named all the same.
        for (schema, name) in open.into_iter().filter_map(|inside| inside.call) {
            self.functions.insert(Call { schema, name, arguments: None });
        }
    }

    fn tokens(&mut self, text: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let next = &rest[first.len_utf8()..];
            rest = match first {
                _ if first.is_whitespace() => next,
                '-' if next.starts_with('-') => rest.find('\n').map_or("", |end| &rest[end..]),
                '/' if next.starts_with('*') => behind_comment(rest),
                '\'' => {
                    tokens.push(Token::Other);
                    behind_quoted(next, '\'', false).1
                }
                '"' => {
                    let (name, behind) = behind_quoted(next, '"', false);
                    tokens.push(Token::Name(name, true));
                    behind
                }
                'e' | 'E' if next.starts_with('\'') => {
                    tokens.push(Token::Other);
                    behind_quoted(&next[1..], '\'', true).1
                }
                'u' | 'U' if next.starts_with("&\"") => {
                    self.hides_names = true;
                    next
                }
                '$' => {
                    tokens.push(Token::Other);
                    behind_dollar(rest)
                }
                _ if is_letter(first) => {
                    let end = rest.find(|c: char| !is_letter(c) && !c.is_ascii_digit() && c != '$');
                    let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
                    tokens.push(Token::Name(name.to_ascii_lowercase(), false));
                    behind
                }
                _ if first.is_ascii_digit() => {
                    tokens.push(Token::Other);
                    rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_')
                }
                _ if is_operator(first) => {
                    let (operator, behind) = operator(rest);
                    tokens.push(Token::Operator(operator.to_owned()));
                    behind
                }
                _ => {
                    tokens.push(match first {
                        '(' => Token::Open,
                        '[' => Token::OpenArray,
                        ')' | ']' => Token::Close,
                        ',' => Token::Comma,
                        '.' => Token::Dot,
                        _ => Token::Other,
                    });
                    next
                }
            };
        }
        tokens
    }
}

/// The name that ends these tokens, with its schema.
fn called(before: &[Token]) -> Option<(Option<String>, String)> {
    match before {
        [.., Token::Name(schema, _), Token::Dot, Token::Name(name, _)] => Some((Some(schema.clone()), name.clone())),
        [.., Token::Name(name, _)] => Some((None, name.clone())),
        _ => None,
    }
}

fn is_letter(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_' || !character.is_ascii()
}

fn is_operator(character: char) -> bool {
    "+-*/<>=~!@#%^&|`?".contains(character)
}

/// An operator ends where a comment begins.
fn operator(text: &str) -> (&str, &str) {
    let mut end = text.find(|c: char| !is_operator(c)).unwrap_or(text.len());
    for comment in ["--", "/*"] {
        end = text.find(comment).filter(|begin| *begin > 0).map_or(end, |begin| end.min(begin));
    }
    text.split_at(end)
}

/// What is quoted, and what stands behind the quote that ends it. A doubled quote is one.
fn behind_quoted(text: &str, quote: char, escapes: bool) -> (String, &str) {
    let mut inside = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((_, character)) = characters.next() {
        if escapes && character == '\\' {
            characters.next();
        } else if character != quote {
            inside.push(character);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            inside.push(quote);
        } else {
            let rest = characters.peek().map_or("", |(place, _)| &text[*place..]);
            return (inside, rest);
        }
    }
    (inside, "")
}

/// Comments nest.
fn behind_comment(text: &str) -> &str {
    let mut depth = 0usize;
    let mut rest = text;
    loop {
        match (rest.strip_prefix("/*"), rest.strip_prefix("*/")) {
            (Some(inside), _) => (depth, rest) = (depth + 1, inside),
            (_, Some(behind)) if depth <= 1 => return behind,
            (_, Some(behind)) => (depth, rest) = (depth - 1, behind),
            _ => match rest.chars().next() {
                Some(character) => rest = &rest[character.len_utf8()..],
                None => return "",
            },
        }
    }
}

/// Behind a parameter (`$1`) or a text in dollar quotes (`$tag$ … $tag$`).
fn behind_dollar(text: &str) -> &str {
    let rest = &text[1..];
    let tag = rest.find(|c: char| !is_letter(c) && !c.is_ascii_digit()).unwrap_or(rest.len());
    if rest[tag..].starts_with('$') && !rest.starts_with(|c: char| c.is_ascii_digit()) {
        let mark = &text[..tag + 2];
        let inside = &text[mark.len()..];
        return inside.find(mark).map_or("", |end| &inside[end + mark.len()..]);
    }
    rest.trim_start_matches(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let mut calls = Calls::default();
        calls.read(text);
        let shown = |call: &Call| {
            let schema = call.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
            let count = call.arguments.map_or("?".to_owned(), |count| count.to_string());
            format!("{schema}{}/{count}", call.name)
        };
        calls.functions.iter().map(shown).collect()
    }

    #[test]
    fn a_call_is_found_however_it_is_written() {
        for (text, found) in [
            ("select Now()", "now/0"),
            ("select now /* a /* b */ c */ ( -- d\n )", "now/0"),
            ("select \"Mixed \"\"Fn\"(1, 2)", "Mixed \"Fn/2"),
            ("select pg_catalog . set_config('a', 'b)', false)", "pg_catalog.set_config/3"),
            ("select f(array[1, 2], 3) from t", "f/2"),
            ("select f($1", "f/?"),
            ("select 1::größe(3)", "größe/1"),
        ] {
            assert_eq!(names(text), [found], "{text}");
        }
        assert_eq!(names("select f(g(1, 2), h())"), ["f/2", "g/2", "h/0"]);
    }

    #[test]
    fn what_only_looks_like_a_call_is_none() {
        for text in [
            "select 'now()', e'\\'now()', $$now()$$, $a$ $$ now() $a$, n'now()'",
            "select 1 -- now()",
            "select /* now() /* */ now() */ 1",
            "select 1e5 + $1 ",
            "select 'it''s now()'",
            "select 'unterminated now()",
        ] {
            assert_eq!(names(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn operators_words_and_hidden_names_are_seen() {
        let mut calls = Calls::default();
        calls.read("select a <+>-- b\n c, CURRENT_DATE, \"current_time\", d#>>'{e}' from t");
        assert_eq!(calls.operators.iter().collect::<Vec<_>>(), ["#>>", "<+>"]);
        assert!(calls.words.contains("current_date") && !calls.words.contains("current_time"));
        assert!(!calls.hides_names);
        calls.read("select U&\"\\006Eow\"()");
        assert!(calls.hides_names);
    }
}
