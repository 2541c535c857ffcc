//! Write a docmill builder in Rust.
//!
//! A builder says which documents a changed row leads to ([`Builder::resolve`]) and what a document is
//! ([`Builder::assemble`]); what it needs for that it declares once ([`Builder::describe`]). It is compiled to a
//! WebAssembly component that imports nothing but `docmill:builder`, and it can be tested on the host without one
//! ([`Fixture`]).
//!
//! ```
//! use docmill_builder::{Affected, Builder, Descriptor, Ids, Index, Outcome, Reads, Result, Rows, Table};
//! use serde_json::json;
//!
//! struct Tags;
//!
//! impl Builder for Tags {
//!     fn describe() -> Result<Descriptor> {
//!         let mapping = json!({ "dynamic": "strict", "properties": { "name": { "type": "keyword" } } });
//!         let tags = Index::new("tags", mapping).table(Table::root("tags", ["id"])).reads(["tags"]);
//!         Ok(Descriptor::new().index(tags).query("tags", "select id, name from tags where id = any($1)"))
//!     }
//!
//!     fn resolve(_index: &str, _table: &str, rows: &Rows) -> Result<Affected> {
//!         Ok(Affected::new().ids(rows.keys("id")?))
//!     }
//!
//!     fn assemble(_index: &str, ids: &Ids, reads: Reads) -> Result<Vec<Outcome>> {
//!         let [tags] = reads.into_array()?;
//!         let row_of = tags.by_text("id")?;
//!         let name = tags.column::<&str>("name")?;
//!         Ok(ids.outcomes(|id| match row_of.first(id) {
//!             Some(row) => Outcome::document(&json!({ "name": name[row] })),
//!             None => Outcome::Absent,
//!         }))
//!     }
//! }
//!
//! docmill_builder::export!(Tags);
//! # fn main() {}
//! ```
//!
//! | module | what an author finds there |
//! |---|---|
//! | [`builder`] | the trait, and what goes in and out of it: [`Ids`], [`Reads`], [`Affected`], [`Query`], [`Outcome`] |
//! | [`descriptor`] | what a builder declares |
//! | [`rows`], [`cell`], [`groups`] | rows, their values, and finding rows by a key |
//! | [`decimal`], [`json`] | numerics and JSON that reach the document digit by digit |
//! | [`config`], [`log`], [`source`] | what a builder may ask of its host |
//! | [`fixture`] | tests on the host, without wasm and without a database |
#![warn(missing_docs)]

#[doc(hidden)]
pub mod bindings;
pub mod builder;
pub mod cell;
pub mod decimal;
pub mod descriptor;
mod error;
#[doc(hidden)]
pub mod export;
#[cfg(not(target_arch = "wasm32"))]
pub mod fixture;
pub mod groups;
mod host;
pub mod json;
pub mod rows;

pub use builder::{Affected, Builder, Ids, Outcome, Query, Reads};
pub use decimal::Decimal;
pub use descriptor::{Descriptor, Index, Table};
pub use error::{Error, Result};
#[cfg(not(target_arch = "wasm32"))]
pub use fixture::Fixture;
pub use groups::Groups;
pub use host::{config, log, source};
pub use json::Json;
pub use rows::{Row, Rows};

// The macro of `export!` names the runtime of wit-bindgen by this path, so that a guest needs no dependency on it.
extern crate self as docmill_builder;
#[doc(hidden)]
pub use wit_bindgen::rt as __runtime;
