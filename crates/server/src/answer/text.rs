//! Answers as `/v1/completions` writes them.

use serde_json::{Value, json};
use shoal_engine::Logprobs;
use shoal_text::{Segment, Tokenizer};

use super::openai::{finish_reason, headed, prompt_progress, text_logprobs, timings, usage};
use super::{Answer, Event, Form, Head, Totals};
use crate::error::ApiError;
use crate::worker::{Done, Piece, Progress};

const KIND: &str = "text_completion";

/// A text that goes on.
pub(crate) struct Text {
    head: Head,
    tokenizer: Tokenizer,
    /// What each answer begins with: its prompt, where that is to be repeated.
    echoes: Vec<String>,
    include_usage: bool,
    has_logprobs: bool,
    /// Characters of each choice so far.
    lens: Vec<usize>,
    /// Tokens of the first choice.
    first_tokens: usize,
}

impl Text {
    pub(crate) fn new(
        tokenizer: &Tokenizer,
        echoes: Vec<String>,
        include_usage: bool,
        has_logprobs: bool,
    ) -> Box<Self> {
        let lens = echoes.iter().map(|echo| echo.chars().count()).collect();
        let (head, first_tokens) = (Head::default(), 0);
        let tokenizer = tokenizer.clone();
        Box::new(Self { head, tokenizer, echoes, include_usage, has_logprobs, lens, first_tokens })
    }

    fn choice(
        &self,
        idx: usize,
        text: &str,
        logprobs: &[Logprobs],
        offset: usize,
        reason: Option<&str>,
    ) -> Value {
        let logprobs =
            if self.has_logprobs { text_logprobs(&self.tokenizer, logprobs, offset) } else { Value::Null };
        json!({ "index": idx, "text": text, "logprobs": logprobs, "finish_reason": reason })
    }

    fn chunk(&self, choices: Value) -> Event {
        let mut object = headed(&self.head, KIND);
        object.insert("choices".to_owned(), choices);
        if self.include_usage {
            object.insert("usage".to_owned(), Value::Null);
        }
        Event::data(&Value::Object(object))
    }
}

impl Form for Text {
    fn id_prefix(&self) -> &'static str {
        "cmpl-"
    }

    fn named(&mut self, head: Head) {
        self.head = head;
    }

    fn begin(&mut self, out: &mut Vec<Event>) {
        for (idx, echo) in self.echoes.iter().enumerate().filter(|(_, echo)| !echo.is_empty()) {
            out.push(self.chunk(json!([self.choice(idx, echo, &[], 0, None)])));
        }
    }

    fn progress(&mut self, progress: &Progress, out: &mut Vec<Event>) {
        let mut object = headed(&self.head, KIND);
        object.insert("choices".to_owned(), json!([self.choice(0, "", &[], 0, None)]));
        object.insert("prompt_progress".to_owned(), prompt_progress(progress));
        out.push(Event::data(&Value::Object(object)));
    }

    fn piece(&mut self, choice: usize, piece: Piece, out: &mut Vec<Event>) {
        if let Segment::Answer(text) | Segment::Reasoning(text) = &piece.segment {
            let made = self.choice(choice, text, &piece.logprobs, self.lens[choice], None);
            self.lens[choice] += text.chars().count();
            out.push(self.chunk(json!([made])));
        }
    }

    fn done(&mut self, choice: usize, done: &Done, out: &mut Vec<Event>) {
        if choice == 0 {
            self.first_tokens = done.completion_tokens;
        }
        let made = self.choice(choice, "", &[], self.lens[choice], Some(finish_reason(done.reason, false)));
        out.push(self.chunk(json!([made])));
    }

    fn end(&mut self, totals: &Totals, out: &mut Vec<Event>) {
        if self.include_usage {
            let mut object = headed(&self.head, KIND);
            object.insert("choices".to_owned(), json!([]));
            object.insert("usage".to_owned(), usage(totals));
            object.insert("timings".to_owned(), timings(totals, self.first_tokens));
            out.push(Event::data(&Value::Object(object)));
        }
        out.push(Event { name: None, data: "[DONE]".to_owned() });
    }

    fn failure(&mut self, error: &ApiError) -> Event {
        Event::data(&error.to_json())
    }

    fn whole(&mut self, answers: Vec<Answer>, totals: &Totals) -> Value {
        let first_tokens = answers[0].done.as_ref().map_or(0, |done| done.completion_tokens);
        let choices = answers.into_iter().enumerate().map(|(idx, answer)| {
            let Answer { content, logprobs, done, .. } = answer;
            let reason = done.map(|done| finish_reason(done.reason, false));
            self.choice(idx, &format!("{}{content}", self.echoes[idx]), &logprobs[0], self.lens[idx], reason)
        });
        let choices = choices.collect();
        let mut object = headed(&self.head, KIND);
        object.insert("choices".to_owned(), choices);
        object.insert("usage".to_owned(), usage(totals));
        object.insert("timings".to_owned(), timings(totals, first_tokens));
        Value::Object(object)
    }
}
