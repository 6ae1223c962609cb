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
use serde_json::{Map, Value, json};
use shoal_text::Segment;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Head;
use super::response::{failure, finish_reason, headed, timings, usage};
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
    streaming.chunk(json!({ "role": "assistant", "content": "" }), Value::Null);
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
                Some(Update::Segment(Segment::Answer(text))) => {
                    self.chunk(json!({ "content": text }), Value::Null);
                }
                Some(Update::Segment(Segment::Reasoning(text))) => {
                    self.chunk(json!({ "reasoning_content": text }), Value::Null);
                }
                Some(Update::Done(done)) => self.end(&done),
                other => {
                    self.ready.push_back(failure(other).to_json().to_string());
                    self.has_ended = true;
                }
            }
        }
        self.ready.pop_front()
    }

    fn chunk(&mut self, delta: Value, finish_reason: Value) {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        let mut object = headed(&self.head, "chat.completion.chunk");
        object.insert("choices".to_owned(), json!([choice]));
        if self.include_usage {
            object.insert("usage".to_owned(), Value::Null);
        }
        self.ready.push_back(Value::Object(object).to_string());
    }

    fn end(&mut self, done: &Done) {
        self.chunk(Value::Object(Map::new()), finish_reason(done.reason).into());
        if self.include_usage {
            let mut object = headed(&self.head, "chat.completion.chunk");
            object.insert("choices".to_owned(), json!([]));
            object.insert("usage".to_owned(), usage(done));
            object.insert("timings".to_owned(), timings(done));
            self.ready.push_back(Value::Object(object).to_string());
        }
        self.ready.push_back("[DONE]".to_owned());
        self.has_ended = true;
    }
}
