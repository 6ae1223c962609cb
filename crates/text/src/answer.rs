//! One answer as it is written: tokens in, segments of reasoning and answer out.
//!
//! Tokens become text that never splits a character, lose their stop string, and are split into what the model thought, what it
//! says and which functions it calls. Where all marks of that are tokens, only those count: a model that is made to spell one, by
//! a page that it reads, has called nothing. A segment comes out as soon as it is certain; the answer does not depend on how it arrived.

use shoal_base::TokenId;

use crate::detokenize::{Detokenizer, guarded, unguarded};
use crate::reasoning::{ReasoningSplitter, Segment, THINK_CLOSE, THINK_OPEN};
use crate::stop::StopMatcher;
use crate::tokenizer::Tokenizer;
use crate::tools::{CallFormat, CallParser, CallPart};

/// Follows one answer from its first token to its end.
#[derive(Clone, Debug)]
pub struct AnswerStream {
    detokenizer: Detokenizer,
    stop: StopMatcher,
    stop_texts: Vec<String>,
    has_stopped: bool,
    /// `None` where reasoning is not told apart.
    splitter: Option<ReasoningSplitter>,
    /// `None` where calls are not told apart.
    calls: Option<CallParser>,
}

impl AnswerStream {
    /// The start of an answer that ends before the first of the texts `stop`. `reasoning_open` says whether the prompt has
    /// already opened reasoning; `None`: all is answer.
    #[must_use]
    pub fn new(tokenizer: &Tokenizer, stop: Vec<String>, reasoning_open: Option<bool>) -> Self {
        Self {
            detokenizer: Detokenizer::new(tokenizer),
            stop: StopMatcher::new(stop.clone()),
            stop_texts: stop,
            has_stopped: false,
            splitter: reasoning_open.map(ReasoningSplitter::new),
            calls: None,
        }
        .told_apart(&[])
    }

    /// The same, with calls in `format` told apart.
    #[must_use]
    pub fn with_calls(mut self, format: CallFormat) -> Self {
        self.detokenizer.show(format.marks());
        self.calls = Some(CallParser::new(format));
        self.told_apart(format.marks())
    }

    /// The same, with marks told from their spelling if all of them are tokens.
    fn told_apart(mut self, of_calls: &[&str]) -> Self {
        let of_reasoning: &[&str] = if self.splitter.is_some() { &[THINK_OPEN, THINK_CLOSE] } else { &[] };
        if self.detokenizer.tell_marks(&[of_reasoning, of_calls].concat()) {
            // A stop text counts however it is spelled.
            let spelled = self.stop_texts.iter().filter(|stop| stop.contains('<')).map(|stop| guarded(stop));
            self.stop = StopMatcher::new(self.stop_texts.iter().cloned().chain(spelled).collect());
        } else {
            self.stop = StopMatcher::new(self.stop_texts.clone());
        }
        self
    }

    /// Adds a token; what is certain now, without empty segments.
    pub fn push(&mut self, token: TokenId) -> Vec<Segment> {
        let text = self.detokenizer.push(token);
        let (text, has_stopped) = self.stop.push(&text);
        self.has_stopped = has_stopped;
        cleaned(self.split(text))
    }

    /// Whether a stop text has ended the answer.
    #[must_use]
    pub const fn has_stopped(&self) -> bool {
        self.has_stopped
    }

    /// The stop text that has ended the answer.
    #[must_use]
    pub fn stopped_by(&self) -> Option<String> {
        self.stop.stopped_by().map(|stop| unguarded(stop.to_owned()))
    }

    /// Ends the answer; what was held back.
    pub fn finish(&mut self) -> Vec<Segment> {
        let mut segments = Vec::new();
        if !self.has_stopped {
            let tail = self.detokenizer.finish();
            let (text, has_stopped) = self.stop.push(&tail);
            segments.extend(self.split(text));
            if !has_stopped {
                let held = self.stop.finish();
                segments.extend(self.split(held));
            }
        }
        let rest = self.splitter.as_mut().map(ReasoningSplitter::finish).unwrap_or_default();
        segments.extend(self.find_calls(rest));
        segments
            .extend(self.calls.as_mut().map(CallParser::finish).unwrap_or_default().into_iter().map(segment));
        cleaned(segments)
    }

    fn split(&mut self, text: String) -> Vec<Segment> {
        let segments = match &mut self.splitter {
            _ if text.is_empty() => Vec::new(),
            Some(splitter) => splitter.push(&text),
            None => vec![Segment::Answer(text)],
        };
        self.find_calls(segments)
    }

    fn find_calls(&mut self, segments: Vec<Segment>) -> Vec<Segment> {
        let Some(calls) = &mut self.calls else { return segments };
        let parts = segments.into_iter().flat_map(|part| match part {
            Segment::Answer(text) => calls.push(&text).into_iter().map(segment).collect(),
            other => vec![other],
        });
        parts.collect()
    }
}

/// Segments as the model wrote them.
fn cleaned(segments: Vec<Segment>) -> Vec<Segment> {
    let clean = |segment| match segment {
        Segment::Reasoning(text) => Segment::Reasoning(unguarded(text)),
        Segment::Answer(text) => Segment::Answer(unguarded(text)),
        Segment::CallBegin(name) => Segment::CallBegin(unguarded(name)),
        Segment::CallArguments(text) => Segment::CallArguments(unguarded(text)),
    };
    let is_empty = |segment: &Segment| match segment {
        Segment::Reasoning(text) | Segment::Answer(text) | Segment::CallArguments(text) => text.is_empty(),
        Segment::CallBegin(_) => false,
    };
    segments.into_iter().map(clean).filter(|segment| !is_empty(segment)).collect()
}

fn segment(part: CallPart) -> Segment {
    match part {
        CallPart::Text(text) => Segment::Answer(text),
        CallPart::Begin(name) => Segment::CallBegin(name),
        CallPart::Arguments(text) => Segment::CallArguments(text),
    }
}
