//! What a builder may ask of its host, each from the import in wasm and from the stand-in of [`crate::fixture`] elsewhere.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;

/// The builder's part of the pipeline's configuration.
///
/// # Errors
/// When the configuration does not fit `T`; the message says where.
pub fn config<T: DeserializeOwned>() -> Result<T> {
    #[cfg(target_arch = "wasm32")]
    let text = crate::bindings::docmill::builder::host::config();
    #[cfg(not(target_arch = "wasm32"))]
    let text = crate::fixture::standin::config();
    serde_json::from_str(&text).map_err(|error| Error::new(format!("the builder's configuration: {error}")))
}

/// Lines for the operator, cut at 1 KiB each. Keep row values out of them.
pub mod log {
    use crate::bindings::docmill::builder::types::Level;

    /// For the author, while looking for a fault.
    pub fn debug(message: impl AsRef<str>) {
        write(Level::Debug, message.as_ref());
    }

    /// Worth knowing; nothing is wrong.
    pub fn info(message: impl AsRef<str>) {
        write(Level::Info, message.as_ref());
    }

    /// Something is odd, and the documents are made all the same.
    pub fn warn(message: impl AsRef<str>) {
        write(Level::Warn, message.as_ref());
    }

    /// A person must look.
    pub fn error(message: impl AsRef<str>) {
        write(Level::Error, message.as_ref());
    }

    fn write(level: Level, message: &str) {
        #[cfg(target_arch = "wasm32")]
        crate::bindings::docmill::builder::host::log(level, message);
        #[cfg(not(target_arch = "wasm32"))]
        crate::fixture::standin::log(level, message);
    }
}

/// Reading the database beyond the declared reads, while `assemble` runs and at no other time.
pub mod source {
    use crate::builder::Query;
    use crate::error::Result;
    use crate::rows::Rows;

    /// Runs declared queries in one round trip, in the snapshot of the reads of this call; one answer for each, in order.
    ///
    /// A database that cannot be reached does not show here: the host ends the whole call and makes it again.
    ///
    /// # Errors
    /// When an answer is not in the form that the SDK asked for.
    pub fn run(queries: Vec<Query>) -> Result<Vec<Rows>> {
        let names: Vec<String> = queries.iter().map(|query| query.name().to_owned()).collect();
        let queries: Vec<_> = queries.into_iter().map(Query::into_wire).collect();
        #[cfg(target_arch = "wasm32")]
        let rowsets = crate::bindings::docmill::builder::source::run(&queries);
        #[cfg(not(target_arch = "wasm32"))]
        let rowsets = crate::fixture::standin::run(&queries)?;
        names
            .into_iter()
            .zip(rowsets)
            .map(|(name, rowset)| Rows::from_wire(format!("query {name:?}"), rowset))
            .collect()
    }
}
