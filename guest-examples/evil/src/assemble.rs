//! An `assemble` whose ids have an evil one among them.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use docmill_builder::{Error, Ids, Outcome, Query, Result, Rows, source};
use serde_json::json;

use crate::deeds::{allocate, flood, recurse, spin, work};
use crate::is_evil;
use crate::misdeed::Misdeed;

/// What every row should be.
pub fn good(ids: &Ids, rows: &Rows) -> Result<Vec<Outcome>> {
    outcomes(ids, rows, |_, document| document)
}

/// What they are for good rows, and for evil ones what `evil` makes of id and outcome.
fn outcomes(ids: &Ids, rows: &Rows, evil: impl Fn(&str, Outcome) -> Outcome) -> Result<Vec<Outcome>> {
    let (row_of, name) = (rows.by_text("id")?, rows.column::<&str>("name")?);
    Ok(ids.outcomes(|id| match row_of.first(id) {
        Some(row) => {
            let document = Outcome::document(&json!({ "id": id, "name": name[row] }));
            if is_evil(id) { evil(id, document) } else { document }
        }
        None => Outcome::Absent,
    }))
}

pub fn misbehave(misdeed: Misdeed, ids: &Ids, rows: &Rows) -> Result<Vec<Outcome>> {
    match misdeed {
        Misdeed::EndlessLoopInAssemble => spin(),
        Misdeed::UseUpTheBudget => work(),
        Misdeed::AllocateInAssemble => allocate(),
        Misdeed::DeepRecursion => {
            black_box(recurse(0));
        }
        Misdeed::DivideByZero => {
            black_box(1 / black_box(0_u32));
        }
        Misdeed::Abort => std::process::abort(),
        Misdeed::PanicInAssemble => panic!("as asked\u{1b}[2J"),
        Misdeed::ErrorInAssemble => return Err(Error::new("as asked\u{1b}[2J")),
        Misdeed::FloodOfLogLines => flood(),
        Misdeed::FloodAndPanic => {
            flood();
            panic!("as asked");
        }
        Misdeed::UndeclaredQueryInAssemble => drop(source::run(vec![Query::new("drop table evil")])?),
        Misdeed::ReadWithoutEnd => loop {
            source::run(vec![Query::new("evil").text("[\"good-1\"]")])?;
        },
        Misdeed::TenMillionRows => drop(source::run(vec![Query::new("ten million")])?),
        Misdeed::WrongParameter => drop(source::run(vec![
            Query::new("by-number").text("'; drop table evil; --"),
        ])?),
        _ => {}
    }
    let mut answer = outcomes(ids, rows, |id, good| match (misdeed, &good) {
        // Line breaks where JSON allows them.
        (Misdeed::LineBreaksInTheDocument, Outcome::Document(text)) => Outcome::Document(format!(
            "\n{}\r\n",
            text.replacen('{', "{\r\n", 1).replacen(',', "\n,\n", 1)
        )),
        (Misdeed::TellsItsCompany, _) => {
            Outcome::document(&json!({ "id": id, "name": format!("one of {}", ids.len()) }))
        }
        _ => document_of(misdeed).unwrap_or(good),
    })?;
    match misdeed {
        Misdeed::TooManyOutcomes => answer.push(Outcome::Absent),
        Misdeed::TooFewOutcomes => drop(answer.pop()),
        _ => {}
    }
    Ok(answer)
}

/// Bytes of text in one field; made in one piece, so that memory is not what is in its way.
fn bulk(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    text.push_str("{\"bulk\":\"");
    text.extend(std::iter::repeat_n('x', bytes));
    text.push_str("\"}");
    text
}

fn document_of(misdeed: Misdeed) -> Option<Outcome> {
    Some(Outcome::Document(match misdeed {
        // SAFETY: none; that the host does not rely on it is what is tested.
        Misdeed::InvalidUtf8 => unsafe { String::from_utf8_unchecked(b"{\"name\":\"\xff\xfe\"}".to_vec()) },
        Misdeed::InvalidJson => "{\"name\": hunter2}".to_owned(),
        Misdeed::NoObject => "[{\"name\":\"in a list\"}]".to_owned(),
        Misdeed::BulkActionBehindTheDocument => {
            "{}\n{\"delete\":{\"_index\":\"evil\",\"_id\":\"good-1\"}}\n".to_owned()
        }
        Misdeed::MetadataInTheDocument => json!({ "_index": "other", "_id": "good-1", "name": "taken" }).to_string(),
        Misdeed::DeepDocument => format!("{{\"name\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)),
        Misdeed::ManyFields => {
            let fields: serde_json::Map<_, _> = (0..2_000)
                .map(|field| (format!("field_{field}"), json!(field)))
                .collect();
            serde_json::Value::Object(fields).to_string()
        }
        Misdeed::ImmenseTerm => json!({ "name": "x".repeat(40_000) }).to_string(),
        Misdeed::LargeDocument => bulk(9 << 20),
        Misdeed::HugeAnswer => bulk(20 << 20),
        Misdeed::EnormousAndValid => bulk(6 << 20),
        Misdeed::AnotherDocumentEachTime => chance(),
        _ => return None,
    }))
}

/// All that could differ from one call to the next: what an earlier call left in memory, where the stack is, and the seed of the
/// library's hash maps.
fn chance() -> String {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let on_the_stack = black_box(7_u8);
    json!({
        "id": CALLS.fetch_add(1, Ordering::Relaxed).to_string(),
        "name": format!("{:p} {}", &on_the_stack, RandomState::new().hash_one(7)),
    })
    .to_string()
}
