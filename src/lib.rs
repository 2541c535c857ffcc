//! docmill keeps a search engine in step with PostgreSQL; what a document is, and which documents a change touches, is the
//! user's own mapping: a sandboxed WebAssembly component.
//!
//! ```text
//!  PostgreSQL                                                                     OpenSearch
//!  logical        ┌──────────────────────────── docmill ───────────────────────┐   _bulk
//!  replication ──▶│ capture ─▶ queue ─▶ batch ─▶ resolve ─▶ build ─▶ sink ─▶ ack│──▶ documents
//!                 │                              └── builder.wasm ──┘           │
//!      ▲          └────────────────────────────────│───────────────────────────-┘
//!      └──── confirmed position ◀───────── ack     └── declared read-only queries ──▶ PostgreSQL
//! ```
//!
//! Embedders begin at [`Engine`]: a source, a builder, a sink. [`edges`] are the traits of those three and of everything else
//! that can be exchanged; [`model`] the words that they speak; [`postgres`], [`wasm`], [`opensearch`] and [`ndjson`] the ones
//! that come with docmill. [`pipeline`] is the flow between them. The rest makes the command.
//!
//! `ARCHITECTURE.md` says who may know whom and which rules must not break; a test holds the table.

pub mod model;

pub mod edges;

mod fail_points;

mod engine;
pub mod pipeline;

pub mod tenants;

pub mod ndjson;
pub mod opensearch;
pub mod postgres;
pub mod wasm;

pub mod embedded;

pub mod cli;
pub mod config;
pub mod server;
pub mod telemetry;
pub mod wiring;

pub use engine::Engine;
