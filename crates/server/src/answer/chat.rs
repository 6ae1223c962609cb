//! Answers as `/v1/chat/completions` writes them.
//!
//! In a stream the first chunk of each choice says who speaks and the last why it ended; then comes the usage, if it was asked for,
//! and `[DONE]`.

use serde_json::{Value, json};
use shoal_engine::{FinishReason, Logprobs};
use shoal_text::{Segment, Tokenizer};

use super::openai::{finish_reason, headed, prompt_progress, timings, token_logprobs, usage};
use super::{Answer, Event, Form, Head, Totals};
use crate::error::ApiError;
use crate::worker::{Done, Piece, Progress};

/// A message of a conversation.
pub(crate) struct Chat {
    head: Head,
    tokenizer: Tokenizer,
    /// Whether the model will reason, as far as its format says.
    is_thinking: bool,
    include_usage: bool,
    has_logprobs: bool,
    /// Calls that each choice has made so far.
    calls: Vec<usize>,
    /// Tokens of the first choice.
    first_tokens: usize,
}

impl Chat {
    pub(crate) fn new(
        tokenizer: &Tokenizer,
        is_thinking: bool,
        include_usage: bool,
        has_logprobs: bool,
        count: usize,
    ) -> Box<Self> {
        Box::new(Self {
            head: Head::default(),
            tokenizer: tokenizer.clone(),
            is_thinking,
            include_usage,
            has_logprobs,
            calls: vec![0; count],
            first_tokens: 0,
        })
    }

    fn object(&self, kind: &str) -> serde_json::Map<String, Value> {
        let mut object = headed(&self.head, kind);
        let thinking = if self.is_thinking { "enabled" } else { "disabled" };
        object.insert("thinking".to_owned(), json!({ "type": thinking }));
        object
    }

    fn logprobs(&self, [content, reasoning]: [&[Logprobs]; 2]) -> Value {
        if !self.has_logprobs {
            return Value::Null;
        }
        let mut logprobs = json!({ "content": token_logprobs(&self.tokenizer, content), "refusal": null });
        if !reasoning.is_empty() {
            logprobs["reasoning_content"] = token_logprobs(&self.tokenizer, reasoning);
        }
        logprobs
    }

    fn chunk(&self, choices: Value, usage: Option<&Totals>) -> Event {
        let mut object = self.object("chat.completion.chunk");
        object.insert("choices".to_owned(), choices);
        match usage {
            Some(totals) => {
                object.insert("usage".to_owned(), self::usage(totals));
                object.insert("timings".to_owned(), timings(totals, self.first_tokens));
            }
            None if self.include_usage => drop(object.insert("usage".to_owned(), Value::Null)),
            None => {}
        }
        Event::data(&Value::Object(object))
    }

    fn delta(&self, choice: usize, delta: Value, logprobs: Value, reason: Option<&str>) -> Event {
        let choice =
            json!({ "index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason });
        self.chunk(json!([choice]), None)
    }

    fn call_id(&self, choice: usize, call: usize) -> String {
        format!("call_{}_{choice}_{call}", self.head.id.trim_start_matches("chatcmpl-"))
    }
}

impl Form for Chat {
    fn id_prefix(&self) -> &'static str {
        "chatcmpl-"
    }

    fn named(&mut self, head: Head) {
        self.head = head;
    }

    fn begin(&mut self, out: &mut Vec<Event>) {
        let role = json!({ "role": "assistant", "content": "" });
        out.extend((0..self.calls.len()).map(|choice| self.delta(choice, role.clone(), Value::Null, None)));
    }

    fn progress(&mut self, progress: &Progress, out: &mut Vec<Event>) {
        let mut object = self.object("chat.completion.chunk");
        let choice = json!({ "index": 0, "delta": {}, "logprobs": null, "finish_reason": null });
        object.insert("choices".to_owned(), json!([choice]));
        object.insert("prompt_progress".to_owned(), prompt_progress(progress));
        out.push(Event::data(&Value::Object(object)));
    }

    fn piece(&mut self, choice: usize, piece: Piece, out: &mut Vec<Event>) {
        let Piece { segment, logprobs } = piece;
        let (content, reasoning): (&[Logprobs], &[Logprobs]) = match segment {
            Segment::Reasoning(_) => (&[], &logprobs),
            _ => (&logprobs, &[]),
        };
        let logprobs = self.logprobs([content, reasoning]);
        let delta = match segment {
            Segment::Answer(text) => json!({ "content": text }),
            Segment::Reasoning(text) => json!({ "reasoning_content": text }),
            Segment::CallBegin(name) => {
                let call = self.calls[choice];
                self.calls[choice] += 1;
                json!({ "tool_calls": [{
                    "index": call,
                    "id": self.call_id(choice, call),
                    "type": "function",
                    "function": { "name": name, "arguments": "" },
                }]})
            }
            Segment::CallArguments(text) => {
                let call = self.calls[choice].saturating_sub(1);
                json!({ "tool_calls": [{ "index": call, "function": { "arguments": text } }] })
            }
        };
        out.push(self.delta(choice, delta, logprobs, None));
    }

    fn done(&mut self, choice: usize, done: &Done, out: &mut Vec<Event>) {
        if choice == 0 {
            self.first_tokens = done.completion_tokens;
        }
        let reason = finish_reason(done.reason, self.calls[choice] > 0);
        out.push(self.delta(choice, json!({}), Value::Null, Some(reason)));
    }

    fn end(&mut self, totals: &Totals, out: &mut Vec<Event>) {
        if self.include_usage {
            out.push(self.chunk(json!([]), Some(totals)));
        }
        out.push(Event { name: None, data: "[DONE]".to_owned() });
    }

    fn failure(&mut self, error: &ApiError) -> Event {
        Event::data(&error.to_json())
    }

    fn whole(&mut self, answers: Vec<Answer>, totals: &Totals) -> Value {
        let first_tokens = answers[0].done.as_ref().map_or(0, |done| done.completion_tokens);
        let choices = answers.into_iter().enumerate().map(|(idx, answer)| self.choice(idx, answer)).collect();
        let mut object = self.object("chat.completion");
        object.insert("choices".to_owned(), choices);
        object.insert("usage".to_owned(), usage(totals));
        object.insert("timings".to_owned(), timings(totals, first_tokens));
        Value::Object(object)
    }
}

impl Chat {
    fn choice(&self, idx: usize, answer: Answer) -> Value {
        let Answer { content, reasoning, calls, logprobs, done, .. } = answer;
        let reason = done.map_or(FinishReason::Length, |done| done.reason);
        let finish = finish_reason(reason, !calls.is_empty());
        let has_content = !content.is_empty() || calls.is_empty();
        let mut message =
            json!({ "role": "assistant", "content": has_content.then_some(content), "refusal": null });
        if let Some(reasoning) = reasoning {
            message["reasoning_content"] = reasoning.into();
        }
        if !calls.is_empty() {
            let calls = calls.into_iter().enumerate().map(|(call, made)| {
                json!({
                    "id": self.call_id(idx, call),
                    "type": "function",
                    "function": { "name": made.name, "arguments": made.arguments },
                })
            });
            message["tool_calls"] = calls.collect();
        }
        let logprobs = self.logprobs([&logprobs[0], &logprobs[1]]);
        json!({ "index": idx, "message": message, "logprobs": logprobs, "finish_reason": finish })
    }
}
