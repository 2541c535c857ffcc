//! Everything that a guest gives back is checked here before anyone else sees it.

use std::collections::HashSet;

use super::bindings::docmill::builder::types::Outcome as Answered;
use super::document::document;
use super::failures::over;
use super::limits::{ID_BYTES_MAX, Limits};
use super::limits_met::LimitsMet;
use super::printable::printable;
use crate::edges::{Failure, GuestEnd};
use crate::model::{Affected, Declaration, Outcome, Query, Rejection};

/// The answer of a resolve: ids that a search engine takes and queries that were declared, each once.
pub(super) fn affected(
    what: &str,
    declaration: &Declaration,
    limits: &Limits,
    mut affected: Affected,
) -> Result<Affected, Failure> {
    if affected.ids.len() > limits.resolved_ids {
        return Err(over(what, "resolved_ids", affected.ids.len(), limits.resolved_ids));
    }
    for (place, id) in affected.ids.iter().enumerate() {
        if let Some(problem) = id_problem(id) {
            let failure = Failure::deterministic(format!("{what}: id {place} of its answer {problem}"));
            return Err(failure.of_guest(GuestEnd::Answer));
        }
    }
    deduplicate(&mut affected.ids);
    deduplicate(&mut affected.queries);
    limits.check_queries(what, affected.queries.len())?;
    declared(what, declaration, &affected.queries)?;
    Ok(affected)
}

fn id_problem(id: &str) -> Option<String> {
    if id.is_empty() {
        Some("is empty".to_owned())
    } else if id.len() > ID_BYTES_MAX {
        Some(format!("has {} bytes, at most {ID_BYTES_MAX} are possible", id.len()))
    } else if id.chars().any(char::is_control) {
        Some("holds a control character".to_owned())
    } else {
        None
    }
}

/// Keeps the first of each.
fn deduplicate<T: Eq + std::hash::Hash>(items: &mut Vec<T>) {
    let keep: Vec<bool> = {
        let mut seen = HashSet::with_capacity(items.len());
        items.iter().map(|item| seen.insert(item)).collect()
    };
    let mut keep = keep.into_iter();
    items.retain(|_| keep.next().unwrap_or(true));
}

/// Whether each of these queries was declared.
pub(super) fn declared(what: &str, declaration: &Declaration, queries: &[Query]) -> Result<(), Failure> {
    match queries.iter().find(|query| !declaration.queries.contains_key(&query.name)) {
        None => Ok(()),
        Some(query) => Err(Failure::deterministic(format!(
            "{what}: it asked for query \"{}\", which its descriptor does not declare",
            printable(&query.name, NAME_SHOWN_BYTES_MAX)
        ))
        .of_guest(GuestEnd::Answer)),
    }
}

const NAME_SHOWN_BYTES_MAX: usize = 100;

/// The answer of an assemble: as many outcomes as ids. A document that is none is that document's fault alone.
pub(super) fn outcomes(
    what: &str,
    limits: &Limits,
    met: &LimitsMet,
    ids: usize,
    answered: Vec<Answered>,
) -> Result<Vec<Outcome>, Failure> {
    if answered.len() != ids {
        let failure = Failure::deterministic(format!("{what}: it answered {} outcomes for {ids} ids", answered.len()));
        return Err(failure.of_guest(GuestEnd::Answer));
    }
    let outcome = |answered| match answered {
        Answered::Document(text) => match document(text, limits, met) {
            Ok(document) => Outcome::Document(document),
            Err(rejection) => Outcome::Rejected(rejection),
        },
        Answered::Absent => Outcome::Absent,
        Answered::Rejected(reason) => Outcome::Rejected(Rejection {
            kind: "builder".to_owned(),
            // Its words may quote a row: they belong into the quarantine record, not into a log.
            reason: "the builder rejected it".to_owned(),
            detail: Some(printable(&reason, REASON_BYTES_MAX)),
        }),
    };
    Ok(answered.into_iter().map(outcome).collect())
}

/// Bytes of a guest's reason for a rejection that are kept.
const REASON_BYTES_MAX: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edges::FailureClass;
    use crate::model::RowForm;

    fn check(ids: &[&str], queries: &[&str]) -> Result<Affected, Failure> {
        let declaration = Declaration {
            contract: "0.1".to_owned(),
            rows: RowForm::Columns,
            indexes: Vec::new(),
            queries: [("hop".to_owned(), "select 1".to_owned())].into(),
        };
        let limits = Limits { resolved_ids: 3, queries: 1, ..Limits::default() };
        let query = |name: &&str| Query { name: (*name).to_owned(), params: vec![Some("[1]".to_owned())] };
        let affected_ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let answer = Affected { ids: affected_ids, queries: queries.iter().map(query).collect() };
        affected("b", &declaration, &limits, answer)
    }

    #[test]
    fn ids_and_queries_come_out_once_and_in_order() {
        let checked = check(&["b", "a", "b"], &["hop", "hop"]).unwrap();
        assert_eq!(checked.ids, ["b", "a"]);
        assert_eq!(checked.queries.len(), 1);
    }

    #[test]
    fn an_id_that_no_search_engine_takes_is_refused() {
        for bad in ["", "a\nb", "a\u{0}", &"x".repeat(ID_BYTES_MAX + 1)] {
            let failure = check(&["good", bad], &[]).unwrap_err();
            assert_eq!(failure.class, FailureClass::Deterministic);
            assert!(failure.message().contains("id 1 of its answer"), "{failure}");
        }
        assert!(check(&[&"x".repeat(ID_BYTES_MAX)], &[]).is_ok());
    }

    #[test]
    fn too_many_ids_are_the_batch_s_size_and_an_unknown_query_is_the_guest_s_fault() {
        assert_eq!(check(&["1", "2", "3", "4"], &[]).unwrap_err().class, FailureClass::Oversize);
        let failure = check(&[], &["drop\u{1b}"]).unwrap_err();
        assert_eq!(failure.class, FailureClass::Deterministic);
        assert!(failure.message().contains("drop\\u{1b}"), "{failure}");
    }
}
