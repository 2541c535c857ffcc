//! From the contract's types to the trait's and back, and the macro that exports a builder.

use crate::bindings::docmill::builder::types;
use crate::bindings::exports::docmill::builder::guest;
use crate::builder::{Affected, Builder, Ids, Outcome, Reads};
use crate::error::Result;
use crate::rows::Rows;
use std::marker::PhantomData;
use std::sync::Once;

/// Exports a type that implements [`Builder`](crate::Builder) as the component's one export.
///
/// Outside wasm it only checks the type, so that the same crate can be tested on the host.
#[macro_export]
macro_rules! export {
    ($builder:ty) => {
        const _: () = {
            #[allow(dead_code)]
            type Exported = $crate::export::Exported<$builder>;
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::export_guest!(Exported with_types_in $crate::bindings);
            #[cfg(not(target_arch = "wasm32"))]
            const _: fn() = $crate::export::is_builder::<$builder>;
        };
    };
}

/// A builder in the shape that the contract asks for.
pub struct Exported<B>(PhantomData<B>);

/// Compiles for builders only.
pub fn is_builder<B: Builder>() {}

impl<B: Builder> guest::Guest for Exported<B> {
    fn describe() -> Result<String, String> {
        report_panics();
        Ok(B::describe()?.to_json().to_string())
    }

    fn resolve(index: String, table: String, rows: types::Rowset) -> Result<types::Affected, String> {
        report_panics();
        let rows = Rows::from_wire(format!("table {table:?}"), rows)?;
        Ok(B::resolve(&index, &table, &rows).map(Affected::into_wire)?)
    }

    fn assemble(index: String, ids: Vec<String>, reads: Vec<types::Rowset>) -> Result<Vec<types::Outcome>, String> {
        report_panics();
        let reads = reads.into_iter().enumerate();
        let reads = reads.map(|(place, rowset)| Rows::from_wire(format!("read {place} of {index:?}"), rowset));
        let reads = Reads::new(reads.collect::<Result<_>>()?);
        let outcomes = B::assemble(&index, &Ids::new(ids), reads)?;
        Ok(outcomes.into_iter().map(Outcome::into_wire).collect())
    }
}

/// A panic on wasm32-unknown-unknown is a trap without a word; this says first what it was and where.
fn report_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        if cfg!(target_arch = "wasm32") {
            std::panic::set_hook(Box::new(|panic| crate::log::error(panic.to_string())));
        }
    });
}
