//! Comparing documents with what they must be, field by field, and saying where they differ.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// How many differences are spelled out; all are counted.
const SHOWN_MAX: usize = 10;

/// Every difference counted, the first ones spelled out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Documents that must exist and do not.
    pub missing: usize,
    /// Documents that exist and must not.
    pub extra: usize,
    /// Documents with a wrong field.
    pub wrong: usize,
    shown: Vec<String>,
}

impl Differences {
    /// Documents that are not as they must be.
    pub fn total(&self) -> usize {
        self.missing + self.extra + self.wrong
    }

    /// Adds those of another index.
    pub fn and(mut self, other: Self) -> Self {
        self.missing += other.missing;
        self.extra += other.extra;
        self.wrong += other.wrong;
        self.shown.extend(other.shown);
        self
    }

    /// `Ok` if there are none.
    pub fn into_result(self) -> Result<(), Self> {
        if self.total() == 0 { Ok(()) } else { Err(self) }
    }

    fn show(&mut self, difference: impl FnOnce() -> String) {
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(difference());
        }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, extra, wrong, shown } = self;
        write!(formatter, "{} documents differ: {missing} missing, {extra} extra, {wrong} wrong", self.total())?;
        for line in shown {
            write!(formatter, "\n  {line}")?;
        }
        Ok(())
    }
}

/// What differs in one index. Numbers compare as numbers (1.50 is 1.5), arrays in order, everything else exactly.
pub fn differences(index: &str, expected: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) -> Differences {
    let mut all = Differences::default();
    for (id, document) in expected {
        let Some(other) = found.get(id) else {
            all.missing += 1;
            all.show(|| format!("{index}/{id}: missing"));
            continue;
        };
        let mut fields = Vec::new();
        walk(String::new(), Some(document), Some(other), &mut fields);
        if !fields.is_empty() {
            all.wrong += 1;
        }
        for field in fields {
            all.show(|| format!("{index}/{id}{field}"));
        }
    }
    for id in found.keys().filter(|id| !expected.contains_key(*id)) {
        all.extra += 1;
        all.show(|| format!("{index}/{id}: extra"));
    }
    all
}

/// `Ok` if nothing differs.
pub fn compare(
    index: &str,
    expected: &BTreeMap<String, Value>,
    found: &BTreeMap<String, Value>,
) -> Result<(), Differences> {
    differences(index, expected, found).into_result()
}

fn walk(path: String, expected: Option<&Value>, found: Option<&Value>, into: &mut Vec<String>) {
    match (expected, found) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            for (name, value) in left {
                walk(format!("{path}.{name}"), Some(value), right.get(name), into);
            }
            for (name, value) in right.iter().filter(|(name, _)| !left.contains_key(*name)) {
                walk(format!("{path}.{name}"), None, Some(value), into);
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            for index in 0..left.len().max(right.len()) {
                walk(format!("{path}[{index}]"), left.get(index), right.get(index), into);
            }
        }
        (Some(left), Some(right)) if same(left, right) => {}
        (left, right) => into.push(format!("{path}: expected {}, found {}", text(left), text(right))),
    }
}

fn same(left: &Value, right: &Value) -> bool {
    let (Value::Number(one), Value::Number(other)) = (left, right) else {
        return left == right;
    };
    match (one.is_f64(), other.is_f64()) {
        // Integers exactly: doubles would let neighbours above 2^53 pass for each other.
        (false, false) => one == other,
        _ => one.as_f64() == other.as_f64(),
    }
}

fn text(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
