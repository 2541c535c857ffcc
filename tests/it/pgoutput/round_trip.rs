//! Every message that a server could send comes out as it went in.

use docmill::postgres::pgoutput::{COLUMNS_MAX, Message, decode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::wire::{Field, Picture, Row};

fn name() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.replace('\0', ""))
}

fn namespace() -> impl Strategy<Value = String> {
    // An empty name is how the wire says pg_catalog.
    name().prop_map(|name| if name.is_empty() { "pg_catalog".into() } else { name })
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![Just(Field::Null), Just(Field::Unchanged), any::<String>().prop_map(Field::Text)]
}

fn row() -> impl Strategy<Value = Row> {
    vec(field(), 0..20)
}

fn old() -> impl Strategy<Value = (char, Row)> {
    (select(vec!['K', 'O']), row())
}

pub fn picture() -> impl Strategy<Value = Picture> {
    prop_oneof![
        (1..=u64::MAX, any::<i64>(), any::<u32>()).prop_map(|(final_lsn, time, xid)| Picture::Begin {
            final_lsn,
            time,
            xid
        }),
        any::<(u64, u64, i64)>().prop_map(|(commit_lsn, end_lsn, time)| Picture::Commit { commit_lsn, end_lsn, time }),
        (any::<u64>(), name()).prop_map(|(lsn, name)| Picture::Origin { lsn, name }),
        (
            any::<u32>(),
            namespace(),
            name(),
            select(vec!['d', 'n', 'f', 'i']),
            vec((any::<bool>(), name(), any::<u32>(), any::<i32>()), 0..20)
        )
            .prop_map(|(oid, namespace, name, identity, columns)| Picture::Relation {
                oid,
                namespace,
                name,
                identity,
                columns
            }),
        (any::<u32>(), namespace(), name()).prop_map(|(oid, namespace, name)| Picture::Type { oid, namespace, name }),
        (any::<u32>(), row()).prop_map(|(relation, new)| Picture::Insert { relation, new }),
        (any::<u32>(), prop::option::of(old()), row()).prop_map(|(relation, old, new)| Picture::Update {
            relation,
            old,
            new
        }),
        (any::<u32>(), old()).prop_map(|(relation, old)| Picture::Delete { relation, old }),
        (vec(any::<u32>(), 0..20), any::<bool>(), any::<bool>())
            .prop_map(|(relations, cascade, restart)| { Picture::Truncate { relations, cascade, restart } }),
        (any::<bool>(), any::<u64>(), name(), vec(any::<u8>(), 0..100))
            .prop_map(|(transactional, lsn, prefix, content)| Picture::Emitted { transactional, lsn, prefix, content }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn a_message_means_what_was_encoded(picture in picture()) {
        let message = decode(picture.encode()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(Picture::of(&message), picture);
    }

    #[test]
    fn a_message_is_exactly_its_bytes(picture in picture(), surplus in vec(any::<u8>(), 1..9), cut in any::<Index>()) {
        let bytes = picture.encode();
        let mut longer = bytes.to_vec();
        longer.extend(&surplus);
        prop_assert!(decode(longer.into()).is_err(), "bytes behind a message were accepted");
        prop_assert!(decode(bytes.slice(..cut.index(bytes.len()))).is_err(), "a cut message was accepted");
    }
}

#[test]
fn the_widest_row_is_accepted_and_one_column_more_is_not() {
    let insert = |columns: u16| Picture::Insert { relation: 1, new: vec![Field::Null; columns.into()] }.encode();
    let Ok(Message::Insert(insert_max)) = decode(insert(COLUMNS_MAX)) else {
        panic!("{COLUMNS_MAX} columns were refused")
    };
    assert_eq!(insert_max.new.cells().count(), usize::from(COLUMNS_MAX));
    assert_eq!(
        decode(insert(COLUMNS_MAX + 1)).unwrap_err().to_string(),
        "failed to decode a pgoutput Insert message (relation 1) at byte 6 of 1673: \
         expected at most 1664 columns of a tuple, found 1665"
    );
}

#[test]
fn values_share_the_buffer_they_came_in() {
    let bytes = Picture::Emitted { transactional: true, lsn: 1, prefix: "p".into(), content: b"content".to_vec() };
    let bytes = bytes.encode();
    let Ok(Message::Emitted(emitted)) = decode(bytes.clone()) else { panic!("refused") };
    assert_eq!(emitted.content.as_ptr(), bytes[bytes.len() - b"content".len()..].as_ptr());
}
