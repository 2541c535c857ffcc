//! Who may ask: a request must name this server in `Host`, and may not come from a page of somebody else's.
//!
//! A web page cannot choose `Host` and `Origin`; a page that had its own name point to this machine (DNS rebinding) sends
//! that name, which is none of ours.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// On every answer.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The names under which this server may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    names: Vec<String>,
    /// It listens on every address, so any address may be its own.
    any_address: bool,
}

impl Names {
    /// Those of `listen` (`host:port`), loopback, and `more`.
    pub fn new(listen: &str, more: &[String]) -> Self {
        let host = without_port(listen).to_lowercase();
        let any_address = address(&host).is_some_and(|address| address.is_unspecified());
        let mut names = vec!["localhost".to_owned(), host];
        names.extend(more.iter().map(|name| name.to_lowercase()));
        Self { names, any_address }
    }

    /// Whether `host`, with or without a port, is one of them.
    pub fn hold(&self, host: &str) -> bool {
        let host = without_port(host).trim_end_matches('.').to_lowercase();
        let by_address = address(&host).is_some_and(|address| address.is_loopback() || self.any_address);
        by_address || self.names.contains(&host)
    }
}

/// Refuses who must not ask; puts strict headers on every answer.
pub(super) async fn check(State(names): State<Arc<Names>>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&names, request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(reason) => (StatusCode::FORBIDDEN, Json(json!({ "error": reason }))).into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(names: &Names, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = uri.authority().map(|authority| authority.as_str());
    let host = host.or_else(|| hosts.next().and_then(|value| value.to_str().ok()));
    if hosts.next().is_some() || !host.is_some_and(|host| names.hold(host)) {
        return Some("the request's Host is none of this server's names; add it to `names` in [server]");
    }
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        if !origin.is_some_and(|(_, host)| names.hold(host)) {
            return Some("the request comes from a page of another server");
        }
    }
    None
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // What stands before the last colon of `::1` is no host.
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_the_names_of_listen_may_ask() {
        let names = Names::new("docmill.internal:7878", &["Search.example".to_owned()]);
        for host in [
            "localhost",
            "localhost:7878",
            "127.0.0.1:7878",
            "127.1.2.3",
            "[::1]:80",
            "[::1]",
            "docmill.internal:7878",
            "DOCMILL.internal.",
            "search.example:1",
        ] {
            assert!(names.hold(host), "{host}");
        }
        for host in
            ["", "evil.example", "10.0.0.1:7878", "localhost.evil.example", "127.0.0.1.evil.example:7878", "[::2]"]
        {
            assert!(!names.hold(host), "{host}");
        }
    }

    #[test]
    fn who_listens_on_every_address_may_be_asked_by_any_address_but_not_by_any_name() {
        for listen in ["0.0.0.0:7878", "[::]:7878"] {
            let names = Names::new(listen, &[]);
            assert!(names.hold("10.0.0.1:7878") && names.hold("[fe80::1]:7878"));
            assert!(!names.hold("evil.example:7878"));
        }
    }

    #[test]
    fn a_foreign_page_is_refused() {
        let names = Names::new("127.0.0.1:7878", &[]);
        let with = |host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            refusal(&names, &Uri::from_static("/"), &headers)
        };
        assert_eq!(with("localhost:7878", None), None);
        assert_eq!(with("localhost:7878", Some("http://localhost:7878")), None);
        for origin in ["https://evil.example", "null", "http://127.0.0.1.evil.example"] {
            assert!(with("localhost:7878", Some(origin)).is_some(), "{origin}");
        }
        assert!(with("evil.example", None).is_some());
        assert!(refusal(&names, &Uri::from_static("/"), &HeaderMap::new()).is_some());
    }
}
