//! The parts that every change or document passes through, each alone and without servers, so that a regression is seen in a minute:
//! `cargo bench --bench parts`, and with `-- --save-baseline before` and `-- --baseline before` what a change did.

use std::hint::black_box;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use docmill::edges::{AssembleRequest, DocumentBuilder, Failure, Snapshot, Write};
use docmill::model::{CellKind, ColumnBuilder, History, Position, Query, Rows, Version};
use docmill::postgres::pgoutput;
use docmill::wasm::{Limits, Runtime, RuntimeOptions, WasmBuilder};

/// Documents of one call: from a single change at rest to a task of a backfill.
const SIZES: [usize; 4] = [1, 10, 100, 1_000];

criterion_group!(parts, decoding, building, encoding, watermark);
criterion_main!(parts);

/// An update of a user, as PostgreSQL 15 sends it: the key did not change, so there is no old row.
fn decoding(c: &mut Criterion) {
    let mut message = vec![b'U'];
    message.extend(16_384u32.to_be_bytes());
    message.extend(*b"N\0\x05");
    for value in ["4711", "changed 4711", "user4711@example.com", "DE", "2026-01-04 06:31:00+00"] {
        message.push(b't');
        message.extend((value.len() as u32).to_be_bytes());
        message.extend(value.as_bytes());
    }
    let message = Bytes::from(message);
    let mut group = c.benchmark_group("pgoutput");
    group.throughput(Throughput::Elements(1));
    group.bench_function("update", |b| b.iter(|| pgoutput::decode(black_box(message.clone()))));
    group.finish();
}

/// Calls of the shop's component: rows in, ids or documents out and checked, in an instance of its own.
fn building(c: &mut Criterion) {
    let tokio = tokio::runtime::Runtime::new().expect("a runtime");
    let guests = Runtime::new(RuntimeOptions::default()).expect("a runtime for guests");
    let component = include_bytes!("../src/embedded/shop/shop.wasm");
    let config = serde_json::json!({ "indexes": ["users"] });
    let loading = WasmBuilder::load(&guests, component, config, Limits::default(), "shop");
    let builder = tokio.block_on(loading).expect("the shop");

    let mut group = c.benchmark_group("resolve");
    for size in SIZES {
        let rows = rows(size, &[("user_id", &|row| Cell::Integer(row as i64))]);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            let call = |rows| tokio.block_on(builder.resolve("users", "orders", rows)).expect("ids");
            b.iter_batched(|| rows.clone(), call, BatchSize::LargeInput)
        });
    }
    group.finish();

    let mut group = c.benchmark_group("assemble");
    for size in SIZES {
        let ids: Arc<[String]> = (0..size).map(|id| id.to_string()).collect();
        let reads = reads(size);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            let request = || AssembleRequest {
                index: "users".into(),
                ids: Arc::clone(&ids),
                reads: reads.clone(),
                source: Box::new(Nothing),
            };
            let call = |request| tokio.block_on(builder.assemble(request)).expect("documents");
            b.iter_batched(request, call, BatchSize::LargeInput)
        });
    }
    group.finish();
}

/// The body of a bulk request of documents like the shop's.
fn encoding(c: &mut Criterion) {
    let document = Bytes::from(format!("{{\"text\":\"{}\"}}", "x".repeat(870)));
    let write = |id: usize| Write {
        generation: "users-1".into(),
        id: id.to_string(),
        routing: None,
        version: Version::new(History::FIRST, Position::new(0x1234_5678)),
        document: Some(document.clone()),
    };
    let writes: Vec<Write> = (0..1_000).map(write).collect();
    let mut group = c.benchmark_group("bulk body");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1000", |b| b.iter(|| docmill::opensearch::encode(black_box(&writes))));
    group.finish();
}

/// Batches that finish in another order than they began.
fn watermark(c: &mut Criterion) {
    use docmill::pipeline::{End, Watermark};
    let mut group = c.benchmark_group("watermark");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1000", |b| {
        b.iter(|| {
            let mut watermark = Watermark::default();
            let end = |position| Some(End { position: Position::new(position), next_xid: position });
            let numbers: Vec<u64> = (1..=1_000).map(|position| watermark.open(end(position))).collect();
            for pair in numbers.chunks(2) {
                for number in pair.iter().rev() {
                    black_box(watermark.finish(*number));
                }
            }
        });
    });
    group.finish();
}

/// A moment that nobody asks anything of.
struct Nothing;

#[async_trait]
impl Snapshot for Nothing {
    async fn run(&mut self, _: &[Query]) -> Result<Vec<Rows>, Failure> {
        Err(Failure::fatal("the shop's users are made of their reads alone"))
    }
}

enum Cell {
    Integer(i64),
    Text(String),
    Numeric(&'static str),
    Null,
}

type Of<'a> = (&'a str, &'a dyn Fn(usize) -> Cell);

fn rows(count: usize, columns: &[Of<'_>]) -> Rows {
    let columns = columns.iter().map(|(name, value)| {
        let kind = match value(0) {
            Cell::Integer(_) => CellKind::Integer,
            Cell::Text(_) | Cell::Null => CellKind::Text,
            Cell::Numeric(_) => CellKind::Numeric,
        };
        let mut column = ColumnBuilder::new(*name, kind);
        for row in 0..count {
            match value(row) {
                Cell::Integer(value) => column.push_integer(value),
                Cell::Text(text) => column.push_bytes(text.as_bytes()),
                Cell::Numeric(text) => column.push_bytes(text.as_bytes()),
                Cell::Null => column.push_null(),
            }
        }
        column.finish()
    });
    Rows::new(count as u32, columns.collect()).expect("columns of one length")
}

/// What the reads of the index `users` answer for that many users: five orders each, two lines an order.
fn reads(users: usize) -> Vec<Rows> {
    let number = |row: usize| Cell::Integer(row as i64);
    let moment = |_: usize| Cell::Text("2026-02-01T09:30:00.250000Z".to_owned());
    vec![
        rows(
            users,
            &[
                ("id", &number),
                ("name", &|row| Cell::Text(format!("user {row}"))),
                ("email", &|row| Cell::Text(format!("user{row}@example.com"))),
                ("country", &|_| Cell::Text("DE".to_owned())),
                ("created_at", &moment),
            ],
        ),
        rows(
            users * 5,
            &[
                ("id", &number),
                ("user_id", &|row| Cell::Integer((row / 5) as i64)),
                ("status", &|_| Cell::Text("shipped".to_owned())),
                ("placed_at", &moment),
                ("note", &|row| if row % 5 == 0 { Cell::Text(format!("note for {row}")) } else { Cell::Null }),
            ],
        ),
        rows(
            users * 10,
            &[
                ("order_id", &|row| Cell::Integer((row / 2) as i64)),
                ("quantity", &|_| Cell::Integer(3)),
                ("unit_price", &|_| Cell::Numeric("19.90")),
            ],
        ),
    ]
}
