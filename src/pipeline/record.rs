//! Asking for a pass: how a request and the records that are there become one set of records. Plain functions of the
//! state, called inside a [`Ledger`](super::ledger::Ledger) update, so that a request is durable before the ack that it
//! allows.

use std::sync::Arc;

use crate::model::{BuilderVersion, Pass, PassProgress, PassReason, PassSet, Position, StateDocument};

/// A wish for a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassRequest {
    /// The index, by its declared name.
    pub index: Arc<str>,
    /// Which documents.
    pub set: PassSet,
    /// Why.
    pub reason: PassReason,
    /// The position of the change that asks for it.
    pub asked: Position,
    /// Whether something older may still be written.
    pub needs_barrier: bool,
    /// Whether documents that no row makes any more are to be looked for.
    pub sweep: bool,
}

/// Query passes of one index at most; beyond them one pass over the whole index costs less than their records.
const QUERY_PASSES_MAX: usize = 16;

/// Records `request`. A record of the same set is asked again: its present run goes on, and is followed by another. A whole
/// index takes the place of its queries, but not the other way round: waiting for it would starve it.
pub fn ask(state: &mut StateDocument, mut request: PassRequest) {
    let queries = |state: &StateDocument| {
        state
            .passes
            .iter()
            .filter(|pass| pass.index == request.index && matches!(pass.set, PassSet::Query { .. }))
            .count()
    };
    if matches!(request.set, PassSet::Query { .. }) && queries(state) >= QUERY_PASSES_MAX {
        request.set = PassSet::Index;
    }
    if request.set == PassSet::Index {
        // What an index holds is part of it only where it is swept.
        let covered = |pass: &Pass| match pass.set {
            PassSet::Index => false,
            PassSet::Held => request.sweep && request.needs_barrier,
            PassSet::Query { .. } => true,
        };
        state.passes.retain(|pass| pass.index != request.index || !covered(pass));
    }
    let builder_version = state.builder_version.clone();
    let same =
        |pass: &Pass| pass.index == request.index && pass.set == request.set && pass.builder_version == builder_version;
    if let Some(place) = state.passes.iter().position(same) {
        let pass = &mut state.passes[place];
        pass.asked = pass.asked.max(request.asked);
        pass.sweep |= request.sweep;
        // Not cut short when it reads already: requests that come faster than a run would starve it.
        if request.needs_barrier && (!pass.needs_barrier || pass.barrier.is_some()) {
            pass.again = true;
        } else if request.needs_barrier {
            // Another pass in its place: the marker that it waits for may have been written before.
            state.last_pass += 1;
            *pass = Pass {
                id: state.last_pass,
                reason: request.reason,
                begun: pass.asked,
                needs_barrier: true,
                barrier: None,
                progress: PassProgress::default(),
                ..pass.clone()
            };
        }
        return;
    }
    state.last_pass += 1;
    state.passes.push(Pass {
        id: state.last_pass,
        index: request.index,
        set: request.set,
        reason: request.reason,
        asked: request.asked,
        begun: request.asked,
        builder_version,
        needs_barrier: request.needs_barrier,
        again: false,
        barrier: None,
        progress: PassProgress::default(),
        sweep: request.sweep,
    });
}

/// A run of `run` is through: ends the pass, if nothing newer was asked meanwhile; otherwise its next run begins. A whole index
/// is seeded by it. Says whether it ended.
pub fn end(state: &mut StateDocument, run: &Pass) -> bool {
    let Some(place) = state.passes.iter().position(|pass| pass.id == run.id) else { return true };
    let pass = &mut state.passes[place];
    if !same_run(pass, run) {
        return false;
    }
    if pass.again {
        let next = Pass {
            id: state.last_pass + 1,
            begun: pass.asked,
            needs_barrier: true,
            again: false,
            barrier: None,
            progress: PassProgress::default(),
            ..pass.clone()
        };
        *pass = next;
        state.last_pass += 1;
        return false;
    }
    if pass.asked > run.begun || pass.sweep != run.sweep {
        pass.begun = pass.asked;
        pass.progress = PassProgress::default();
        return false;
    }
    let pass = state.passes.remove(place);
    if pass.set == PassSet::Index
        && let Some(generation) = state.generations.get_mut(&*pass.index)
    {
        generation.seeded = true;
    }
    true
}

/// Whether a record is still of the run that `run` is a copy of.
pub fn same_run(pass: &Pass, run: &Pass) -> bool {
    pass.id == run.id && pass.begun == run.begun
}

/// The passes that a builder other than the state's asked for do not count any more.
pub fn drop_other_builders(state: &mut StateDocument, builder_version: &BuilderVersion) {
    state.passes.retain(|pass| pass.builder_version == *builder_version);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::start::tests::state;

    fn request(set: PassSet, asked: u64) -> PassRequest {
        PassRequest {
            index: "users".into(),
            set,
            reason: PassReason::Truncate,
            asked: Position::new(asked),
            needs_barrier: false,
            sweep: false,
        }
    }

    fn query(name: &str) -> PassSet {
        PassSet::Query { name: name.into(), params: vec![] }
    }

    #[test]
    fn the_second_of_two_truncates_is_not_lost_with_the_first() {
        let mut state = state();
        ask(&mut state, request(PassSet::Index, 10));
        let first = state.passes[0].clone();
        state.passes[0].progress.documents = 7;
        ask(&mut state, request(PassSet::Index, 20));
        assert_eq!(state.passes[0].progress.documents, 7, "the present run goes on");
        assert!(!end(&mut state, &first), "it was asked again");
        assert_eq!((state.passes.len(), state.passes[0].begun), (1, Position::new(20)));
        assert_eq!(state.passes[0].progress, PassProgress::default());
        let second = state.passes[0].clone();
        assert!(end(&mut state, &second));
        assert!(state.passes.is_empty() && state.generations["users"].seeded);
    }

    #[test]
    fn a_request_with_a_barrier_is_not_met_by_a_run_that_reads_already_and_does_not_cut_it_short() {
        let mut state = state();
        ask(&mut state, request(PassSet::Index, 10));
        let early = state.passes[0].clone();
        ask(
            &mut state,
            PassRequest { needs_barrier: true, reason: PassReason::CatalogChanged, ..request(PassSet::Index, 10) },
        );
        assert!(state.passes.iter().any(|pass| same_run(pass, &early)), "it goes on");
        assert!(!end(&mut state, &early), "and is followed by another");
        let next = state.passes[0].clone();
        assert!(next.id != early.id && next.barrier.is_none() && next.needs_barrier);
        // One that waits for its marker begins anew: the marker may be older than the request.
        ask(&mut state, PassRequest { needs_barrier: true, ..request(PassSet::Index, 10) });
        assert!(!state.passes.iter().any(|pass| same_run(pass, &next)));
        let last = state.passes[0].clone();
        assert!(end(&mut state, &last) && state.passes.is_empty());
    }

    #[test]
    fn what_an_index_holds_is_covered_by_a_sweep_behind_a_barrier_only() {
        let mut state = state();
        ask(&mut state, PassRequest { needs_barrier: true, sweep: true, ..request(PassSet::Held, 10) });
        ask(&mut state, request(PassSet::Index, 11));
        assert_eq!(state.passes.len(), 2);
        ask(&mut state, PassRequest { needs_barrier: true, sweep: true, ..request(PassSet::Index, 12) });
        assert_eq!((state.passes.len(), &state.passes[0].set), (1, &PassSet::Index));
    }

    #[test]
    fn a_sweep_asked_for_during_a_run_is_not_lost() {
        let mut state = state();
        ask(&mut state, request(PassSet::Index, 10));
        let first = state.passes[0].clone();
        ask(&mut state, PassRequest { sweep: true, ..request(PassSet::Index, 10) });
        assert!(!end(&mut state, &first));
        let second = state.passes[0].clone();
        assert!(second.sweep && end(&mut state, &second));
    }

    #[test]
    fn a_whole_index_takes_the_place_of_its_queries_and_is_not_held_up_by_them() {
        let mut state = state();
        ask(&mut state, request(query("a"), 10));
        ask(&mut state, request(query("b"), 11));
        assert_eq!(state.passes.len(), 2);
        ask(&mut state, request(PassSet::Index, 12));
        assert_eq!(state.passes.len(), 1);
        state.passes[0].progress.documents = 7;
        ask(&mut state, request(query("a"), 13));
        assert_eq!((state.passes.len(), state.passes[0].progress.documents), (2, 7));
    }

    #[test]
    fn the_records_of_one_index_are_bounded() {
        let mut state = state();
        for number in 0..100 {
            ask(&mut state, request(query(&format!("q{number}")), number));
        }
        assert!(state.passes.len() <= 1 + QUERY_PASSES_MAX, "{}", state.passes.len());
    }
}
