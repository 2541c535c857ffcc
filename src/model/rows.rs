//! Rows as columns: the form in which they cross to a builder (`wit/v1/builder.wit` has the same shapes).

use super::{CellKind, Value};

/// Many texts in one piece: text `i` is `bytes[ends[i-1] .. ends[i]]`, with 0 for `ends[-1]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// All texts, one behind the other.
    pub bytes: Vec<u8>,
    /// Where each of them ends in `bytes`.
    pub ends: Vec<u32>,
}

impl Texts {
    /// One more text. Past 4 GiB in all it is cut to nothing; every limit on rows lies far below.
    pub fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        match u32::try_from(self.bytes.len()) {
            Ok(end) => self.ends.push(end),
            Err(_) => self.ends.push(self.ends.last().copied().unwrap_or(0)),
        }
    }

    /// Text `index`, or nothing where there is none.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let start = if index == 0 { 0 } else { *self.ends.get(index - 1)? };
        self.bytes.get(start as usize..*self.ends.get(index)? as usize)
    }
}

/// The values of one column; where the row is null, 0 or the empty text.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // The kinds are those of `CellKind`.
pub enum Cells {
    /// 0 or 1 each.
    Booleans(Vec<u8>),
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Numerics(Texts),
    Texts(Texts),
    Json(Texts),
    Binary(Texts),
}

/// One column of [`Rows`].
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// One bit a row, lowest bit first; 1 is null. Empty when there are no nulls.
    pub nulls: Vec<u8>,
    /// Its values.
    pub cells: Cells,
}

impl Column {
    /// Whether the value of `row` is null.
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)
    }
}

/// Rows as columns; each column holds `count` values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    count: u32,
    columns: Vec<Column>,
}

/// A column was given that does not hold as many values as there are rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column} holds {found} values where there are {expected} rows")]
pub struct RowCountMismatch {
    column: String,
    found: usize,
    expected: u32,
}

impl Rows {
    /// `count` rows of these columns; refused when one of them is longer or shorter.
    pub fn new(count: u32, columns: Vec<Column>) -> Result<Self, RowCountMismatch> {
        for column in &columns {
            let found = match &column.cells {
                Cells::Booleans(cells) => cells.len(),
                Cells::Integers(cells) => cells.len(),
                Cells::Floats(cells) => cells.len(),
                Cells::Numerics(texts) | Cells::Texts(texts) | Cells::Json(texts) | Cells::Binary(texts) => {
                    texts.ends.len()
                }
            };
            if found != count as usize {
                return Err(RowCountMismatch { column: column.name.clone(), found, expected: count });
            }
        }
        Ok(Self { count, columns })
    }

    /// How many rows.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns, to keep.
    pub fn into_columns(self) -> Vec<Column> {
        self.columns
    }

    /// The first half of the rows and the rest. Fewer than two rows stay together, in the second.
    pub fn halves(&self) -> (Rows, Rows) {
        let middle = self.count as usize / 2;
        (self.slice(0, middle), self.slice(middle, self.count as usize))
    }

    fn slice(&self, from: usize, to: usize) -> Rows {
        let texts = |texts: &Texts| {
            let mut part = Texts::default();
            (from..to).for_each(|row| part.push(texts.get(row).unwrap_or_default()));
            part
        };
        let columns = self.columns.iter().map(|column| {
            let cells = match &column.cells {
                Cells::Booleans(cells) => Cells::Booleans(cells[from..to].to_vec()),
                Cells::Integers(cells) => Cells::Integers(cells[from..to].to_vec()),
                Cells::Floats(cells) => Cells::Floats(cells[from..to].to_vec()),
                Cells::Numerics(cells) => Cells::Numerics(texts(cells)),
                Cells::Texts(cells) => Cells::Texts(texts(cells)),
                Cells::Json(cells) => Cells::Json(texts(cells)),
                Cells::Binary(cells) => Cells::Binary(texts(cells)),
            };
            let mut nulls = Vec::new();
            if !column.nulls.is_empty() {
                nulls.resize((to - from).div_ceil(8), 0);
                for row in (from..to).filter(|row| column.is_null(*row)) {
                    nulls[(row - from) / 8] |= 1 << ((row - from) % 8);
                }
            }
            Column { name: column.name.clone(), nulls, cells }
        });
        // Each column was as long as the rows, so each slice is as long as the slice.
        Rows { count: (to - from) as u32, columns: columns.collect() }
    }

    /// Bytes of all values, for limits on what crosses.
    pub fn bytes(&self) -> usize {
        self.columns
            .iter()
            .map(|column| {
                column.nulls.len()
                    + match &column.cells {
                        Cells::Booleans(cells) => cells.len(),
                        Cells::Integers(cells) => cells.len() * 8,
                        Cells::Floats(cells) => cells.len() * 8,
                        Cells::Numerics(texts) | Cells::Texts(texts) | Cells::Json(texts) | Cells::Binary(texts) => {
                            texts.bytes.len() + texts.ends.len() * 4
                        }
                    }
            })
            .sum()
    }
}

/// Makes one [`Column`], a value at a time. A value of another kind than the column's is pushed as null: the kind is
/// decided where types are known, and values follow it.
#[derive(Debug)]
pub struct ColumnBuilder {
    column: Column,
    rows: usize,
}

impl ColumnBuilder {
    /// An empty column.
    pub fn new(name: impl Into<String>, kind: CellKind) -> Self {
        let cells = match kind {
            CellKind::Boolean => Cells::Booleans(Vec::new()),
            CellKind::Integer => Cells::Integers(Vec::new()),
            CellKind::Float => Cells::Floats(Vec::new()),
            CellKind::Numeric => Cells::Numerics(Texts::default()),
            CellKind::Text => Cells::Texts(Texts::default()),
            CellKind::Json => Cells::Json(Texts::default()),
            CellKind::Binary => Cells::Binary(Texts::default()),
        };
        Self { column: Column { name: name.into(), nulls: Vec::new(), cells }, rows: 0 }
    }

    /// A null.
    pub fn push_null(&mut self) {
        let byte = self.rows / 8;
        if self.column.nulls.len() <= byte {
            self.column.nulls.resize(byte + 1, 0);
        }
        self.column.nulls[byte] |= 1 << (self.rows % 8);
        match &mut self.column.cells {
            Cells::Booleans(cells) => cells.push(0),
            Cells::Integers(cells) => cells.push(0),
            Cells::Floats(cells) => cells.push(0.0),
            Cells::Numerics(texts) | Cells::Texts(texts) | Cells::Json(texts) | Cells::Binary(texts) => texts.push(&[]),
        }
        self.rows += 1;
    }

    /// A boolean.
    pub fn push_boolean(&mut self, value: bool) {
        match &mut self.column.cells {
            Cells::Booleans(cells) => cells.push(u8::from(value)),
            _ => return self.push_null(),
        }
        self.rows += 1;
    }

    /// An integer.
    pub fn push_integer(&mut self, value: i64) {
        match &mut self.column.cells {
            Cells::Integers(cells) => cells.push(value),
            _ => return self.push_null(),
        }
        self.rows += 1;
    }

    /// A float.
    pub fn push_float(&mut self, value: f64) {
        match &mut self.column.cells {
            Cells::Floats(cells) => cells.push(value),
            _ => return self.push_null(),
        }
        self.rows += 1;
    }

    /// A text, JSON or binary value, as the column's kind says.
    pub fn push_bytes(&mut self, value: &[u8]) {
        match &mut self.column.cells {
            Cells::Numerics(texts) | Cells::Texts(texts) | Cells::Json(texts) | Cells::Binary(texts) => {
                texts.push(value)
            }
            _ => return self.push_null(),
        }
        self.rows += 1;
    }

    /// Any value.
    pub fn push(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Unchanged => self.push_null(),
            Value::Boolean(value) => self.push_boolean(*value),
            Value::Integer(value) => self.push_integer(*value),
            Value::Float(value) => self.push_float(*value),
            Value::Text(text) | Value::Json(text) => self.push_bytes(text.as_bytes()),
            Value::Binary(bytes) => self.push_bytes(bytes),
        }
    }

    /// The column, its null bits either empty or one for every row.
    pub fn finish(mut self) -> Column {
        if !self.column.nulls.is_empty() {
            self.column.nulls.resize(self.rows.div_ceil(8), 0);
        }
        self.column
    }
}
