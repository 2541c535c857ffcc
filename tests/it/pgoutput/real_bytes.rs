//! What real servers sent (`pgoutput_corpus.txt`) says what was done to them. The tables were made so:
//!
//! ```sql
//! create type mood as enum ('calm', 'glad');
//! create domain label as mood;
//! create table items (id int primary key, name text, price numeric(10,2), mood mood, big text);
//! create table "Shop"."Order Lines" ("Order" bigint, line smallint, note varchar(20), tags text[],
//!                                    primary key ("Order", line));
//! create table full_rows (a int, b text, big text);                    -- replica identity full
//! create table by_index (id int, code text not null, note label);      -- replica identity using index on code
//! create table no_identity (a int);                                    -- replica identity nothing
//! create table no_columns ();
//! create table changing (id int primary key, gone int, here text,      -- gone was dropped again
//!                        doubled int generated always as (id * 2) stored);
//! -- both columns big: storage external
//! create publication p for all tables;
//! ```

use std::collections::HashMap;

use bytes::Bytes;
use docmill::postgres::pgoutput::{Message, Timestamp, decode};

use super::wire::{Field, Picture, Row};

const CORPUS: &str = include_str!("../pgoutput_corpus.txt");

/// The same for every server, oids and positions aside. The message outside of a transaction was rolled back with its
/// own, and comes all the same, once something else has flushed the WAL.
const EXPECTED: &str = r##"
# insert into items values (1, 'Grüße 🦀', 12.50, 'glad', repeat('x', 2100)), (2, '', null, null, null)
begin
type public.mood
relation public.items d *id:23/-1 name:25/-1 price:1700/655366 mood:mood/-1 big:25/-1
insert items ["1" "Grüße 🦀" "12.50" "glad" "x"*2100]
insert items ["2" "" null null null]
commit
# update items set name = 'b' where id = 1
begin
type public.mood
relation public.items d *id:23/-1 name:25/-1 price:1700/655366 mood:mood/-1 big:25/-1
update items ["1" "b" "12.50" "glad" unchanged]
commit
# update items set big = 'short', mood = 'calm' where id = 1
begin
type public.mood
relation public.items d *id:23/-1 name:25/-1 price:1700/655366 mood:mood/-1 big:25/-1
update items ["1" "b" "12.50" "calm" "short"]
commit
# update items set id = 3 where id = 2
begin
type public.mood
relation public.items d *id:23/-1 name:25/-1 price:1700/655366 mood:mood/-1 big:25/-1
update items K ["2" null null null null] -> ["3" "" null null null]
commit
# delete from items where id = 3
begin
type public.mood
relation public.items d *id:23/-1 name:25/-1 price:1700/655366 mood:mood/-1 big:25/-1
delete items K ["3" null null null null]
commit
# begin; insert into "Shop"."Order Lines" values (9007199254740993, 1, 'a', '{x,"y z"}'); update "Shop"."Order Lines" set line = 2; delete from "Shop"."Order Lines"; commit
begin
relation Shop.Order Lines d *Order:20/-1 *line:21/-1 note:1043/24 tags:1009/-1
insert Order Lines ["9007199254740993" "1" "a" "{x,\"y z\"}"]
update Order Lines K ["9007199254740993" "1" null null] -> ["9007199254740993" "2" "a" "{x,\"y z\"}"]
delete Order Lines K ["9007199254740993" "2" null null]
commit
# insert into full_rows values (1, null, repeat('y', 2100)), (2, E'tab\tnl\n', 'z')
begin
relation public.full_rows f *a:23/-1 *b:25/-1 *big:25/-1
insert full_rows ["1" null "y"*2100]
insert full_rows ["2" "tab\tnl\n" "z"]
commit
# update full_rows set b = 'c' where a = 1
begin
relation public.full_rows f *a:23/-1 *b:25/-1 *big:25/-1
update full_rows O ["1" null "y"*2100] -> ["1" "c" unchanged]
commit
# delete from full_rows where a = 2
begin
relation public.full_rows f *a:23/-1 *b:25/-1 *big:25/-1
delete full_rows O ["2" "tab\tnl\n" "z"]
commit
# insert into by_index values (1, 'k', 'glad')
begin
type public.mood
relation public.by_index i id:23/-1 *code:25/-1 note:mood/-1
insert by_index ["1" "k" "glad"]
commit
# update by_index set note = 'calm'
begin
type public.mood
relation public.by_index i id:23/-1 *code:25/-1 note:mood/-1
update by_index ["1" "k" "calm"]
commit
# update by_index set code = 'l'
begin
type public.mood
relation public.by_index i id:23/-1 *code:25/-1 note:mood/-1
update by_index K [null "k" null] -> ["1" "l" "calm"]
commit
# delete from by_index
begin
type public.mood
relation public.by_index i id:23/-1 *code:25/-1 note:mood/-1
delete by_index K [null "l" null]
commit
# insert into no_identity values (1)
begin
relation public.no_identity n a:23/-1
insert no_identity ["1"]
commit
# insert into no_columns default values
begin
relation public.no_columns d
insert no_columns []
commit
# insert into changing values (1, 'h')
begin
relation public.changing d *id:23/-1 here:25/-1
insert changing ["1" "h"]
commit
# alter table changing add column extra uuid; alter table changing rename column here to there
# insert into changing values (2, 't', default, '00000000-0000-0000-0000-000000000001')
begin
relation public.changing d *id:23/-1 there:25/-1 extra:2950/-1
insert changing ["2" "t" "00000000-0000-0000-0000-000000000001"]
commit
# truncate items
begin
type public.mood
relation public.items d *id:23/-1 name:25/-1 price:1700/655366 mood:mood/-1 big:25/-1
truncate items cascade=false restart=false
commit
# truncate full_rows, by_index restart identity cascade
begin
relation public.full_rows f *a:23/-1 *b:25/-1 *big:25/-1
type public.mood
relation public.by_index i id:23/-1 *code:25/-1 note:mood/-1
truncate full_rows by_index cascade=true restart=true
commit
# select pg_logical_emit_message(true, 'docmill', 'in a transaction')
begin
emitted docmill transactional=true in a transaction
commit
# begin; select pg_logical_emit_message(false, 'docmill', E'\\x00ff'::bytea); rollback
# select pg_replication_origin_session_setup('elsewhere'); begin; select pg_replication_origin_xact_setup('0/ABCDEF', '2024-01-02 03:04:05+00'); insert into no_identity values (2); commit
emitted docmill transactional=false \x00\xff
begin
origin elsewhere abcdef
relation public.no_identity n a:23/-1
insert no_identity ["2"]
commit
"##;

#[test]
fn real_servers_are_understood_and_agree() {
    let servers = servers();
    assert_eq!(servers.len(), 3, "PostgreSQL 14, 15 and 18");
    for (server, lines) in servers {
        let mut reader = Reader::default();
        let trace: Vec<String> = lines.iter().flat_map(|line| reader.line(line)).collect();
        assert_eq!(trace.join("\n"), EXPECTED.trim(), "{server}");
    }
}

#[test]
fn times_and_positions_are_those_of_the_server() {
    // Its commit time was set with pg_replication_origin_xact_setup('0/ABCDEF', '2024-01-02 03:04:05+00').
    let message = decode(unhex("42000000000154bc400002b0ec8515f340000002fc"));
    let Ok(Message::Begin(begin)) = message else { panic!("{message:?}") };
    assert_eq!((begin.final_lsn, begin.xid), (0x0154_bc40, 764));
    assert_eq!(begin.committed_at.unix_micros(), 1_704_164_645_000_000);
    assert_eq!(Timestamp(i64::MAX).unix_micros(), i64::MAX);
}

/// Every message in the corpus.
pub fn messages_of_all_servers() -> Vec<Bytes> {
    let lines = servers().into_iter().flat_map(|(_, lines)| lines);
    lines.filter(|line| !line.starts_with('#')).map(unhex).collect()
}

fn servers() -> Vec<(&'static str, Vec<&'static str>)> {
    let sections = CORPUS.split("## ").skip(1);
    sections.filter_map(|section| Some((section.lines().next()?, section.lines().skip(1).collect()))).collect()
}

/// `0a0b(78*3)` is 0a 0b 78 78 78.
fn unhex(line: &str) -> Bytes {
    let byte = |pair: &str| u8::from_str_radix(pair, 16).expect("two hex digits");
    let mut bytes = Vec::new();
    for part in line.split(['(', ')']) {
        match part.split_once('*') {
            Some((pair, count)) => bytes.resize(bytes.len() + count.parse::<usize>().expect("a count"), byte(pair)),
            None => bytes.extend((0..part.len()).step_by(2).map(|at| byte(&part[at..at + 2]))),
        }
    }
    bytes.into()
}

/// Writes messages as a person would say them, with names in the place of oids.
#[derive(Default)]
struct Reader {
    relations: HashMap<u32, String>,
    types: HashMap<u32, String>,
    /// A Begin that has had no message yet: PostgreSQL 14 also sends transactions that have nothing for us.
    begin: Option<u64>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Vec<String> {
        if line.starts_with('#') {
            return vec![line.to_owned()];
        }
        let picture = Picture::of(&decode(unhex(line)).expect("a real message"));
        match (self.begin.take(), &picture) {
            (_, Picture::Begin { final_lsn, .. }) => {
                self.begin = Some(*final_lsn);
                vec![]
            }
            (Some(final_lsn), Picture::Commit { commit_lsn, .. }) => {
                assert_eq!(final_lsn, *commit_lsn);
                vec![]
            }
            (Some(_), _) => vec!["begin".into(), self.say(picture)],
            (None, _) => vec![self.say(picture)],
        }
    }

    fn say(&mut self, picture: Picture) -> String {
        match picture {
            Picture::Begin { .. } => "begin".into(),
            Picture::Commit { .. } => "commit".into(),
            Picture::Origin { lsn, name } => format!("origin {name} {lsn:x}"),
            Picture::Type { oid, namespace, name } => {
                self.types.insert(oid, name.clone());
                format!("type {namespace}.{name}")
            }
            Picture::Relation { oid, namespace, name, identity, columns } => {
                self.relations.insert(oid, name.clone());
                let columns = columns.iter().map(|(key, name, type_oid, modifier)| {
                    let key = if *key { "*" } else { "" };
                    let type_name = self.types.get(type_oid).cloned().unwrap_or(type_oid.to_string());
                    format!(" {key}{name}:{type_name}/{modifier}")
                });
                format!("relation {namespace}.{name} {identity}{}", columns.collect::<String>())
            }
            Picture::Insert { relation, new } => format!("insert {} {}", self.relations[&relation], say_row(&new)),
            Picture::Update { relation, old, new } => {
                let old = old.map(|(tag, row)| format!("{tag} {} -> ", say_row(&row))).unwrap_or_default();
                format!("update {} {old}{}", self.relations[&relation], say_row(&new))
            }
            Picture::Delete { relation, old: (tag, row) } => {
                format!("delete {} {tag} {}", self.relations[&relation], say_row(&row))
            }
            Picture::Truncate { relations, cascade, restart } => {
                let names: Vec<&str> = relations.iter().map(|oid| self.relations[oid].as_str()).collect();
                format!("truncate {} cascade={cascade} restart={restart}", names.join(" "))
            }
            Picture::Emitted { transactional, prefix, content, .. } => {
                format!("emitted {prefix} transactional={transactional} {}", content.escape_ascii())
            }
        }
    }
}

fn say_row(row: &Row) -> String {
    let fields: Vec<String> = row
        .iter()
        .map(|field| match field {
            Field::Null => "null".into(),
            Field::Unchanged => "unchanged".into(),
            Field::Text(text) if text.len() > 100 => format!("{:?}*{}", &text[..1], text.len()),
            Field::Text(text) => format!("{text:?}"),
        })
        .collect();
    format!("[{}]", fields.join(" "))
}
