//! Tests of a builder on the host: rows in, ids and outcomes out, without wasm and without a database.

mod check;
pub(crate) mod standin;
mod table;

use crate::builder::{Affected, Builder, Ids, Outcome, Reads};
use crate::error::{Error, Result};
use crate::rows::Rows;
use serde_json::Value;
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// A builder and the rows that its queries shall answer.
///
/// Values are written as they reach a builder: a numeric, a uuid and a timestamp as text (`"12.50"`,
/// `"2026-02-01T09:30:00.250000Z"`). A query without rows answers none. Every call checks what the host checks.
///
/// ```no_run
/// # use docmill_builder::{Builder, Fixture, Outcome, Result};
/// # use serde_json::json;
/// # fn test<Shop: Builder>() -> Result<()> {
/// let shop = Fixture::<Shop>::new().rows("users", json!([{ "id": 7, "name": "Ada" }]));
/// assert_eq!(shop.document("users", "7")?["name"], "Ada");
/// assert_eq!(shop.assemble("users", &["8"])?, [Outcome::Absent]);
/// # Ok(())
/// # }
/// ```
pub struct Fixture<B> {
    config: Value,
    answers: BTreeMap<String, Value>,
    builder: PhantomData<B>,
}

impl<B: Builder> Default for Fixture<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Builder> Fixture<B> {
    /// No rows, and an empty configuration.
    pub fn new() -> Self {
        Self {
            config: Value::Object(Default::default()),
            answers: BTreeMap::new(),
            builder: PhantomData,
        }
    }

    /// The builder's part of the pipeline's configuration.
    pub fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    /// What the declared query `name` answers, whatever it is asked: an array of objects.
    pub fn rows(mut self, name: impl Into<String>, rows: Value) -> Self {
        self.answers.insert(name.into(), rows);
        self
    }

    /// The descriptor, as it crosses.
    ///
    /// # Errors
    /// The builder's own, and when the descriptor names a read that it does not declare.
    pub fn describe(&self) -> Result<Value> {
        let _call = standin::Call::begin(&self.config, None);
        let descriptor = B::describe()?;
        check::descriptor(&descriptor)?;
        Ok(descriptor.to_json())
    }

    /// Which documents of `index` these rows (objects of the declared keys) of `table` lead to.
    ///
    /// # Errors
    /// The builder's own, and when the rows or the answer break the contract.
    pub fn resolve(&self, index: &str, table: &str, rows: Value) -> Result<Affected> {
        let _call = standin::Call::begin(&self.config, None);
        let descriptor = B::describe()?;
        let keys = check::keys(&descriptor, index, table)?;
        let rows = Rows::from_wire(format!("table {table:?}"), table::rowset(table, &rows)?)?;
        check::holds_keys_only(table, &rows, keys)?;
        let affected = B::resolve(index, table, &rows)?;
        check::affected(&descriptor, &affected)?;
        Ok(affected)
    }

    /// What these documents of `index` are.
    ///
    /// # Errors
    /// The builder's own, and when the answer breaks the contract.
    pub fn assemble(&self, index: &str, ids: &[&str]) -> Result<Vec<Outcome>> {
        let _call = standin::Call::begin(&self.config, Some(&self.answers));
        let descriptor = B::describe()?;
        check::descriptor(&descriptor)?;
        let reads = check::index(&descriptor, index)?.reads.iter().map(|name| {
            let rowset = standin::answer(&self.answers, name)?;
            Rows::from_wire(format!("read {name:?}"), rowset)
        });
        let reads = Reads::new(reads.collect::<Result<_>>()?);
        let ids = Ids::new(ids.iter().map(|id| (*id).to_owned()).collect());
        let outcomes = B::assemble(index, &ids, reads)?;
        check::outcomes(&ids, &outcomes)?;
        Ok(outcomes)
    }

    /// The one document of this id.
    ///
    /// # Errors
    /// As [`Fixture::assemble`], and when there is no such document.
    pub fn document(&self, index: &str, id: &str) -> Result<Value> {
        match self.assemble(index, &[id])?.into_iter().next() {
            Some(Outcome::Document(text)) => Ok(serde_json::from_str(&text)?),
            Some(Outcome::Absent) => Err(Error::new(format!("document {id:?} of {index:?} is absent"))),
            Some(Outcome::Rejected(reason)) => Err(Error::new(format!(
                "document {id:?} of {index:?} is rejected: {reason}"
            ))),
            None => Err(Error::new("assemble gave no outcome")),
        }
    }
}
