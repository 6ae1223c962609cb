//! Answers as Anthropic's `/v1/messages` writes them.
//!
//! A message is a list of blocks: thinking, text, uses of tools. In a stream each block is opened, grown and closed; the message itself
//! begins when it is known how much of the prompt was cached, which its first event says.

use std::sync::Arc;

use serde_json::{Value, json};
use shoal_engine::FinishReason;
use shoal_text::Segment;

use super::openai::timings;
use super::{Answer, Event, Form, Head, Totals};
use crate::call_texts::CallTexts;
use crate::error::ApiError;
use crate::worker::{Done, Piece, Progress};

/// What stands as the signature of thinking: clients want one, and nobody here checks it.
const SIGNATURE: &str = "shoal";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Thinking,
    Text,
    ToolUse,
}

/// A message.
pub(crate) struct Messages {
    head: Head,
    prompt_tokens: usize,
    cached_tokens: usize,
    has_begun: bool,
    open: Option<Block>,
    /// Blocks so far.
    count: usize,
    /// Uses of tools so far, and the arguments of the last.
    uses: usize,
    arguments: String,
    call_texts: Arc<CallTexts>,
    stop: Value,
}

impl Messages {
    pub(crate) fn new(prompt_tokens: usize, call_texts: Arc<CallTexts>) -> Box<Self> {
        Box::new(Self {
            head: Head::default(),
            prompt_tokens,
            cached_tokens: 0,
            has_begun: false,
            open: None,
            count: 0,
            uses: 0,
            arguments: String::new(),
            call_texts,
            stop: Value::Null,
        })
    }

    fn message(&self, content: Value, stop: &Value, usage: Value) -> Value {
        let mut message = json!({
            "id": self.head.id,
            "type": "message",
            "role": "assistant",
            "model": self.head.model,
            "content": content,
            "stop_reason": null,
            "stop_sequence": null,
        });
        if let Value::Object(stop) = stop {
            for (name, value) in stop {
                message[name] = value.clone();
            }
        }
        message["usage"] = usage;
        message
    }

    fn start(&mut self, out: &mut Vec<Event>) {
        if self.has_begun {
            return;
        }
        self.has_begun = true;
        let usage = usage(self.prompt_tokens, self.cached_tokens, 0);
        let message = self.message(json!([]), &Value::Null, usage);
        out.push(event("message_start", json!({ "message": message })));
    }

    /// Opens a block of this kind, unless the one that is open can go on.
    fn open(&mut self, block: Block, content: Value, out: &mut Vec<Event>) {
        if self.open == Some(block) && block != Block::ToolUse {
            return;
        }
        self.close(out);
        self.open = Some(block);
        out.push(event("content_block_start", json!({ "index": self.count, "content_block": content })));
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        let Some(block) = self.open.take() else { return };
        if block == Block::ToolUse {
            self.call_texts.put(self.use_id(self.uses - 1), std::mem::take(&mut self.arguments));
        }
        if block == Block::Thinking {
            self.delta(json!({ "type": "signature_delta", "signature": SIGNATURE }), out);
        }
        out.push(event("content_block_stop", json!({ "index": self.count })));
        self.count += 1;
    }

    fn delta(&self, delta: Value, out: &mut Vec<Event>) {
        out.push(event("content_block_delta", json!({ "index": self.count, "delta": delta })));
    }

    fn use_id(&self, idx: usize) -> String {
        format!("toolu_{}_{idx}", self.head.id.trim_start_matches("msg_"))
    }
}

impl Form for Messages {
    fn id_prefix(&self) -> &'static str {
        "msg_"
    }

    fn named(&mut self, head: Head) {
        self.head = head;
    }

    fn begin(&mut self, _out: &mut Vec<Event>) {}

    fn progress(&mut self, progress: &Progress, out: &mut Vec<Event>) {
        self.cached_tokens = progress.tokens.cached;
        self.start(out);
        out.push(event("ping", json!({})));
    }

    fn piece(&mut self, _choice: usize, piece: Piece, out: &mut Vec<Event>) {
        self.start(out);
        match piece.segment {
            Segment::Reasoning(text) => {
                let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
                self.open(Block::Thinking, block, out);
                self.delta(json!({ "type": "thinking_delta", "thinking": text }), out);
            }
            Segment::Answer(text) => {
                self.open(Block::Text, json!({ "type": "text", "text": "" }), out);
                self.delta(json!({ "type": "text_delta", "text": text }), out);
            }
            Segment::CallBegin(name) => {
                let block =
                    json!({ "type": "tool_use", "id": self.use_id(self.uses), "name": name, "input": {} });
                self.open(Block::ToolUse, block, out);
                self.uses += 1;
            }
            Segment::CallArguments(text) => {
                self.arguments.push_str(&text);
                self.delta(json!({ "type": "input_json_delta", "partial_json": text }), out);
            }
        }
    }

    fn done(&mut self, _choice: usize, done: &Done, out: &mut Vec<Event>) {
        self.start(out);
        self.close(out);
        self.stop = stop(done, self.uses > 0);
    }

    fn end(&mut self, totals: &Totals, out: &mut Vec<Event>) {
        let usage = usage(totals.prompt_tokens, totals.cached_tokens, totals.completion_tokens);
        let timings = timings(totals, totals.completion_tokens);
        out.push(event("message_delta", json!({ "delta": self.stop, "usage": usage, "timings": timings })));
        out.push(event("message_stop", json!({})));
    }

    fn failure(&mut self, error: &ApiError) -> Event {
        Event { name: Some("error"), data: error.to_anthropic().to_string() }
    }

    fn whole(&mut self, mut answers: Vec<Answer>, totals: &Totals) -> Value {
        let Answer { content, reasoning, calls, done, .. } = answers.remove(0);
        let mut blocks = Vec::new();
        if let Some(thinking) = reasoning {
            blocks.push(json!({ "type": "thinking", "thinking": thinking, "signature": SIGNATURE }));
        }
        if !content.is_empty() {
            blocks.push(json!({ "type": "text", "text": content }));
        }
        let has_called = !calls.is_empty();
        for (idx, call) in calls.into_iter().enumerate() {
            // What was cut off is no JSON; Anthropic's documentation has this for it.
            let input: Value = serde_json::from_str(&call.arguments)
                .unwrap_or_else(|_| json!({ "INVALID_JSON": call.arguments }));
            self.call_texts.put(self.use_id(idx), call.arguments);
            blocks.push(
                json!({ "type": "tool_use", "id": self.use_id(idx), "name": call.name, "input": input }),
            );
        }
        let stop = done.map_or(Value::Null, |done| stop(&done, has_called));
        let usage = usage(totals.prompt_tokens, totals.cached_tokens, totals.completion_tokens);
        let mut message = self.message(blocks.into(), &stop, usage);
        message["timings"] = timings(totals, totals.completion_tokens);
        message
    }
}

fn event(name: &'static str, mut data: Value) -> Event {
    data["type"] = name.into();
    Event { name: Some(name), data: data.to_string() }
}

/// Why a message ended.
fn stop(done: &Done, has_called: bool) -> Value {
    let reason = match (done.reason, &done.stopped_by) {
        (FinishReason::Length, _) => "max_tokens",
        (FinishReason::End, Some(_)) => "stop_sequence",
        (FinishReason::End, None) if has_called => "tool_use",
        (FinishReason::End, None) => "end_turn",
    };
    json!({ "stop_reason": reason, "stop_sequence": done.stopped_by })
}

/// Tokens as Anthropic counts them: what was cached is not part of the input.
fn usage(prompt: usize, cached: usize, output: usize) -> Value {
    json!({
        "input_tokens": prompt - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": output,
    })
}
