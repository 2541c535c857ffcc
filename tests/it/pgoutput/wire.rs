//! The other direction: an owned picture of a message, and the bytes that a server would send for it.

use bytes::{BufMut, Bytes, BytesMut};
use docmill::postgres::pgoutput::{Cell, Message, OldTuple, ReplicaIdentity, TupleData};

#[derive(Debug, Clone, PartialEq)]
pub enum Picture {
    Begin { final_lsn: u64, time: i64, xid: u32 },
    Commit { commit_lsn: u64, end_lsn: u64, time: i64 },
    Origin { lsn: u64, name: String },
    Relation { oid: u32, namespace: String, name: String, identity: char, columns: Vec<(bool, String, u32, i32)> },
    Type { oid: u32, namespace: String, name: String },
    Insert { relation: u32, new: Row },
    Update { relation: u32, old: Option<(char, Row)>, new: Row },
    Delete { relation: u32, old: (char, Row) },
    Truncate { relations: Vec<u32>, cascade: bool, restart: bool },
    Emitted { transactional: bool, lsn: u64, prefix: String, content: Vec<u8> },
}

pub type Row = Vec<Field>;

#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    Null,
    Unchanged,
    Text(String),
}

impl Picture {
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Begin { final_lsn, time, xid } => {
                out.put_u8(b'B');
                out.put_u64(*final_lsn);
                out.put_i64(*time);
                out.put_u32(*xid);
            }
            Self::Commit { commit_lsn, end_lsn, time } => {
                out.put_slice(b"C\0");
                out.put_u64(*commit_lsn);
                out.put_u64(*end_lsn);
                out.put_i64(*time);
            }
            Self::Origin { lsn, name } => {
                out.put_u8(b'O');
                out.put_u64(*lsn);
                put_name(&mut out, name);
            }
            Self::Relation { oid, namespace, name, identity, columns } => {
                out.put_u8(b'R');
                out.put_u32(*oid);
                put_namespace(&mut out, namespace);
                put_name(&mut out, name);
                out.put_u8(*identity as u8);
                out.put_u16(columns.len() as u16);
                for (key, name, type_oid, modifier) in columns {
                    out.put_u8(u8::from(*key));
                    put_name(&mut out, name);
                    out.put_u32(*type_oid);
                    out.put_i32(*modifier);
                }
            }
            Self::Type { oid, namespace, name } => {
                out.put_u8(b'Y');
                out.put_u32(*oid);
                put_namespace(&mut out, namespace);
                put_name(&mut out, name);
            }
            Self::Insert { relation, new } => {
                out.put_u8(b'I');
                out.put_u32(*relation);
                put_row(&mut out, 'N', new);
            }
            Self::Update { relation, old, new } => {
                out.put_u8(b'U');
                out.put_u32(*relation);
                if let Some((tag, row)) = old {
                    put_row(&mut out, *tag, row);
                }
                put_row(&mut out, 'N', new);
            }
            Self::Delete { relation, old: (tag, row) } => {
                out.put_u8(b'D');
                out.put_u32(*relation);
                put_row(&mut out, *tag, row);
            }
            Self::Truncate { relations, cascade, restart } => {
                out.put_u8(b'T');
                out.put_u32(relations.len() as u32);
                out.put_u8(u8::from(*cascade) | u8::from(*restart) << 1);
                relations.iter().for_each(|oid| out.put_u32(*oid));
            }
            Self::Emitted { transactional, lsn, prefix, content } => {
                out.put_slice(&[b'M', u8::from(*transactional)]);
                out.put_u64(*lsn);
                put_name(&mut out, prefix);
                out.put_u32(content.len() as u32);
                out.put_slice(content);
            }
        }
        out.freeze()
    }

    pub fn of(message: &Message) -> Self {
        match message {
            Message::Begin(m) => Self::Begin { final_lsn: m.final_lsn, time: m.committed_at.0, xid: m.xid },
            Message::Commit(m) => Self::Commit { commit_lsn: m.commit_lsn, end_lsn: m.end_lsn, time: m.committed_at.0 },
            Message::Origin(m) => Self::Origin { lsn: m.origin_lsn, name: m.name.to_string() },
            Message::Relation(m) => Self::Relation {
                oid: m.oid,
                namespace: m.namespace.to_string(),
                name: m.name.to_string(),
                identity: match m.replica_identity {
                    ReplicaIdentity::Default => 'd',
                    ReplicaIdentity::Nothing => 'n',
                    ReplicaIdentity::Full => 'f',
                    ReplicaIdentity::Index => 'i',
                },
                columns: m.columns.iter().map(|c| (c.key, c.name.to_string(), c.type_oid, c.type_modifier)).collect(),
            },
            Message::Type(m) => Self::Type { oid: m.oid, namespace: m.namespace.to_string(), name: m.name.to_string() },
            Message::Insert(m) => Self::Insert { relation: m.relation, new: row(&m.new) },
            Message::Update(m) => {
                Self::Update { relation: m.relation, old: m.old.as_ref().map(old_row), new: row(&m.new) }
            }
            Message::Delete(m) => Self::Delete { relation: m.relation, old: old_row(&m.old) },
            Message::Truncate(m) => {
                Self::Truncate { relations: m.relations.clone(), cascade: m.cascade, restart: m.restart_identity }
            }
            Message::Emitted(m) => Self::Emitted {
                transactional: m.transactional,
                lsn: m.lsn,
                prefix: m.prefix.to_string(),
                content: m.content.to_vec(),
            },
        }
    }
}

pub fn row(tuple: &TupleData) -> Row {
    let cells = tuple.cells().map(|cell| match cell {
        Cell::Null => Field::Null,
        Cell::Unchanged => Field::Unchanged,
        Cell::Text(text) => Field::Text(text.to_owned()),
    });
    assert_eq!(cells.len(), usize::from(tuple.columns()), "the count says how many cells come");
    let row: Row = cells.collect();
    assert_eq!(row.len(), usize::from(tuple.columns()), "as many cells come as the count says");
    row
}

fn old_row(old: &OldTuple) -> (char, Row) {
    match old {
        OldTuple::Key(tuple) => ('K', row(tuple)),
        OldTuple::Full(tuple) => ('O', row(tuple)),
    }
}

fn put_row(out: &mut BytesMut, tag: char, row: &Row) {
    out.put_u8(tag as u8);
    out.put_u16(row.len() as u16);
    for field in row {
        match field {
            Field::Null => out.put_u8(b'n'),
            Field::Unchanged => out.put_u8(b'u'),
            Field::Text(text) => {
                out.put_u8(b't');
                out.put_u32(text.len() as u32);
                out.put_slice(text.as_bytes());
            }
        }
    }
}

fn put_name(out: &mut BytesMut, name: &str) {
    out.put_slice(name.as_bytes());
    out.put_u8(0);
}

fn put_namespace(out: &mut BytesMut, namespace: &str) {
    put_name(out, if namespace == "pg_catalog" { "" } else { namespace });
}
