//! What happened, a line of JSON each, for who asks for a log: what was asked, and how answers ended.
//!
//! Every request has an id, which its response repeats (`x-request-id`): the caller's, if it sent one that can stand in a log, or one of
//! ours. What was said stands in no log.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};

use crate::state::now;

const ID: HeaderName = HeaderName::from_static("x-request-id");
/// What Anthropic's clients call it.
const ID_TOO: HeaderName = HeaderName::from_static("request-id");

/// Longest id of a caller's.
const ID_BYTES_MAX: usize = 128;

/// Which request this is.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

/// Where lines go.
pub(crate) struct Log {
    is_on: bool,
    started: u64,
    requests: AtomicU64,
}

impl Log {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on, started: now(), requests: AtomicU64::new(0) }
    }

    /// Writes a line about the request `id` to standard error.
    pub(crate) fn say(&self, id: &str, what: &str, took: Duration, more: Value) {
        if !self.is_on {
            return;
        }
        let mut line = json!({ "time": now(), "request": id, "what": what, "seconds": took.as_secs_f64() });
        if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        // A log that nobody takes is no reason to stop.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    fn id(&self, request: &Request) -> String {
        let given = request.headers().get(ID).and_then(|id| id.to_str().ok());
        let is_plain = |id: &&str| {
            let may = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
            (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(may)
        };
        let own = || format!("req-{:x}-{}", self.started, self.requests.fetch_add(1, Ordering::Relaxed));
        given.filter(is_plain).map_or_else(own, str::to_owned)
    }
}

/// Names each request, and says what became of it.
pub(crate) async fn requests(State(log): State<Arc<Log>>, mut request: Request, next: Next) -> Response {
    let (id, start) = (log.id(&request), Instant::now());
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(ID_TOO, value.clone());
        response.headers_mut().insert(ID, value);
    }
    let status = response.status().as_u16();
    log.say(&id, "request", start.elapsed(), json!({ "method": method, "path": path, "status": status }));
    response
}
