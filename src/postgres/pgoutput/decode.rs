//! [`decode`]: one message from its bytes.

use bytes::Bytes;

use super::error::{DecodeError, Problem};
use super::reader::Reader;
use super::{
    Begin, COLUMNS_MAX, Column, Commit, Delete, Emitted, Insert, Message, MessageKind, OldTuple, Origin, Relation,
    ReplicaIdentity, Text, Timestamp, Truncate, TupleData, Type, Update,
};

/// The smallest column of a `Relation`: flags, an empty name, a type and a type modifier.
const RELATION_COLUMN_BYTES_MIN: usize = 1 + 1 + 4 + 4;

const COLUMN_KEY: u8 = 1;
const TRUNCATE_CASCADE: u8 = 1;
const TRUNCATE_RESTART_IDENTITY: u8 = 2;
const EMITTED_TRANSACTIONAL: u8 = 1;

/// Decodes one message: exactly one, and all of it.
///
/// Allocates for a `Relation`'s columns and a `Truncate`'s oids, at most a few times the size of the message; for
/// everything else the message's own buffer is shared.
///
/// # Errors
///
/// [`DecodeError`] when the bytes are not a whole message of protocol version 1, when there is anything behind it, when
/// text is not UTF-8, or when a value is in binary form. It never holds a value.
pub fn decode(bytes: Bytes) -> Result<Message, DecodeError> {
    let mut reader = Reader::new(&bytes);
    let Some(&tag) = bytes.first() else {
        return Err(reader.error(0, Problem::Empty));
    };
    let Some(kind) = MessageKind::from_tag(tag) else {
        return Err(reader.error(0, unknown(tag)));
    };
    reader.u8("the tag of the message")?;
    reader.at_message(kind);
    let message = match kind {
        MessageKind::Begin => Message::Begin(begin(&mut reader)?),
        MessageKind::Commit => Message::Commit(commit(&mut reader)?),
        MessageKind::Origin => Message::Origin(origin(&mut reader)?),
        MessageKind::Relation => Message::Relation(relation(&mut reader)?),
        MessageKind::Type => Message::Type(type_name(&mut reader)?),
        MessageKind::Insert => Message::Insert(insert(&mut reader)?),
        MessageKind::Update => Message::Update(update(&mut reader)?),
        MessageKind::Delete => Message::Delete(delete(&mut reader)?),
        MessageKind::Truncate => Message::Truncate(truncate(&mut reader)?),
        MessageKind::Emitted => Message::Emitted(emitted(&mut reader)?),
    };
    reader.end()?;
    Ok(message)
}

/// A tag that version 1 does not have: perhaps of a later version, and then somebody asked for the wrong one.
fn unknown(tag: u8) -> Problem {
    let (name, since) = match tag {
        b'S' => ("Stream Start", 2),
        b'E' => ("Stream Stop", 2),
        b'c' => ("Stream Commit", 2),
        b'A' => ("Stream Abort", 2),
        b'b' => ("Begin Prepare", 3),
        b'P' => ("Prepare", 3),
        b'K' => ("Commit Prepared", 3),
        b'r' => ("Rollback Prepared", 3),
        b'p' => ("Stream Prepare", 3),
        _ => return Problem::UnknownMessage { tag },
    };
    Problem::LaterProtocol { tag, name, since }
}

fn begin(reader: &mut Reader<'_>) -> Result<Begin, DecodeError> {
    let at = reader.offset();
    let final_lsn = reader.u64("the final LSN")?;
    if final_lsn == 0 {
        return Err(reader.error(at, Problem::NoPosition));
    }
    Ok(Begin {
        final_lsn,
        committed_at: Timestamp(reader.i64("the commit time")?),
        xid: reader.u32("the transaction's id")?,
    })
}

fn commit(reader: &mut Reader<'_>) -> Result<Commit, DecodeError> {
    reader.flags("the commit's flags", 0)?;
    Ok(Commit {
        commit_lsn: reader.u64("the commit LSN")?,
        end_lsn: reader.u64("the end LSN")?,
        committed_at: Timestamp(reader.i64("the commit time")?),
    })
}

fn origin(reader: &mut Reader<'_>) -> Result<Origin, DecodeError> {
    Ok(Origin { origin_lsn: reader.u64("the origin's LSN")?, name: reader.name("the origin's name")? })
}

fn relation(reader: &mut Reader<'_>) -> Result<Relation, DecodeError> {
    let oid = relation_oid(reader)?;
    let namespace = namespace(reader)?;
    let name = reader.name("the relation's name")?;
    let at = reader.offset();
    let replica_identity = match reader.u8("the replica identity")? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        found => {
            let what = "the replica identity: 'd', 'n', 'f' or 'i'";
            return Err(reader.error(at, Problem::Tag { what, found }));
        }
    };
    let count = reader.count_u16("columns of a relation", COLUMNS_MAX, RELATION_COLUMN_BYTES_MIN)?;
    let mut columns = Vec::with_capacity(count.into());
    for number in 1..=count {
        reader.at_column(number);
        columns.push(Column {
            key: reader.flags("the column's flags", COLUMN_KEY)? & COLUMN_KEY != 0,
            name: reader.name("the column's name")?,
            type_oid: reader.u32("the column's type")?,
            type_modifier: reader.i32("the column's type modifier")?,
        });
    }
    reader.at_no_column();
    Ok(Relation { oid, namespace, name, replica_identity, columns })
}

fn type_name(reader: &mut Reader<'_>) -> Result<Type, DecodeError> {
    Ok(Type {
        oid: reader.u32("the type's oid")?,
        namespace: namespace(reader)?,
        name: reader.name("the type's name")?,
    })
}

fn insert(reader: &mut Reader<'_>) -> Result<Insert, DecodeError> {
    let relation = relation_oid(reader)?;
    let at = reader.offset();
    match reader.u8("the tag of the new tuple")? {
        b'N' => Ok(Insert { relation, new: TupleData::read(reader)? }),
        found => Err(reader.error(at, Problem::Tag { what: "the new tuple: 'N'", found })),
    }
}

fn update(reader: &mut Reader<'_>) -> Result<Update, DecodeError> {
    let relation = relation_oid(reader)?;
    let at = reader.offset();
    let old = match reader.u8("the tag of the old or the new tuple")? {
        b'N' => {
            return Ok(Update { relation, old: None, new: TupleData::read(reader)? });
        }
        b'K' => OldTuple::Key(TupleData::read(reader)?),
        b'O' => OldTuple::Full(TupleData::read(reader)?),
        found => {
            let what = "the old key, the old row or the new tuple: 'K', 'O' or 'N'";
            return Err(reader.error(at, Problem::Tag { what, found }));
        }
    };
    let at = reader.offset();
    match reader.u8("the tag of the new tuple")? {
        b'N' => Ok(Update { relation, old: Some(old), new: TupleData::read(reader)? }),
        found => Err(reader.error(at, Problem::Tag { what: "the new tuple behind the old one: 'N'", found })),
    }
}

fn delete(reader: &mut Reader<'_>) -> Result<Delete, DecodeError> {
    let relation = relation_oid(reader)?;
    let at = reader.offset();
    let old = match reader.u8("the tag of the old tuple")? {
        b'K' => OldTuple::Key(TupleData::read(reader)?),
        b'O' => OldTuple::Full(TupleData::read(reader)?),
        found => {
            return Err(reader.error(at, Problem::Tag { what: "the old key or the old row: 'K' or 'O'", found }));
        }
    };
    Ok(Delete { relation, old })
}

fn truncate(reader: &mut Reader<'_>) -> Result<Truncate, DecodeError> {
    let count = reader.count_u32("relations", size_of::<u32>())?;
    let options = reader.flags("the options", TRUNCATE_CASCADE | TRUNCATE_RESTART_IDENTITY)?;
    let mut relations = Vec::with_capacity(count as usize);
    for _ in 0..count {
        relations.push(reader.u32("a relation's oid")?);
    }
    Ok(Truncate {
        cascade: options & TRUNCATE_CASCADE != 0,
        restart_identity: options & TRUNCATE_RESTART_IDENTITY != 0,
        relations,
    })
}

fn emitted(reader: &mut Reader<'_>) -> Result<Emitted, DecodeError> {
    Ok(Emitted {
        transactional: reader.flags("the message's flags", EMITTED_TRANSACTIONAL)? & EMITTED_TRANSACTIONAL != 0,
        lsn: reader.u64("the message's LSN")?,
        prefix: reader.name("the prefix")?,
        content: reader.bytes("the content")?,
    })
}

fn relation_oid(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let oid = reader.u32("the relation's oid")?;
    reader.at_relation(oid);
    Ok(oid)
}

/// The server saves space and sends an empty name for `pg_catalog`.
fn namespace(reader: &mut Reader<'_>) -> Result<Text, DecodeError> {
    let name = reader.name("the namespace")?;
    Ok(if name.is_empty() { Text::from_static("pg_catalog") } else { name })
}
