//! One value of the document: read as what it must be, or a problem that says what was expected and what was found.
//!
//! Texts may hold `${NAME}`, or be `{ file = "…" }`. What is said to be found is always the text as it stands in the file,
//! never what the environment or a file put in its place.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::DeValue;

use super::expand::expand;
use super::secret::Secret;
use super::table::{Reading, Table, closest};
use super::units;

/// Characters of a text that a problem quotes at most.
const QUOTED_MAX: usize = 60;
/// Bytes that a `{ file = "…" }` may have.
const SECRET_FILE_BYTES_MAX: u64 = 1 << 20;

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Entry<'r, 'i> {
    pub reading: &'r Reading<'i>,
    pub key: String,
    pub value: &'r Spanned<DeValue<'i>>,
}

impl<'r, 'i> Entry<'r, 'i> {
    pub fn at(&self) -> Range<usize> {
        self.value.span()
    }

    /// Something is wrong with it.
    pub fn problem(&self, message: impl Into<String>) {
        self.reading.collector.problem(self.at(), &self.key, message);
    }

    /// It is not what was expected.
    pub fn wrong(&self, expected: &str) {
        self.problem(format!("expected {expected}, found {}", self.found()));
    }

    fn wrong_secret(&self, expected: &str) {
        self.problem(format!("expected {expected}, found {}", kind(self.value.get_ref())));
    }

    fn found(&self) -> String {
        match self.value.get_ref() {
            DeValue::String(text) if text.chars().count() <= QUOTED_MAX => format!("{text:?}"),
            DeValue::String(text) => format!("{:?}…", text.chars().take(QUOTED_MAX).collect::<String>()),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(value) => value.to_string(),
            other => kind(other).to_owned(),
        }
    }

    /// A table.
    pub fn table(self) -> Option<Table<'r, 'i>> {
        match self.value.get_ref() {
            DeValue::Table(entries) => Some(Table::new(self.reading, self.key.clone(), self.at(), entries)),
            _ => {
                self.wrong("a table");
                None
            }
        }
    }

    /// A text.
    pub fn text(&self) -> Option<String> {
        self.expanded("a text", Self::wrong)
    }

    /// A text that must not be printed.
    pub fn secret(&self) -> Option<Secret> {
        self.expanded("a text", Self::wrong_secret).map(Secret::new)
    }

    /// A path; a relative one begins at the configuration's directory.
    pub fn path(&self) -> Option<PathBuf> {
        let text = self.text()?;
        if text.is_empty() {
            self.wrong("a path");
            return None;
        }
        Some(self.reading.directory.join(text))
    }

    /// A size in bytes, at least `least`.
    pub fn size(&self, least: u64) -> Option<u64> {
        let size = match self.value.get_ref() {
            DeValue::Integer(_) => self.integer(),
            DeValue::String(_) => units::size(&self.text()?),
            _ => None,
        };
        match size {
            Some(size) if size >= least => return Some(size),
            Some(_) => self.wrong(&format!("at least {least} bytes")),
            None => self.wrong(units::SIZE_FORM),
        }
        None
    }

    /// A duration, at least `least`.
    pub fn duration(&self, least: Duration) -> Option<Duration> {
        let duration = match self.value.get_ref() {
            DeValue::String(_) => units::duration(&self.text()?),
            _ => None,
        };
        match duration {
            Some(duration) if duration >= least => return Some(duration),
            Some(_) => self.wrong(&format!("at least {least:?}")),
            None => self.wrong(units::DURATION_FORM),
        }
        None
    }

    /// A number of things, at least `least`.
    pub fn count(&self, least: u64) -> Option<u64> {
        let number = match self.value.get_ref() {
            DeValue::Integer(_) => self.integer(),
            DeValue::String(text) if text.contains('$') => self.text()?.parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| *number >= least && *number <= u64::from(u32::MAX));
        if number.is_none() {
            self.wrong(&format!("a number from {least} to {}", u32::MAX));
        }
        number
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        let value = match self.value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            DeValue::String(text) if text.contains('$') => self.text()?.parse().ok(),
            _ => None,
        };
        if value.is_none() {
            self.wrong("true or false");
        }
        value
    }

    /// One of some words.
    pub fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let expected = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let expected = format!("one of {expected}");
        if !matches!(self.value.get_ref(), DeValue::String(_)) {
            self.wrong(&expected);
            return None;
        }
        let text = self.text()?;
        let known = words.iter().find(|(word, _)| *word == text);
        if known.is_none() {
            match closest(&text, words.iter().map(|(word, _)| *word)) {
                Some(like) => {
                    self.problem(format!("expected {expected}, found {}; did you mean \"{like}\"?", self.found()))
                }
                None => self.wrong(&expected),
            }
        }
        known.map(|(_, value)| *value)
    }

    /// Any value as JSON, variables put in; a date becomes its text.
    pub fn json(&self) -> Option<Json> {
        Some(match self.value.get_ref() {
            DeValue::String(_) => Json::String(self.text()?),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.into(),
                Err(_) => {
                    self.wrong("a number of 64 bits");
                    return None;
                }
            },
            DeValue::Float(number) => match number.as_str().parse().ok().and_then(serde_json::Number::from_f64) {
                Some(number) => Json::Number(number),
                None => {
                    self.wrong("a finite number, which JSON can hold");
                    return None;
                }
            },
            DeValue::Boolean(value) => Json::Bool(*value),
            DeValue::Datetime(date) => Json::String(date.to_string()),
            DeValue::Array(values) => {
                let element =
                    |(index, value)| Entry { reading: self.reading, key: format!("{}[{index}]", self.key), value };
                // All are read before the first that is wrong ends it, so that every problem is said.
                let values: Vec<_> = values.iter().enumerate().map(|one| element(one).json()).collect();
                Json::Array(values.into_iter().collect::<Option<_>>()?)
            }
            DeValue::Table(_) => {
                let table = self.clone().table()?;
                let members: Vec<_> =
                    table.entries().into_iter().map(|(name, entry)| Some((name, entry.json()?))).collect();
                Json::Object(members.into_iter().collect::<Option<_>>()?)
            }
        })
    }

    /// Texts of a list.
    pub fn texts(&self) -> Option<Vec<String>> {
        let DeValue::Array(values) = self.value.get_ref() else {
            self.wrong("a list of texts");
            return None;
        };
        let texts: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let key = format!("{}[{index}]", self.key);
                Entry { key, value, ..*self }.text()
            })
            .collect();
        texts.into_iter().collect()
    }

    fn integer(&self) -> Option<u64> {
        let number = self.value.get_ref().as_integer()?;
        u64::from_str_radix(number.as_str(), number.radix()).ok()
    }

    fn expanded(&self, expected: &str, wrong: impl Fn(&Self, &str)) -> Option<String> {
        match self.value.get_ref() {
            DeValue::String(text) => match expand(text, self.reading.environment) {
                Ok(text) => Some(text),
                Err(problems) => {
                    problems.into_iter().for_each(|problem| self.problem(problem));
                    None
                }
            },
            DeValue::Table(entries) if entries.contains_key("file") => self.in_file(),
            _ => {
                wrong(self, &format!("{expected}, or {{ file = \"…\" }}"));
                None
            }
        }
    }

    /// The text that a file holds, without the line break at its end.
    fn in_file(&self) -> Option<String> {
        let mut table = self.clone().table()?;
        let entry = table.get("file");
        table.finish();
        let entry = entry?;
        if !matches!(entry.value.get_ref(), DeValue::String(_)) {
            entry.wrong("a path");
            return None;
        }
        let path = entry.path()?;
        let refused = |found: String| {
            entry.problem(format!("could not read {}: {found}", path.display()));
            None
        };
        match std::fs::metadata(&path) {
            Ok(file) if file.len() > SECRET_FILE_BYTES_MAX => {
                return refused(format!("it has more than {SECRET_FILE_BYTES_MAX} bytes"));
            }
            Ok(file) if !file.is_file() => return refused("it is no ordinary file".to_owned()),
            _ => {}
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => refused(error.to_string()),
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
