//! Rows as they cross, column by column, with their values read as Rust types.

use crate::bindings::docmill::builder::types::{Cells, Column, Rowset, Table, Texts};
use crate::cell::{Cell, FromCell};
use crate::error::{Error, Result};
use crate::groups::Groups;
use std::collections::HashSet;

/// Rows of a table (in `resolve`) or of a query (in `assemble`).
///
/// Read by column where there are many rows: [`Rows::column`] looks the name up once and checks every value, so that what
/// follows is plain indexing. Read by [`Row`] where that is shorter.
#[derive(Debug)]
pub struct Rows {
    name: String,
    table: Table,
}

impl Rows {
    pub(crate) fn from_wire(name: impl Into<String>, rowset: Rowset) -> Result<Self> {
        let name = name.into();
        match rowset {
            Rowset::Columns(table) => Ok(Self { name, table }),
            Rowset::Json(_) => Err(Error::new(format!(
                "{name} arrived as json; the descriptor of the SDK asks for columns"
            ))),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.table.count as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.count == 0
    }

    /// The names of the columns, in order.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        self.table.columns.iter().map(|column| column.name.as_str())
    }

    /// The values of one column, one for each row.
    ///
    /// `T` is what [`FromCell`] knows: `bool`, `i64`, `i32`, `f64`, `&str`, [`Decimal`](crate::Decimal),
    /// [`Json`](crate::Json), `&[u8]`, [`Cell`], and `Option` of each.
    ///
    /// # Errors
    /// When there is no such column, when a value is of another type, and on a null where `T` is not an `Option`.
    pub fn column<'a, T: FromCell<'a>>(&'a self, name: &str) -> Result<Vec<T>> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let column = self.find(name)?;
        (0..self.len()).map(|row| self.read(column, row)).collect()
    }

    /// The distinct values of a key column as text, without nulls: ids for [`Affected::ids`](crate::Affected::ids), or keys
    /// for [`Affected::hop`](crate::Affected::hop).
    ///
    /// # Errors
    /// When there is no such column, and on binary values.
    pub fn keys(&self, name: &str) -> Result<Vec<String>> {
        let mut seen = HashSet::new();
        let texts = self.texts(name)?.into_iter().flatten();
        Ok(texts.filter(|text| seen.insert(text.clone())).collect())
    }

    /// Rows by the text of a key column, to be found by document id. Rows where it is null are in no group.
    ///
    /// # Errors
    /// As [`Rows::keys`].
    pub fn by_text(&self, name: &str) -> Result<Groups<String>> {
        let texts = self.texts(name)?;
        Ok(Groups::of(
            texts
                .into_iter()
                .enumerate()
                .filter_map(|(row, text)| Some((text?, row)))
                .collect(),
        ))
    }

    /// The rows, one by one.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).map(|index| Row { rows: self, index })
    }

    fn texts(&self, name: &str) -> Result<Vec<Option<String>>> {
        let cells = self.column::<Option<Cell<'_>>>(name)?;
        let text_of = |cell: Cell<'_>| {
            cell.to_text()
                .ok_or_else(|| Error::new(format!("column {name:?} of {}: binary is no key", self.name)))
        };
        cells.into_iter().map(|cell| cell.map(text_of).transpose()).collect()
    }

    fn find(&self, name: &str) -> Result<&Column> {
        self.table
            .columns
            .iter()
            .find(|column| column.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = self.column_names().collect();
                Error::new(format!(
                    "{} has no column {name:?}, it has {}",
                    self.name,
                    names.join(", ")
                ))
            })
    }

    fn read<'a, T: FromCell<'a>>(&'a self, column: &'a Column, row: usize) -> Result<T> {
        let found = if is_null(column, row) {
            match T::from_null() {
                Some(value) => return Ok(value),
                None => "null",
            }
        } else {
            match cell(&column.cells, row) {
                Some(cell) => match T::from_cell(cell) {
                    Some(value) => return Ok(value),
                    None => cell.kind(),
                },
                None => "missing",
            }
        };
        let (name, rows, wanted) = (&column.name, &self.name, T::WANTED);
        Err(Error::new(format!(
            "column {name:?} of {rows}: row {row} is {found}, asked for {wanted}"
        )))
    }
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    rows: &'a Rows,
    index: usize,
}

impl<'a> Row<'a> {
    /// Its place among the rows.
    pub fn index(&self) -> usize {
        self.index
    }

    /// A value, as [`Rows::column`] reads it; the name is looked up each time.
    ///
    /// # Errors
    /// As [`Rows::column`].
    pub fn get<T: FromCell<'a>>(&self, name: &str) -> Result<T> {
        self.rows.read(self.rows.find(name)?, self.index)
    }

    /// Whether the value is null.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn is_null(&self, name: &str) -> Result<bool> {
        Ok(is_null(self.rows.find(name)?, self.index))
    }
}

fn is_null(column: &Column, row: usize) -> bool {
    column
        .nulls
        .get(row / 8)
        .is_some_and(|byte| byte & (1 << (row % 8)) != 0)
}

/// The value, or `None` where the column is shorter than its table says or a text is not UTF-8.
fn cell(cells: &Cells, row: usize) -> Option<Cell<'_>> {
    Some(match cells {
        Cells::Booleans(values) => Cell::Bool(*values.get(row)? != 0),
        Cells::Integers(values) => Cell::Int(*values.get(row)?),
        Cells::Floats(values) => Cell::Float(*values.get(row)?),
        Cells::Texts(texts) => Cell::Text(std::str::from_utf8(piece(texts, row)?).ok()?),
        Cells::Json(texts) => Cell::Json(std::str::from_utf8(piece(texts, row)?).ok()?),
        Cells::Binary(texts) => Cell::Binary(piece(texts, row)?),
    })
}

fn piece(texts: &Texts, row: usize) -> Option<&[u8]> {
    let start = if row == 0 {
        0
    } else {
        *texts.ends.get(row - 1)? as usize
    };
    texts.bytes.get(start..*texts.ends.get(row)? as usize)
}
