//! Answers as `/v1/responses` writes them.
//!
//! A response is a list of items: reasoning, a message, calls of functions. In a stream every item is added, its parts grow, and it is
//! done; the response as it stands is repeated at the beginning and at the end. The whole answer is made by the same steps, without
//! the events.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use shoal_engine::{FinishReason, Logprobs};
use shoal_text::tools::ToolCall;
use shoal_text::{Message, Role, Segment, Tokenizer};

use super::openai::{timings, token_logprobs};
use super::{Answer, Event, Form, Head, Totals};
use crate::error::ApiError;
use crate::responses_store::{ResponseStore, Stored};
use crate::worker::{Done, Piece, Progress};

/// Where a response is kept when it is complete.
pub(crate) struct Keeping {
    pub(crate) store: Arc<ResponseStore>,
    pub(crate) owner: Vec<u8>,
    /// The conversation that it answers.
    pub(crate) messages: Vec<Message>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reasoning,
    Message,
    Call,
}

/// An item that is being written.
struct Open {
    kind: Kind,
    id: String,
    text: String,
    /// Of a call.
    name: String,
    logprobs: Vec<Value>,
}

/// A response.
pub(crate) struct Responses {
    head: Head,
    tokenizer: Tokenizer,
    /// Fields of the request that the response repeats.
    echoed: Map<String, Value>,
    keeping: Option<Keeping>,
    has_logprobs: bool,
    open: Option<Open>,
    output: Vec<Value>,
    /// What was said, for who goes on from here.
    said: Message,
    sequence: usize,
    incomplete: bool,
}

impl Responses {
    pub(crate) fn new(
        tokenizer: &Tokenizer,
        echoed: Map<String, Value>,
        keeping: Option<Keeping>,
        has_logprobs: bool,
    ) -> Box<Self> {
        Box::new(Self {
            head: Head::default(),
            tokenizer: tokenizer.clone(),
            echoed,
            keeping,
            has_logprobs,
            open: None,
            output: Vec::new(),
            said: Message::new(Role::Assistant, ""),
            sequence: 0,
            incomplete: false,
        })
    }

    fn response(&self, status: &str, totals: Option<&Totals>, error: Value) -> Value {
        let details = self.incomplete.then(|| json!({ "reason": "max_output_tokens" }));
        let mut response = json!({
            "id": self.head.id,
            "object": "response",
            "created_at": self.head.created,
            "status": status,
            "error": error,
            "incomplete_details": details,
            "model": self.head.model,
            "output": self.output,
            "usage": totals.map(usage),
        });
        for (name, value) in &self.echoed {
            response[name] = value.clone();
        }
        if let Some(totals) = totals {
            response["timings"] = timings(totals, totals.completion_tokens);
        }
        response
    }

    fn event(&mut self, name: &'static str, mut data: Value, out: &mut Vec<Event>) {
        data["type"] = name.into();
        data["sequence_number"] = self.sequence.into();
        self.sequence += 1;
        out.push(Event { name: Some(name), data: data.to_string() });
    }

    /// Opens an item of this kind, unless the one that is open can go on.
    fn open(&mut self, kind: Kind, name: String, out: &mut Vec<Event>) {
        if kind != Kind::Call && self.open.as_ref().is_some_and(|open| open.kind == kind) {
            return;
        }
        self.close("completed", out);
        let prefix = match kind {
            Kind::Reasoning => "rs",
            Kind::Message => "msg",
            Kind::Call => "fc",
        };
        let id = format!("{prefix}_{}_{}", self.tail(), self.output.len());
        let open = Open { kind, id, text: String::new(), name, logprobs: Vec::new() };
        let item = self.item(&open, "in_progress");
        self.event(
            "response.output_item.added",
            json!({ "output_index": self.output.len(), "item": item }),
            out,
        );
        if kind != Kind::Call {
            let part = part(&open);
            let data = self.within(&open, json!({ "content_index": 0, "part": part }));
            self.event("response.content_part.added", data, out);
        }
        self.open = Some(open);
    }

    fn grow(&mut self, text: &str, logprobs: &[Logprobs], out: &mut Vec<Event>) {
        let Some(mut open) = self.open.take() else { return };
        open.text.push_str(text);
        let mut delta = json!({ "delta": text });
        if open.kind != Kind::Call {
            delta["content_index"] = 0.into();
        }
        if open.kind == Kind::Message {
            let made = if self.has_logprobs { token_logprobs(&self.tokenizer, logprobs) } else { json!([]) };
            open.logprobs.extend(made.as_array().cloned().unwrap_or_default());
            delta["logprobs"] = made;
        }
        let name = match open.kind {
            Kind::Reasoning => "response.reasoning_text.delta",
            Kind::Message => "response.output_text.delta",
            Kind::Call => "response.function_call_arguments.delta",
        };
        let data = self.within(&open, delta);
        self.event(name, data, out);
        self.open = Some(open);
    }

    fn close(&mut self, status: &str, out: &mut Vec<Event>) {
        let Some(open) = self.open.take() else { return };
        match open.kind {
            Kind::Reasoning => {
                let data = self.within(&open, json!({ "content_index": 0, "text": open.text }));
                self.event("response.reasoning_text.done", data, out);
                self.said.reasoning = Some(open.text.clone());
            }
            Kind::Message => {
                let text = json!({ "content_index": 0, "text": open.text, "logprobs": open.logprobs });
                let data = self.within(&open, text);
                self.event("response.output_text.done", data, out);
                self.said.content.push_str(&open.text);
            }
            Kind::Call => {
                let data = self.within(&open, json!({ "name": open.name, "arguments": open.text }));
                self.event("response.function_call_arguments.done", data, out);
                let id = call_id(&open.id);
                self.said.calls.push(ToolCall { id, name: open.name.clone(), arguments: open.text.clone() });
            }
        }
        if open.kind != Kind::Call {
            let part = part(&open);
            let data = self.within(&open, json!({ "content_index": 0, "part": part }));
            self.event("response.content_part.done", data, out);
        }
        let item = self.item(&open, status);
        self.event(
            "response.output_item.done",
            json!({ "output_index": self.output.len(), "item": item }),
            out,
        );
        self.output.push(item);
    }

    fn within(&self, open: &Open, mut data: Value) -> Value {
        data["item_id"] = open.id.as_str().into();
        data["output_index"] = self.output.len().into();
        data
    }

    fn item(&self, open: &Open, status: &str) -> Value {
        let is_new = status == "in_progress";
        let content = if is_new { json!([]) } else { json!([part(open)]) };
        match open.kind {
            Kind::Reasoning => {
                json!({ "id": open.id, "type": "reasoning", "summary": [], "content": content, "status": status })
            }
            Kind::Message => {
                json!({ "id": open.id, "type": "message", "role": "assistant", "content": content, "status": status })
            }
            Kind::Call => json!({
                "id": open.id,
                "type": "function_call",
                "call_id": call_id(&open.id),
                "name": open.name,
                "arguments": open.text,
                "status": status,
            }),
        }
    }

    /// What is particular in the id of this response.
    fn tail(&self) -> String {
        self.head.id.trim_start_matches("resp_").to_owned()
    }

    /// Ends the response; keeps it, if it is to be kept.
    fn complete(&mut self, totals: &Totals) -> Value {
        let status = if self.incomplete { "incomplete" } else { "completed" };
        let response = self.response(status, Some(totals), Value::Null);
        if let Some(Keeping { store, owner, mut messages }) = self.keeping.take() {
            messages.push(self.said.clone());
            store.put(self.head.id.clone(), Stored { owner, messages, response: response.to_string() });
        }
        response
    }
}

impl Form for Responses {
    fn id_prefix(&self) -> &'static str {
        "resp_"
    }

    fn named(&mut self, head: Head) {
        self.head = head;
    }

    fn begin(&mut self, out: &mut Vec<Event>) {
        let response = self.response("in_progress", None, Value::Null);
        self.event("response.created", json!({ "response": response }), out);
        self.event("response.in_progress", json!({ "response": response }), out);
    }

    fn progress(&mut self, _progress: &Progress, _out: &mut Vec<Event>) {}

    fn piece(&mut self, _choice: usize, piece: Piece, out: &mut Vec<Event>) {
        match piece.segment {
            Segment::Reasoning(text) => {
                self.open(Kind::Reasoning, String::new(), out);
                self.grow(&text, &[], out);
            }
            Segment::Answer(text) => {
                self.open(Kind::Message, String::new(), out);
                self.grow(&text, &piece.logprobs, out);
            }
            Segment::CallBegin(name) => self.open(Kind::Call, name, out),
            Segment::CallArguments(text) => self.grow(&text, &[], out),
        }
    }

    fn done(&mut self, _choice: usize, done: &Done, out: &mut Vec<Event>) {
        self.incomplete = done.reason == FinishReason::Length;
        if self.output.is_empty() && self.open.is_none() {
            // An answer that says nothing is a message all the same.
            self.open(Kind::Message, String::new(), out);
        }
        self.close(if self.incomplete { "incomplete" } else { "completed" }, out);
    }

    fn end(&mut self, totals: &Totals, out: &mut Vec<Event>) {
        let response = self.complete(totals);
        let name = if self.incomplete { "response.incomplete" } else { "response.completed" };
        self.event(name, json!({ "response": response }), out);
    }

    fn failure(&mut self, error: &ApiError) -> Event {
        let error = json!({ "code": "server_error", "message": error.message() });
        let response = self.response("failed", None, error);
        let mut out = Vec::new();
        self.event("response.failed", json!({ "response": response }), &mut out);
        out.remove(0)
    }

    fn whole(&mut self, mut answers: Vec<Answer>, totals: &Totals) -> Value {
        let Answer { pieces, done, .. } = answers.remove(0);
        let mut unsent = Vec::new();
        for piece in pieces {
            self.piece(0, piece, &mut unsent);
            unsent.clear();
        }
        if let Some(done) = done {
            self.done(0, &done, &mut unsent);
        }
        self.complete(totals)
    }
}

/// The part of an item that is text.
fn part(open: &Open) -> Value {
    match open.kind {
        Kind::Reasoning => json!({ "type": "reasoning_text", "text": open.text }),
        _ => {
            json!({ "type": "output_text", "text": open.text, "annotations": [], "logprobs": open.logprobs })
        }
    }
}

/// The name of a call, for its result, from that of its item.
fn call_id(item: &str) -> String {
    item.replacen("fc_", "call_", 1)
}

fn usage(totals: &Totals) -> Value {
    json!({
        "input_tokens": totals.prompt_tokens,
        "input_tokens_details": { "cached_tokens": totals.cached_tokens, "cache_write_tokens": 0 },
        "output_tokens": totals.completion_tokens,
        "output_tokens_details": { "reasoning_tokens": totals.reasoning_tokens },
        "total_tokens": totals.prompt_tokens + totals.completion_tokens,
    })
}
