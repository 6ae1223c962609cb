//! Who may ask: the checks that every request passes first.
//!
//! A server on the loopback address is safe from other machines, but not from pages in a browser on this one. A page from
//! elsewhere that was led to this address by its own name (DNS rebinding) shows that name as `Host`; one that simply
//! sends a request shows where it came from as `Origin`. Neither is answered. Who holds a key shows it, whatever the path.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use crate::error::ApiError;

/// Answered without a key: says only that the process lives.
const OPEN_PATHS: [&str; 1] = ["/health"];

/// A secret; it is never printed.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// The key `text`.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// Takes as long for a wrong key as for the right one.
    fn is(&self, found: &str) -> bool {
        self.0.as_bytes().ct_eq(found.as_bytes()).into()
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// Who asks: the key that was shown, or nothing where none is asked for. What is known of one's prompts, and the answers that one may go on
/// from, are one's own.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Caller(Vec<u8>);

impl Caller {
    /// What sets the caller apart from others.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

pub(crate) struct Guard {
    /// Any of these will do; if there are none, no key is asked for.
    pub(crate) keys: Vec<ApiKey>,
    /// Whether only this machine reaches the server.
    pub(crate) is_loopback: bool,
}

impl Guard {
    fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default();
        if self.is_loopback && !is_this_machine(host) {
            let message = format!("`Host: {host}` is not this machine; ask for localhost");
            return Err(ApiError::forbidden(message));
        }
        if let Some(origin) = headers.get(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or("?");
            let is_own = origin.split_once("://").is_some_and(|(_, authority)| authority == host);
            if !is_own {
                return Err(ApiError::forbidden(format!("pages from `{origin}` may not ask this server")));
            }
        }
        if self.keys.is_empty() {
            return Ok(Caller::default());
        }
        let bearer = text(header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key);
        let other = headers.get("x-api-key").and_then(|value| value.to_str().ok());
        // All are looked at, so that the time says nothing of which it was.
        let is_known = |found: &&str| self.keys.iter().filter(|key| key.is(found)).count() > 0;
        match bearer.into_iter().chain(other).find(is_known) {
            Some(found) => Ok(Caller(found.as_bytes().to_vec())),
            _ if OPEN_PATHS.contains(&path) || crate::page::is_open(path) => Ok(Caller::default()),
            _ => Err(ApiError::no_key()),
        }
    }
}

/// Whether a `Host` names the loopback address, with or without a port.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(crate) async fn check(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    match guard.admit(request.uri().path(), request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.respond_to(request.uri().path(), request.headers()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn names_of_this_machine_are_known_and_others_are_not() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "127.1.2.3", "[::1]:80", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in
            ["", "example.com", "localhost.example.com", "192.168.0.1:80", "[::2]", "127.0.0.1.nip.io"]
        {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn pages_from_elsewhere_are_not_answered() {
        let guard = Guard { keys: Vec::new(), is_loopback: true };
        let asks =
            |pairs: &[(&'static str, &'static str)]| guard.admit("/v1/models", &headers(pairs)).is_ok();
        assert!(asks(&[("host", "localhost:1")]));
        assert!(asks(&[("host", "localhost:1"), ("origin", "http://localhost:1")]));
        assert!(!asks(&[("host", "localhost:1"), ("origin", "http://localhost:2")]));
        assert!(!asks(&[("host", "localhost:1"), ("origin", "null")]));
        assert!(!asks(&[("host", "evil.example:1")]), "another name for this address");
        assert!(!asks(&[]), "no host at all");
        let open = Guard { keys: Vec::new(), is_loopback: false };
        assert!(open.admit("/v1/models", &headers(&[("host", "box.lan")])).is_ok());
    }

    #[test]
    fn a_key_is_asked_for_everywhere_but_for_life() {
        let keys = ["secret", "other"].map(|key| ApiKey::new(key.to_owned())).to_vec();
        let guard = Guard { keys, is_loopback: true };
        let asks = |path: &str, name: &'static str, value: &'static str| {
            guard.admit(path, &headers(&[("host", "localhost"), (name, value)])).is_ok()
        };
        assert!(asks("/health", "accept", "*/*"));
        for path in ["/", "/assets/app.js"] {
            assert!(asks(path, "accept", "*/*"), "{path}");
        }
        for path in
            ["/v1/models", "/ready", "/metrics", "/v1/chat/completions", "/v1/responses/x", "//", "/asset"]
        {
            assert!(asks(path, "authorization", "Bearer secret"), "{path}");
            assert!(asks(path, "authorization", "bearer secret"), "{path}");
            assert!(asks(path, "x-api-key", "secret"), "{path}");
            assert!(!asks(path, "authorization", "Bearer secre"), "{path}");
            assert!(!asks(path, "authorization", "secret"), "{path}");
            assert!(!asks(path, "accept", "*/*"), "{path}");
        }
        assert!(asks("/v1/models", "x-api-key", "other"));
        assert!(!format!("{:?}", guard.keys).contains("secret"));
        let caller = |key: &'static str| {
            guard.admit("/v1/models", &headers(&[("host", "localhost"), ("x-api-key", key)])).expect("a key")
        };
        assert!(caller("secret") != caller("other"));
    }
}
