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

/// Records `request`: a record that covers it is asked again from the beginning; records that it covers go.
pub fn ask(state: &mut StateDocument, request: PassRequest) {
    let builder_version = state.builder_version.clone();
    let covering = state.passes.iter_mut().find(|pass| {
        pass.index == request.index
            && (pass.set == request.set || pass.set == PassSet::Index)
            && pass.builder_version == builder_version
    });
    if let Some(pass) = covering {
        pass.asked = pass.asked.max(request.asked);
        pass.sweep |= request.sweep;
        if request.needs_barrier {
            pass.needs_barrier = true;
            pass.barrier = None;
        }
        // The same positions may ask twice (a change that came again): the number is what ends a pass only once.
        state.last_pass += 1;
        pass.id = state.last_pass;
        pass.progress = PassProgress::default();
        return;
    }
    if request.set == PassSet::Index {
        state.passes.retain(|pass| pass.index != request.index);
    }
    state.last_pass += 1;
    state.passes.push(Pass {
        id: state.last_pass,
        index: request.index,
        set: request.set,
        reason: request.reason,
        asked: request.asked,
        builder_version,
        needs_barrier: request.needs_barrier,
        barrier: None,
        progress: PassProgress::default(),
        sweep: request.sweep,
    });
}

/// Ends the pass of that id, if nobody asked for it again meanwhile (then its id is another). A whole index is seeded by
/// it. Says whether it ended.
pub fn end(state: &mut StateDocument, id: u64) -> bool {
    let Some(place) = state.passes.iter().position(|pass| pass.id == id) else {
        return false;
    };
    let pass = state.passes.remove(place);
    if pass.set == PassSet::Index
        && let Some(generation) = state.generations.get_mut(&*pass.index)
    {
        generation.seeded = true;
    }
    true
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
        PassSet::Query {
            name: name.into(),
            params: vec![],
        }
    }

    #[test]
    fn the_second_of_two_truncates_is_not_lost_with_the_first() {
        let mut state = state();
        ask(&mut state, request(PassSet::Index, 10));
        let first = state.passes[0].id;
        state.passes[0].progress.documents = 7;
        ask(&mut state, request(PassSet::Index, 20));
        assert!(!end(&mut state, first), "it was asked again");
        assert_eq!((state.passes.len(), state.passes[0].asked), (1, Position::new(20)));
        assert_eq!(state.passes[0].progress, PassProgress::default());
        let second = state.passes[0].id;
        assert!(end(&mut state, second));
        assert!(state.passes.is_empty() && state.generations["users"].seeded);
    }

    #[test]
    fn a_whole_index_covers_what_its_queries_yield() {
        let mut state = state();
        ask(&mut state, request(query("a"), 10));
        ask(&mut state, request(query("b"), 11));
        assert_eq!(state.passes.len(), 2);
        ask(&mut state, request(PassSet::Index, 12));
        assert_eq!(state.passes.len(), 1);
        ask(&mut state, request(query("a"), 13));
        assert_eq!((state.passes.len(), &state.passes[0].set), (1, &PassSet::Index));
        assert_eq!(state.passes[0].asked, Position::new(13));
    }
}
