//! Talking to a running server: which one it is, what it must be shown, and what it answers.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::exit::{wrong_configuration, wrong_usage};
use crate::config::{self, Secret, ServerSettings};
use crate::wiring;

/// A pause or a reload waits until pipelines have drained, which is bounded on the other side.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(180);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Which running docmill.
#[derive(Args)]
pub(super) struct Remote {
    /// The configuration that it runs; its [server] says where it is
    #[arg(long, value_name = "FILE", default_value = "docmill.toml", env = "DOCMILL_CONFIG")]
    config: PathBuf,
    /// Where it is, if not where the configuration says; then DOCMILL_TOKEN is its token
    #[arg(long, value_name = "URL", env = "DOCMILL_SERVER")]
    server: Option<String>,
}

/// What it answered.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Remote {
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Answered> {
        let (url, _) = self.server(false)?;
        request(Method::GET, url, path, None).await
    }

    /// For what changes something.
    pub(super) async fn post(&self, path: &str) -> anyhow::Result<Answered> {
        let (url, token) = self.server(true)?;
        request(Method::POST, url, path, token).await
    }

    fn server(&self, with_token: bool) -> anyhow::Result<(Url, Option<Secret>)> {
        let given = std::env::var("DOCMILL_TOKEN").ok().filter(|token| !token.is_empty()).map(Secret::new);
        if let Some(server) = &self.server {
            let url = Url::parse(server).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let url = url.ok_or_else(|| wrong_usage("--server: expected a URL such as http://127.0.0.1:7878"))?;
            if with_token && given.is_none() {
                return Err(wrong_usage("--server needs the token of that server in the environment's DOCMILL_TOKEN"));
            }
            return Ok((url, given));
        }
        let settings = config::load_server(&self.config).map_err(|problems| wrong_configuration(&problems))?;
        let token = match given {
            None if with_token => {
                let advice = "has `docmill run` been started with this configuration, as this user? DOCMILL_TOKEN may hold the token";
                Some(wiring::read_token(&settings, &self.config).map_err(|failure| failure.with_advice(advice))?)
            }
            given => given,
        };
        Ok((reachable(&settings)?, token))
    }
}

/// Where a server can be reached from this machine.
fn reachable(server: &ServerSettings) -> anyhow::Result<Url> {
    let (host, port) = server.listen.rsplit_once(':').context("`listen` has no port")?;
    let host = match host {
        "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    Url::parse(&format!("http://{host}:{port}")).context("`listen` in [server] is no address")
}

async fn request(method: Method, server: Url, path: &str, token: Option<Secret>) -> anyhow::Result<Answered> {
    let client =
        reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).timeout(ANSWER_TIMEOUT).build()?;
    let url = server.join(path).context("the path of the call is none")?;
    let mut request = client.request(method, url);
    if let Some(token) = token {
        request = request.bearer_auth(token.expose());
    }
    let no_answer = || format!("no docmill answers on {server}; is `docmill run` under way?");
    let mut answer = request.send().await.with_context(no_answer)?;
    let status = answer.status();
    let mut bytes = Vec::new();
    while let Some(more) = answer.chunk().await.with_context(no_answer)? {
        bytes.extend_from_slice(&more);
        anyhow::ensure!(
            bytes.len() <= ANSWER_BYTES_MAX,
            "the answer of {server} has more than {ANSWER_BYTES_MAX} bytes"
        );
    }
    let body = serde_json::from_slice(&bytes)
        .with_context(|| format!("what answers on {server} is no docmill: {status}, and no JSON"))?;
    Ok(Answered { status, body })
}
