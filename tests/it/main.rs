//! The tests of docmill, by subject; against real servers that they start themselves. `tests/run` runs them with all they need.

mod catalog;
mod chaos;
mod cli;
mod config;
mod crash;
mod delivery;
mod destination;
mod embedded_postgres;
mod failover;
mod faulty_server;
mod guests;
mod halves;
mod keys;
mod late;
mod memory;
mod ndjson;
mod opensearch;
mod pgoutput;
mod postgres;
mod server;
mod shop;
mod shop_oracle;
mod slots;
mod support;
mod tidy;
mod wasm;
