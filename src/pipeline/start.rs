//! The one comparison at a start: what the destination remembers against what the source and the sink are now. A plain
//! function; it decides which documents must be assembled again, and under which history.
//!
//! | found | then |
//! |---|---|
//! | no state, indexes empty | backfill |
//! | no state, an index with documents | refused: it is never taken over in place |
//! | another cluster, timeline or database; its log or its transaction ids went back | next history, everything again |
//! | slot made anew, or confirmed past the checkpoint | everything again: changes are missing |
//! | an index made anew or restored | that index again |
//! | a crash may have lost commits that were seen | next history, everything again |
//! | another builder or configuration | everything again |
//! | a table is defined in another way | the indexes that need it again |
//! | otherwise | go on where it stopped |

use crate::edges::{Failure, Generation, OnLostSlot, StreamStart};
use crate::model::{
    BuilderVersion, GenerationState, History, IndexDeclaration, PassReason, PassSet, Position, StateDocument,
    TableDeclaration,
};
use std::collections::BTreeSet;

use super::record::{self, PassRequest};

/// What is there at a start.
#[derive(Debug)]
pub struct Found<'a> {
    /// A random token of this process.
    pub owner: &'a str,
    /// The source.
    pub stream: &'a StreamStart,
    /// The builder.
    pub builder_version: &'a BuilderVersion,
    /// What it declares.
    pub indexes: &'a [IndexDeclaration],
    /// The physical indexes, in the same order.
    pub generations: &'a [Generation],
    /// Whether an empty destination is taken as filled, because its owner says so.
    pub skip_backfill: bool,
    /// The schema of tables that the builder names without one.
    pub schema: &'a str,
    /// Whether what is lost may be made up for.
    pub on_lost: OnLostSlot,
}

/// The state to begin with, in place of `previous`.
///
/// # Errors
///
/// `Fatal` when a person must decide.
pub fn begin(previous: Option<StateDocument>, found: &Found<'_>) -> Result<StateDocument, Failure> {
    let stream = found.stream;
    if found.generations.len() != found.indexes.len() {
        return Err(Failure::fatal(format!(
            "the sink made {} indexes where {} are declared",
            found.generations.len(),
            found.indexes.len()
        )));
    }
    let fresh = previous.is_none();
    let mut state = match previous {
        Some(state) if state.format == StateDocument::FORMAT => state,
        Some(state) => {
            return Err(Failure::fatal(format!(
                "the destination's state has format {}, this docmill reads format {}",
                state.format,
                StateDocument::FORMAT
            ))
            .with_advice("run the docmill that wrote it, or begin with another index prefix"));
        }
        None => StateDocument {
            format: StateDocument::FORMAT,
            owner: String::new(),
            source: stream.identity.clone(),
            history: History::FIRST,
            checkpoint: stream.confirmed,
            next_xid: 0,
            crash_sign: None,
            catalog: Default::default(),
            settled: true,
            builder_version: found.builder_version.clone(),
            generations: Default::default(),
            passes: Vec::new(),
            last_pass: 0,
        },
    };

    let again = reason_for_all(&state, found);
    if let (OnLostSlot::Refuse, Some(lost)) = (found.on_lost, again.as_ref().and_then(|again| again.lost.as_deref())) {
        return Err(Failure::fatal(format!("changes since {} are lost: {lost}", state.checkpoint))
            .with_advice("set on_lost_slot = \"rebuild\", and every document is assembled again"));
    }
    let again = again.map(|again| again.reason);
    if again == Some(PassReason::SourceChanged) {
        state.history = state.history.next().ok_or_else(|| {
            Failure::fatal("the source changed for the 256th time, and histories end at 255")
                .with_advice("begin with another index prefix")
        })?;
    }
    if again.is_some() {
        state.checkpoint = stream.confirmed;
    }
    state.owner = found.owner.to_owned();
    state.source = stream.identity.clone();
    // Kept beside the checkpoint, of transactions that were seen: what the source would give out next may be forgotten by a crash.
    if again == Some(PassReason::SourceChanged) {
        state.next_xid = 0;
    }
    state.crash_sign = stream.crash_sign.clone();
    state.settled = false;
    let redefined = redefined(&state, found);
    state.catalog = stream.catalog.iter().map(|(table, sign)| (table.to_string(), sign.clone())).collect();
    state.builder_version = found.builder_version.clone();
    record::drop_other_builders(&mut state, found.builder_version);
    // What is known of indexes that are not declared now is kept: one that comes back must not pass for somebody else's.
    state.passes.retain(|pass| found.indexes.iter().any(|index| *index.name == *pass.index));
    // Labels of this process may begin below a marker that an earlier one saw.
    state.passes.iter_mut().for_each(|pass| pass.barrier = None);

    for (index, generation) in found.indexes.iter().zip(found.generations) {
        let known = state.generations.get(&index.name);
        if known.is_none() && !generation.empty {
            return Err(Failure::fatal(format!(
                "index {} holds documents, but there is no state that says whose they are",
                generation.name
            ))
            .with_advice("delete the index if docmill may fill it anew, or use another index prefix"));
        }
        let same = known.is_some_and(|known| known.name == generation.name && known.uuid == generation.uuid);
        let seeded = known.is_some_and(|known| known.seeded) && same || fresh && found.skip_backfill;
        let entry = GenerationState { name: generation.name.clone(), uuid: generation.uuid.clone(), seeded };
        let reason = match (again, same) {
            (Some(reason), _) => Some(reason),
            (None, true) if redefined.contains(&index.name) => Some(PassReason::CatalogChanged),
            (None, true) if seeded => None,
            (None, false) if known.is_some() && !generation.empty => Some(PassReason::LostPosition),
            (None, _) if seeded => None,
            (None, _) => Some(PassReason::Backfill),
        };
        state.generations.insert(index.name.clone(), entry);
        let recorded = state.passes.iter().any(|pass| *pass.index == *index.name && pass.set == PassSet::Index);
        let Some(reason) = reason else { continue };
        // An unfinished backfill goes on where it was; everything else is asked anew, and takes the place of all that is on
        // record: of a position in another log, or done in an index that is not there any more.
        if reason == PassReason::Backfill && recorded && same {
            continue;
        }
        state.passes.retain(|pass| *pass.index != *index.name);
        let older_may_come = reason != PassReason::Backfill;
        record::ask(
            &mut state,
            PassRequest {
                index: index.name.as_str().into(),
                set: PassSet::Index,
                reason,
                // A backfill needs no position to be reached: what changes meanwhile comes by the stream, and what was written
                // already is of no older state.
                asked: if older_may_come { stream.flushed } else { Position::ZERO },
                needs_barrier: older_may_come,
                sweep: older_may_come,
            },
        );
    }
    Ok(state)
}

/// Why every document must be assembled again.
struct Everything {
    reason: PassReason,
    /// What was lost with it, where a person may want to know before.
    lost: Option<String>,
}

fn reason_for_all(state: &StateDocument, found: &Found<'_>) -> Option<Everything> {
    let stream = found.stream;
    let (old, new) = (&state.source, &stream.identity);
    let source = |what: String| Some(Everything { reason: PassReason::SourceChanged, lost: Some(what) });
    if old.system_identifier != new.system_identifier || old.database != new.database {
        return source(format!(
            "the source was database {} of system {}, and is database {} of system {}",
            old.database, old.system_identifier, new.database, new.system_identifier
        ));
    }
    if old.timeline != new.timeline {
        return source(format!("the source was on timeline {}, and is on timeline {}", old.timeline, new.timeline));
    }
    if stream.flushed < state.checkpoint {
        return source(format!("the source's log ends at {}, before that", stream.flushed));
    }
    if stream.next_xid < state.next_xid {
        return source(format!(
            "the source's next transaction is {}, and was {} before",
            stream.next_xid, state.next_xid
        ));
    }
    if stream.loses_commits && state.crash_sign.is_some() && state.crash_sign != stream.crash_sign {
        return source(
            "the source crashed, and with asynchronous commit it may have lost what it had shown".to_owned(),
        );
    }
    if state.generations.is_empty() {
        return None;
    }
    let slot = |what: String| Some(Everything { reason: PassReason::LostPosition, lost: Some(what) });
    if old.slot != new.slot {
        return slot(format!("the slot was {}, and is {}", old.slot, new.slot));
    }
    if stream.created {
        return slot(format!("slot {} was made anew", new.slot));
    }
    if state.checkpoint < stream.confirmed {
        return slot(format!("slot {} was moved on to {} by somebody else", new.slot, stream.confirmed));
    }
    let other_builder = state.builder_version != *found.builder_version;
    other_builder.then_some(Everything { reason: PassReason::BuilderChanged, lost: None })
}

/// The indexes of which a table is defined in another way than when their documents were made.
fn redefined(state: &StateDocument, found: &Found<'_>) -> BTreeSet<String> {
    let differs = |table: &TableDeclaration| {
        let name = table.name_in(found.schema);
        let (before, now) = (state.catalog.get(&name.to_string()), found.stream.catalog.get(&name));
        before.is_some() && now.is_some() && before != now
    };
    let indexes = found.indexes.iter().filter(|index| index.tables.iter().any(differs));
    indexes.map(|index| index.name.clone()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Pass, SourceIdentity, TableName};

    fn stream() -> StreamStart {
        StreamStart {
            identity: SourceIdentity {
                system_identifier: "7".into(),
                timeline: 1,
                database: "shop".into(),
                slot: "docmill".into(),
            },
            confirmed: Position::new(100),
            flushed: Position::new(200),
            next_xid: 50,
            created: false,
            crash_sign: None,
            loses_commits: false,
            catalog: Default::default(),
        }
    }

    fn index() -> IndexDeclaration {
        IndexDeclaration {
            name: "users".into(),
            mapping: serde_json::json!({}),
            settings: None,
            tables: vec![TableDeclaration {
                table: "users".into(),
                schema: None,
                root: true,
                everything: false,
                keys: vec!["id".into()],
                columns: crate::model::Columns::Any,
            }],
            reads: vec![],
            routing: None,
        }
    }

    fn generation() -> Generation {
        Generation { name: "users-1".into(), uuid: "u".into(), created: true, empty: true }
    }

    fn start(
        previous: Option<StateDocument>,
        change: impl FnOnce(&mut StreamStart, &mut Generation, &mut String),
    ) -> StateDocument {
        let (mut stream, mut generation, mut builder) = (stream(), generation(), "b".to_owned());
        change(&mut stream, &mut generation, &mut builder);
        begin(
            previous,
            &Found {
                owner: "me",
                stream: &stream,
                builder_version: &BuilderVersion(builder),
                indexes: &[index()],
                generations: &[generation],
                skip_backfill: false,
                schema: "public",
                on_lost: OnLostSlot::Rebuild,
            },
        )
        .unwrap()
    }

    /// The state of a first start.
    pub(in crate::pipeline) fn first() -> StateDocument {
        start(None, |_, _, _| {})
    }

    /// A destination that is filled and in step.
    pub(in crate::pipeline) fn state() -> StateDocument {
        let mut state = first();
        let pass = state.passes[0].clone();
        assert!(record::end(&mut state, &pass));
        state.checkpoint = Position::new(150);
        state.next_xid = 50;
        state
    }

    fn reasons(state: &StateDocument) -> Vec<PassReason> {
        state.passes.iter().map(|pass| pass.reason).collect()
    }

    #[test]
    fn an_empty_destination_is_backfilled() {
        let state = first();
        assert_eq!(reasons(&state), [PassReason::Backfill]);
        assert!(!state.passes[0].needs_barrier && !state.generations["users"].seeded);
    }

    #[test]
    fn a_destination_in_step_goes_on() {
        let next = start(Some(state()), |_, generation, _| generation.empty = false);
        assert!(next.passes.is_empty());
        assert_eq!(next.checkpoint, Position::new(150));
    }

    #[test]
    fn an_unfinished_backfill_goes_on_where_it_was() {
        let mut previous = first();
        previous.passes[0].progress.documents = 5;
        let next = start(Some(previous.clone()), |_, _, _| {});
        assert_eq!(next.passes, previous.passes);
    }

    #[test]
    fn changes_that_the_slot_lost_are_made_up_for() {
        for change in [
            (|stream: &mut StreamStart| stream.created = true) as fn(&mut StreamStart),
            |stream| stream.confirmed = Position::new(151),
            |stream| stream.identity.slot = "other".into(),
        ] {
            let next = start(Some(state()), |stream, _, _| change(stream));
            assert_eq!(reasons(&next), [PassReason::LostPosition]);
            assert!(next.passes[0].needs_barrier && next.passes[0].sweep);
            assert_eq!(next.history, History::FIRST);
        }
    }

    #[test]
    fn a_confirmed_position_behind_the_checkpoint_is_ordinary() {
        assert!(start(Some(state()), |stream, _, _| stream.confirmed = Position::new(10)).passes.is_empty());
    }

    #[test]
    fn a_source_that_went_back_begins_a_new_history() {
        for change in [
            (|stream: &mut StreamStart| stream.flushed = Position::new(149)) as fn(&mut StreamStart),
            |stream| stream.next_xid = 49,
            |stream| stream.identity.timeline = 2,
            |stream| stream.identity.system_identifier = "8".into(),
        ] {
            let next = start(Some(state()), |stream, _, _| change(stream));
            assert_eq!(
                (reasons(&next), next.history),
                (vec![PassReason::SourceChanged], History::FIRST.next().unwrap())
            );
        }
    }

    #[test]
    fn an_index_made_anew_in_the_middle_of_a_pass_is_filled_from_the_beginning() {
        let mut previous = first();
        previous.passes[0].progress.documents = 5;
        let next = start(Some(previous), |_, generation, _| generation.uuid = "other".into());
        assert_eq!((reasons(&next), next.passes[0].progress.documents), (vec![PassReason::Backfill], 0));
    }

    #[test]
    fn a_pass_of_another_source_s_log_waits_for_none_of_its_positions() {
        let mut previous = state();
        previous.passes.push(Pass { asked: Position::new(1 << 50), ..first().passes[0].clone() });
        let next = start(Some(previous), |stream, _, _| stream.identity.system_identifier = "8".into());
        assert_eq!((next.passes.len(), next.passes[0].asked), (1, Position::new(200)));
    }

    #[test]
    fn a_crash_that_may_have_lost_commits_begins_a_new_history_and_any_other_does_not() {
        let crashed = |loses_commits: bool| {
            move |stream: &mut StreamStart, _: &mut Generation, _: &mut String| {
                stream.crash_sign = Some("later".into());
                stream.loses_commits = loses_commits;
            }
        };
        let before = || StateDocument { crash_sign: Some("earlier".into()), ..state() };
        let next = start(Some(before()), crashed(true));
        assert_eq!((reasons(&next), next.history.number()), (vec![PassReason::SourceChanged], 1));
        let next = start(Some(before()), crashed(false));
        assert_eq!((reasons(&next), next.crash_sign.as_deref()), (vec![], Some("later")));
        // A state from before the mark was kept says nothing of crashes.
        assert!(reasons(&start(Some(state()), crashed(true))).is_empty());
    }

    #[test]
    fn a_table_that_is_defined_in_another_way_assembles_the_indexes_that_need_it_again() {
        let mut previous = state();
        previous.catalog.insert("public.users".into(), "as it was".into());
        previous.catalog.insert("public.other".into(), "as it was".into());
        let redefined = |table: &'static str| {
            move |stream: &mut StreamStart, _: &mut Generation, _: &mut String| {
                stream.catalog = [(TableName::new("public", table), "as it is".to_owned())].into();
            }
        };
        let next = start(Some(previous.clone()), redefined("users"));
        assert_eq!(reasons(&next), [PassReason::CatalogChanged]);
        assert!(next.passes[0].needs_barrier && next.passes[0].sweep);
        assert_eq!(next.catalog["public.users"], "as it is");
        assert!(reasons(&start(Some(previous.clone()), redefined("other"))).is_empty(), "no index needs it");
        // What was never looked at before cannot have changed since.
        previous.catalog.clear();
        assert!(reasons(&start(Some(previous), redefined("users"))).is_empty());
    }

    #[test]
    fn what_is_lost_is_refused_where_its_owner_wants_to_be_asked() {
        for change in [
            (|stream: &mut StreamStart| stream.created = true) as fn(&mut StreamStart),
            |stream| stream.confirmed = Position::new(151),
            |stream| stream.identity.timeline = 2,
            |stream| stream.flushed = Position::new(149),
        ] {
            let mut stream = stream();
            change(&mut stream);
            let refused = begin(
                Some(state()),
                &Found {
                    owner: "me",
                    stream: &stream,
                    builder_version: &BuilderVersion("b".into()),
                    indexes: &[index()],
                    generations: &[generation()],
                    skip_backfill: false,
                    schema: "public",
                    on_lost: OnLostSlot::Refuse,
                },
            )
            .unwrap_err();
            assert!(refused.advice().is_some_and(|advice| advice.contains("on_lost_slot")), "{refused}");
        }
    }

    #[test]
    fn another_builder_assembles_everything_again() {
        let mut previous = first();
        previous.passes[0].progress.documents = 5;
        let next = start(Some(previous), |_, _, builder| *builder = "c".into());
        assert_eq!(reasons(&next), [PassReason::BuilderChanged]);
        assert!(next.passes[0].needs_barrier && next.passes[0].progress.documents == 0);
    }

    #[test]
    fn an_index_made_anew_is_filled_anew() {
        let next = start(Some(state()), |_, generation, _| generation.uuid = "other".into());
        assert_eq!(reasons(&next), [PassReason::Backfill]);
        let restored = start(Some(state()), |_, generation, _| {
            generation.uuid = "other".into();
            generation.empty = false;
        });
        assert_eq!(reasons(&restored), [PassReason::LostPosition]);
    }

    #[test]
    fn a_marker_of_an_earlier_process_counts_for_nothing() {
        let mut previous = start(Some(state()), |stream, _, _| stream.created = true);
        previous.passes[0].barrier = Some(Position::new(199));
        previous.checkpoint = Position::new(150);
        let next = start(Some(previous), |_, _, _| {});
        assert!(next.passes[0].needs_barrier && next.passes[0].barrier.is_none());
    }

    #[test]
    fn documents_without_a_state_are_not_taken_over() {
        let (stream, mut generation) = (stream(), generation());
        generation.empty = false;
        let refused = begin(
            None,
            &Found {
                owner: "me",
                stream: &stream,
                builder_version: &BuilderVersion("b".into()),
                indexes: &[index()],
                generations: &[generation],
                skip_backfill: false,
                schema: "public",
                on_lost: OnLostSlot::Rebuild,
            },
        );
        assert!(refused.unwrap_err().message().contains("users-1"));
    }
}
