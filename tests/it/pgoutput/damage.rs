//! Damaged bytes: an answer or an error, never a panic, never a byte from outside the message, never memory beyond a
//! few times its size.

use std::ops::Range;

use bytes::Bytes;
use docmill::postgres::pgoutput::{Cell, Column, Message, OldTuple, TupleData, decode};
use proptest::collection::vec;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::real_bytes::messages_of_all_servers;
use super::round_trip::picture;
use super::wire::Picture;

/// A message's vectors may take this many times its bytes: a column of 10 bytes becomes a `Column`.
const MEMORY_PER_BYTE_MAX: usize = size_of::<Column>() / 10 + 1;

const MUTATIONS: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

/// Numbers that are one too many somewhere.
const EDGES: [u32; 8] = [0, 1, 0x7f, 0xff, 0x0681, 0xffff, 0x7fff_ffff, 0xffff_ffff];

/// Decodes, walks over all that came out, and checks that it holds together.
fn survive(bytes: Vec<u8>) {
    let length = bytes.len();
    let bytes = Bytes::from(bytes);
    let message = match decode(bytes.clone()) {
        Ok(message) => message,
        Err(error) => {
            assert!(error.offset <= length && error.length == length, "{error}");
            assert!(error.to_string().len() < 500, "{error}");
            return;
        }
    };
    let inside = bytes.as_ptr_range();
    match &message {
        Message::Relation(relation) => {
            assert!(relation.columns.capacity() * size_of::<Column>() <= length * MEMORY_PER_BYTE_MAX);
            relation.columns.iter().for_each(|column| assert_inside(&inside, column.name.as_bytes()));
        }
        Message::Truncate(truncate) => assert!(truncate.relations.capacity() * size_of::<u32>() <= length),
        Message::Insert(insert) => walk(&inside, &insert.new),
        Message::Update(update) => {
            update.old.iter().map(OldTuple::tuple).for_each(|tuple| walk(&inside, tuple));
            walk(&inside, &update.new);
        }
        Message::Delete(delete) => walk(&inside, delete.old.tuple()),
        Message::Emitted(emitted) => assert_inside(&inside, &emitted.content),
        Message::Begin(_) | Message::Commit(_) | Message::Origin(_) | Message::Type(_) => {}
    }
    // What was accepted was understood to the last byte.
    assert_eq!(Picture::of(&message).encode(), bytes);
}

fn walk(inside: &Range<*const u8>, tuple: &TupleData) {
    let mut byte_len = 0;
    for cell in tuple.cells() {
        byte_len += match cell {
            Cell::Null | Cell::Unchanged => 1,
            Cell::Text(text) => {
                assert_inside(inside, text.as_bytes());
                assert!(std::str::from_utf8(text.as_bytes()).is_ok());
                1 + 4 + text.len()
            }
        };
    }
    assert_eq!(byte_len, tuple.byte_len());
}

fn assert_inside(inside: &Range<*const u8>, slice: &[u8]) {
    let slice = slice.as_ptr_range();
    assert!(slice.is_empty() || inside.start <= slice.start && slice.end <= inside.end, "a slice from elsewhere");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_024) })]

    #[test]
    fn survives_any_bytes(tag in prop::sample::select(b"BCORYIUDTM".to_vec()), tail in vec(any::<u8>(), 0..200)) {
        let mut bytes = vec![tag];
        bytes.extend(&tail);
        survive(bytes);
        survive(tail);
    }

    #[test]
    fn survives_any_byte_changed(picture in picture(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = picture.encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        survive(bytes);
    }
}

#[test]
fn every_cut_of_a_real_message_is_refused() {
    for message in messages_of_all_servers() {
        for end in 0..message.len() {
            assert!(decode(message.slice(..end)).is_err(), "the first {end} of {} bytes were accepted", message.len());
        }
    }
}

#[test]
fn survives_every_bit_flipped_in_real_messages() {
    for message in messages_of_all_servers() {
        for bit in 0..message.len() * 8 {
            let mut bytes = message.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            survive(bytes);
        }
    }
}

/// The same seed every time: a failure comes back.
#[test]
fn survives_many_mutations_of_real_messages() {
    let mut random = StdRng::seed_from_u64(0x0064_6f63_6d69_6c6c);
    let mut seeds: Vec<Bytes> = messages_of_all_servers();
    // Long values cost time and find nothing more.
    seeds.retain(|seed| seed.len() < 512);
    for _ in 0..MUTATIONS {
        let mut bytes = seeds.choose(&mut random).expect("there are messages").to_vec();
        for _ in 0..random.random_range(1..=4) {
            mutate(&mut bytes, &seeds, &mut random);
        }
        survive(bytes);
    }
}

fn mutate(bytes: &mut Vec<u8>, seeds: &[Bytes], random: &mut StdRng) {
    let at = random.random_range(0..=bytes.len());
    let to = random.random_range(at..=bytes.len().min(at + 16));
    match random.random_range(0..7) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..to)),
        2 => drop(bytes.splice(at..at, (at..to).map(|_| random.random()).collect::<Vec<u8>>())),
        3 => bytes[at..to].iter_mut().for_each(|byte| *byte = random.random()),
        4 => {
            let edge = EDGES.choose(random).expect("there are edges").to_be_bytes();
            let width = *[1, 2, 4].choose(random).expect("there are widths");
            let to = bytes.len().min(at + width);
            drop(bytes.splice(at..to, edge[4 - width..].iter().copied()));
        }
        5 => {
            let other = seeds.choose(random).expect("there are messages");
            let tail = random.random_range(0..=other.len());
            bytes.truncate(at);
            bytes.extend(&other[tail..]);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
    }
}
