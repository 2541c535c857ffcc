//! The shop's builder, written by hand with the SDK: flat reads, assembly in Rust, hops as declared queries.
//!
//! ```text
//! index      a change of            leads to its documents through
//! users      users                  id
//!            orders                 user_id
//!            order_items            order_id ── orders.user_id
//! products   products               id
//!            categories             id ── the categories below ── products.category_id
//!            product_tags           product_id
//!            tags                   id ── product_tags.product_id
//!            reviews                product_id
//!            order_items            product_id
//!            orders                 id ── order_items.product_id
//! ```

mod products;
mod users;

use docmill_builder::{Affected, Builder, Descriptor, Error, Ids, Outcome, Reads, Result, Rows};
use serde::Deserialize;

/// The builder of the indexes `users` and `products`.
pub struct Shop;

/// The pipeline's `config`; without one, both indexes are made.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    indexes: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            indexes: vec!["users".to_owned(), "products".to_owned()],
        }
    }
}

impl Builder for Shop {
    fn describe() -> Result<Descriptor> {
        let Config { indexes } = docmill_builder::config()?;
        indexes
            .iter()
            .try_fold(Descriptor::new(), |descriptor, index| match index.as_str() {
                "users" => Ok(users::declare(descriptor)),
                "products" => Ok(products::declare(descriptor)),
                _ => Err(undeclared("index", index)),
            })
    }

    fn resolve(index: &str, table: &str, rows: &Rows) -> Result<Affected> {
        match index {
            "users" => users::resolve(table, rows),
            "products" => products::resolve(table, rows),
            _ => Err(undeclared("index", index)),
        }
    }

    fn assemble(index: &str, ids: &Ids, reads: Reads) -> Result<Vec<Outcome>> {
        match index {
            "users" => users::assemble(ids, reads),
            "products" => products::assemble(ids, reads),
            _ => Err(undeclared("index", index)),
        }
    }
}

docmill_builder::export!(Shop);

/// The host asks for what the descriptor declares; anything else is a fault of one of the two.
fn undeclared(what: &str, name: &str) -> Error {
    Error::new(format!("{what} {name:?} is not one that the shop declares"))
}
