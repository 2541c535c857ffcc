//! A builder that misbehaves on request: `config = { misdeed = "endless loop in assemble" }`. The tests of the sandbox run it
//! beside a pipeline that must not notice. Every row of the table `evil` is a document of the index `evil`; [`Misdeed`] lists what
//! it does to those whose id begins with `evil`.

mod assemble;
mod deeds;
mod describe;
mod misdeed;
mod resolve;

use docmill_builder::{Affected, Builder, Descriptor, Ids, Outcome, Reads, Result, Rows};
pub use misdeed::Misdeed;
use serde::Deserialize;

struct Evil;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    misdeed: Misdeed,
}

impl Builder for Evil {
    fn describe() -> Result<Descriptor> {
        describe::describe(misdeed()?)
    }

    fn resolve(_index: &str, _table: &str, rows: &Rows) -> Result<Affected> {
        let ids: Vec<String> = rows.column::<&str>("id")?.iter().map(ToString::to_string).collect();
        match ids.iter().any(|id| is_evil(id)) {
            true => resolve::misbehave(misdeed()?, ids),
            false => Ok(Affected::new().ids(ids)),
        }
    }

    fn assemble(_index: &str, ids: &Ids, reads: Reads) -> Result<Vec<Outcome>> {
        let [rows] = reads.into_array()?;
        match ids.iter().any(|id| is_evil(id)) {
            true => assemble::misbehave(misdeed()?, ids, &rows),
            false => assemble::good(ids, &rows),
        }
    }
}

fn misdeed() -> Result<Misdeed> {
    docmill_builder::config::<Config>().map(|config| config.misdeed)
}

fn is_evil(id: &str) -> bool {
    id.starts_with("evil")
}

docmill_builder::export!(Evil);
