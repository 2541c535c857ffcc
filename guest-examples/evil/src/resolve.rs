//! A `resolve` whose rows have an evil one among them.

use docmill_builder::{Affected, Query, Result, source};

use crate::deeds::spin;
use crate::misdeed::Misdeed;

const ID_BYTES_MAX: usize = 512;
const IDS_MAX: usize = 100_000;
const QUERIES_MAX: i64 = 64;

pub fn misbehave(misdeed: Misdeed, ids: Vec<String>) -> Result<Affected> {
    let more = |id: String| Affected::new().ids(ids.iter().cloned().chain([id]));
    Ok(match misdeed {
        Misdeed::EndlessLoopInResolve => spin(),
        Misdeed::PanicInResolve => panic!("as asked"),
        Misdeed::ReadInResolve => {
            source::run(vec![Query::new("evil").text("[]")])?;
            Affected::new().ids(ids)
        }
        Misdeed::EmptyId => more(String::new()),
        Misdeed::OverLongId => more("x".repeat(ID_BYTES_MAX + 1)),
        Misdeed::BulkActionInId => more("x\"}}\n{\"delete\":{\"_index\":\"evil\",\"_id\":\"good-1\"}}\n".to_owned()),
        Misdeed::DuplicateIds => Affected::new().ids(ids.iter().flat_map(|id| std::iter::repeat_n(id, 1000)).cloned()),
        Misdeed::TooManyIds => Affected::new().ids((0..=IDS_MAX).map(|id| id.to_string())),
        Misdeed::IdsOfNoRow => Affected::new().ids((0..1000).map(|id| format!("none-{id}")).chain(ids)),
        Misdeed::UndeclaredQueryInResolve => Affected::new().query(Query::new("drop table evil")),
        Misdeed::TooManyQueries => (0..=QUERIES_MAX).fold(Affected::new(), |affected, number| {
            affected.query(Query::new("by-number").int(number))
        }),
        Misdeed::TenMillionIds => Affected::new().ids(ids).query(Query::new("ten million")),
        _ => Affected::new().ids(ids),
    })
}
