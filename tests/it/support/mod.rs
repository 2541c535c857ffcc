//! What the tests share: real servers, the shop and its oracle, writers, a search engine that fails on demand.

// Every test file uses its own part of this.
#![allow(dead_code)]

pub mod bulk;
pub mod cluster;
pub mod command;
pub mod cut;
pub mod difference;
pub mod fake_index;
pub mod fault;
pub mod forward;
pub mod guest;
pub mod holding_proxy;
pub mod house;
pub mod http;
pub mod lines;
pub mod opensearch;
pub mod postgres;
pub mod rowwise;
pub mod running;
pub mod shop;
pub mod snapshots;
pub mod stand;
pub mod things;
pub mod writers;
pub mod writes;

/// Installs the process's one TLS provider; clients of plain HTTP need it too. Call it before making any client.
pub fn install_crypto() {
    // A second call finds it installed: that is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client for servers on this machine: no proxy, whatever the environment says.
pub fn http_client() -> reqwest::Client {
    install_crypto();
    reqwest::Client::builder().no_proxy().build().expect("an HTTP client")
}
