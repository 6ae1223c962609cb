//! An answer as it is written: server-sent events, one chunk for each piece of text.
//!
//! The first chunk says who speaks, the last why it ended; then comes the usage, if it was asked for, and `[DONE]`. While
//! nothing is written, such as during a long prompt, a comment now and then keeps the connection open. An error after the
//! first chunk is an event of its own, and the stream ends without `[DONE]`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use serde_json::{Value, json};
use shoal_engine::FinishReason;
use tokio::sync::mpsc::UnboundedReceiver;

use super::whole::{choice, failure, headed, timings, usage};
use super::{Form, Head};
use crate::worker::{Done, Update};

/// How long a stream may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(10);

struct Streaming {
    head: Head,
    updates: UnboundedReceiver<Update>,
    include_usage: bool,
    /// Made, but not yet sent.
    ready: VecDeque<String>,
    has_ended: bool,
}

pub(super) fn answer(
    head: Head,
    updates: UnboundedReceiver<Update>,
    include_usage: bool,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut streaming = Streaming { head, updates, include_usage, ready: VecDeque::new(), has_ended: false };
    if let Form::Chat { .. } = streaming.head.form {
        streaming.chunk(json!({ "delta": { "role": "assistant", "content": "" } }), None);
    }
    let events = unfold(streaming, |mut streaming| async {
        let data = streaming.next().await?;
        Some((Ok(Event::default().data(data)), streaming))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(SILENCE_MAX).text("keep-alive"))
}

impl Streaming {
    /// The data of the next event; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        while self.ready.is_empty() && !self.has_ended {
            match self.updates.recv().await {
                Some(Update::Segment(segment)) => self.chunk(self.head.form.part(Some(&segment)), None),
                Some(Update::Done(done)) => self.end(&done),
                other => {
                    self.ready.push_back(failure(other).to_json().to_string());
                    self.has_ended = true;
                }
            }
        }
        self.ready.pop_front()
    }

    fn chunk(&mut self, what: Value, reason: Option<FinishReason>) {
        let mut object = headed(&self.head, self.head.form.kinds()[1]);
        object.insert("choices".to_owned(), json!([choice(what, reason)]));
        if self.include_usage {
            object.insert("usage".to_owned(), Value::Null);
        }
        self.ready.push_back(Value::Object(object).to_string());
    }

    fn end(&mut self, done: &Done) {
        self.chunk(self.head.form.part(None), Some(done.reason));
        if self.include_usage {
            let mut object = headed(&self.head, self.head.form.kinds()[1]);
            object.insert("choices".to_owned(), json!([]));
            object.insert("usage".to_owned(), usage(done));
            object.insert("timings".to_owned(), timings(done));
            self.ready.push_back(Value::Object(object).to_string());
        }
        self.ready.push_back("[DONE]".to_owned());
        self.has_ended = true;
    }
}
