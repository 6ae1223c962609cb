//! One answer as it is written: tokens in, segments of reasoning and answer out.
//!
//! Tokens become text that never splits a character, lose their stop string, and are split into what the model thought, what it
//! says and which functions it calls. Where the marks of reasoning are tokens only those count, and so for those of calls: a model that is
//! made to spell one, by a page that it reads, has called nothing. A segment comes out as soon as it is certain; the answer does not depend on how it arrived.

use shoal_base::TokenId;

use crate::detokenize::{Detokenizer, Guards, unguarded};
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
    /// Guards that the parser of calls must not see: its marks are not theirs.
    lifted: Guards,
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
            lifted: Guards::default(),
        }
        .told_apart(None)
    }

    /// The same, with calls in `format` told apart.
    #[must_use]
    pub fn with_calls(mut self, format: CallFormat) -> Self {
        self.detokenizer.show(format.marks());
        self.calls = Some(CallParser::new(format));
        self.told_apart(Some(format))
    }

    /// The same, with marks told from their spelling where they are tokens.
    fn told_apart(mut self, format: Option<CallFormat>) -> Self {
        let of_reasoning: &[&str] = if self.splitter.is_some() { &[THINK_OPEN, THINK_CLOSE] } else { &[] };
        let of_calls = format.map_or(&[][..], CallFormat::marks);
        let has_bar = of_calls.iter().any(|mark| !mark.starts_with('<'));
        let tells_reasoning = self.detokenizer.has_tokens(of_reasoning);
        // Both kinds of marks that begin with the same letter are told, or neither is.
        let tells_calls = self.detokenizer.has_tokens(of_calls) && (has_bar || tells_reasoning);
        let marks_with_angle = [
            if tells_reasoning { of_reasoning } else { &[] },
            if tells_calls && !has_bar { of_calls } else { &[] },
        ];
        let guards = Guards {
            angle: marks_with_angle.iter().any(|marks| !marks.is_empty()),
            bar: tells_calls && has_bar,
        };
        let told = [marks_with_angle[0], if tells_calls { of_calls } else { &[] }].concat();
        self.detokenizer.tell_marks(&told, guards);
        self.lifted = Guards { angle: guards.angle && (has_bar || !tells_calls), bar: false };
        // A stop text counts however it is spelled.
        let spelled =
            self.stop_texts.iter().filter(|stop| guards.change(stop)).map(|stop| guards.guarded(stop));
        self.stop = StopMatcher::new(self.stop_texts.iter().cloned().chain(spelled).collect());
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
            Segment::Answer(text) => {
                calls.push(&self.lifted.removed(text)).into_iter().map(segment).collect()
            }
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
