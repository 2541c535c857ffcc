//! What is not a message is refused in words: the message, the place, what was expected and found; never a value.

use bytes::Bytes;
use docmill::postgres::pgoutput::{Problem, decode};

use super::wire::{Field, Picture};

#[track_caller]
fn refused(bytes: &[u8]) -> String {
    decode(Bytes::copy_from_slice(bytes)).expect_err("the bytes were accepted").to_string()
}

#[test]
fn nothing_is_not_a_message() {
    assert_eq!(
        refused(b""),
        "failed to decode a pgoutput message at byte 0 of 0: \
         expected the first byte of a message of proto_version 1, found no bytes"
    );
}

#[test]
fn an_unknown_tag_is_named_with_the_protocol_version() {
    assert_eq!(
        refused(b"x123"),
        "failed to decode a pgoutput message at byte 0 of 4: \
         expected a message of proto_version 1, found the unknown tag 'x'"
    );
    assert!(refused(b"\x07").ends_with("found the unknown tag 0x07"));
}

#[test]
fn messages_of_later_protocols_are_refused_with_the_remedy() {
    for tag in b"SEcAbPKrp" {
        let error = refused(&[*tag, 0, 0, 0, 1, 1]);
        assert!(error.contains("of proto_version "), "{error}");
        assert!(error.ends_with("replication must be started with proto_version '1'"), "{error}");
    }
}

#[test]
fn text_that_is_not_utf_8_names_relation_and_column_and_not_the_value() {
    let insert = Picture::Insert { relation: 16_385, new: vec![Field::Null, Field::Text("secret".into())] };
    let mut bytes = insert.encode().to_vec();
    *bytes.last_mut().unwrap() = 0xff;
    let error = refused(&bytes);
    assert!(
        error.starts_with(
            "failed to decode a pgoutput Insert message (relation 16385, column 2) at byte 14 of 20: \
             expected the text of a column in UTF-8, found 6 bytes that are not; "
        ),
        "{error}"
    );
    assert!(!error.contains("secre"), "{error}");
}

#[test]
fn binary_values_are_refused_with_the_remedy() {
    let error = refused(b"I\0\0\0\x05N\0\x01b\0\0\0\x01x");
    assert!(error.contains("(relation 5, column 1) at byte 8 of 14"), "{error}");
    assert!(error.ends_with("replication must be started without the option binary"), "{error}");
}

#[test]
fn a_count_is_checked_against_the_bytes_before_anything_is_made_for_it() {
    assert_eq!(
        refused(b"I\0\0\0\x05N\x06\x80nn"),
        "failed to decode a pgoutput Insert message (relation 5) at byte 6 of 10: \
         expected 1664 columns of a tuple in at least 1664 bytes, found 2 bytes left"
    );
    assert!(refused(b"I\0\0\0\x05N\xff\xffnn").ends_with("expected at most 1664 columns of a tuple, found 65535"));
    assert!(
        refused(b"R\0\0\0\x05\0t\0d\0\x02\0a\0\0\0\0\x17\xff\xff\xff\xff")
            .ends_with("at byte 9 of 22: expected 2 columns of a relation in at least 20 bytes, found 11 bytes left")
    );
    assert!(
        refused(b"T\xff\xff\xff\xff\0\0\0\0\x05")
            .ends_with("expected 4294967295 relations in at least 17179869180 bytes, found 5 bytes left")
    );
}

#[test]
fn lengths_are_checked() {
    assert!(
        refused(b"I\0\0\0\x05N\0\x01t\0\0\0\x05abcd")
            .ends_with("at byte 13 of 17: expected the text of a column in 5 bytes, found 4 bytes left")
    );
    assert!(
        refused(b"I\0\0\0\x05N\0\x01t\xff\xff\xff\xffabcd")
            .ends_with("at byte 9 of 17: expected a length of at least 0 for the text of a column, found -1")
    );
    assert!(
        refused(b"Y\0\0\0\x05public\0moo").ends_with(
            "at byte 12 of 15: expected the type's name, ended by a zero byte, found none in the 3 bytes left"
        )
    );
    assert!(refused(b"C\0\0").ends_with("at byte 2 of 3: expected the commit LSN in 8 bytes, found 1 bytes left"));
}

#[test]
fn tags_inside_a_message_are_checked() {
    assert!(refused(b"I\0\0\0\x05O\0\0").ends_with("expected the new tuple: 'N', found 'O'"));
    assert!(refused(b"U\0\0\0\x05X\0\0").ends_with("the old row or the new tuple: 'K', 'O' or 'N', found 'X'"));
    assert!(refused(b"U\0\0\0\x05K\0\0K\0\0").ends_with("the new tuple behind the old one: 'N', found 'K'"));
    assert!(refused(b"D\0\0\0\x05N\0\0").ends_with("expected the old key or the old row: 'K' or 'O', found 'N'"));
    assert!(refused(b"I\0\0\0\x05N\0\x01q").ends_with("expected the form of a column: 'n', 'u' or 't', found 'q'"));
    assert!(refused(b"R\0\0\0\x05\0t\0x\0\0").ends_with("'d', 'n', 'f' or 'i', found 'x'"));
}

#[test]
fn bits_that_nobody_knows_are_refused() {
    let mut commit = Picture::Commit { commit_lsn: 1, end_lsn: 2, time: 3 }.encode().to_vec();
    commit[1] = 1;
    assert!(refused(&commit).ends_with("expected the commit's flags within the bits 0x00, found 0x01"));
    assert!(refused(b"T\0\0\0\0\x04").ends_with("expected the options within the bits 0x03, found 0x04"));
}

#[test]
fn a_transaction_without_a_position_is_refused() {
    let begin = Picture::Begin { final_lsn: 0, time: 0, xid: 1 }.encode();
    assert_eq!(decode(begin).unwrap_err().problem, Problem::NoPosition);
}

#[test]
fn neither_messages_nor_cells_print_values() {
    let insert = Picture::Insert { relation: 1, new: vec![Field::Text("secret".into())] };
    let emitted = Picture::Emitted { transactional: true, lsn: 1, prefix: "p".into(), content: b"secret".to_vec() };
    for picture in [insert, emitted] {
        let printed = format!("{:?}", decode(picture.encode()).unwrap());
        assert!(!printed.contains("secret") && !printed.contains("115"), "{printed}");
    }
}
