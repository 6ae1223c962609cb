//! An answer as it is written: server-sent events, one or more for each piece of text, in the words of the API.
//!
//! While nothing is written, such as during a long prompt, a comment now and then keeps the connection open. An error after the
//! first event is an event of its own, and the stream ends there.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use tokio::sync::mpsc::UnboundedReceiver;

use super::whole::failure;
use super::{Event, Form, Totals};
use crate::worker::Update;

/// How long a stream may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(10);

struct Streaming {
    form: Box<dyn Form>,
    updates: UnboundedReceiver<(usize, Update)>,
    totals: Totals,
    /// Answers that are not complete.
    left: usize,
    /// Made, but not yet sent.
    ready: VecDeque<Event>,
    has_ended: bool,
}

pub(super) fn answer(
    mut form: Box<dyn Form>,
    updates: UnboundedReceiver<(usize, Update)>,
    count: usize,
) -> Sse<impl Stream<Item = Result<SseEvent, Infallible>>> {
    let mut first = Vec::new();
    form.begin(&mut first);
    let (totals, ready) = (Totals::default(), first.into());
    let streaming = Streaming { form, updates, totals, left: count, ready, has_ended: false };
    let events = unfold(streaming, |mut streaming| async {
        let Event { name, data } = streaming.next().await?;
        // The name goes first: some clients act on the data as soon as they have it.
        let event = name.map_or_else(SseEvent::default, |name| SseEvent::default().event(name));
        Some((Ok(event.data(data)), streaming))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(SILENCE_MAX).text("keep-alive"))
}

impl Streaming {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        while self.ready.is_empty() && !self.has_ended {
            let mut out = Vec::new();
            match self.updates.recv().await {
                Some((_, Update::Progress(progress))) => self.form.progress(&progress, &mut out),
                Some((choice, Update::Piece(piece))) => self.form.piece(choice, piece, &mut out),
                Some((choice, Update::Done(done))) => {
                    self.totals.add(choice, &done);
                    self.form.done(choice, &done, &mut out);
                    self.left -= 1;
                    if self.left == 0 {
                        self.form.end(&self.totals, &mut out);
                        self.has_ended = true;
                    }
                }
                other => {
                    out.push(self.form.failure(&failure(other.map(|(_, update)| update))));
                    self.has_ended = true;
                }
            }
            self.ready.extend(out);
        }
        self.ready.pop_front()
    }
}
