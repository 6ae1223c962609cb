//! One answer as it is written: tokens in, segments of reasoning and answer out.
//!
//! Tokens become text that never splits a character, lose their stop string, and are split into what the model thought and
//! what it says. A segment comes out as soon as it is certain; the answer does not depend on how it arrived.

use shoal_base::TokenId;

use crate::detokenize::Detokenizer;
use crate::reasoning::{ReasoningSplitter, Segment};
use crate::stop::StopMatcher;
use crate::tokenizer::Tokenizer;

/// Follows one answer from its first token to its end.
#[derive(Clone, Debug)]
pub struct AnswerStream {
    detokenizer: Detokenizer,
    stop: StopMatcher,
    has_stopped: bool,
    /// `None` where reasoning is not told apart.
    splitter: Option<ReasoningSplitter>,
}

impl AnswerStream {
    /// The start of an answer that ends before the first of the texts `stop`. `reasoning_open` says whether the prompt has
    /// already opened reasoning; `None`: all is answer.
    #[must_use]
    pub fn new(tokenizer: &Tokenizer, stop: Vec<String>, reasoning_open: Option<bool>) -> Self {
        Self {
            detokenizer: Detokenizer::new(tokenizer),
            stop: StopMatcher::new(stop),
            has_stopped: false,
            splitter: reasoning_open.map(ReasoningSplitter::new),
        }
    }

    /// Adds a token; what is certain now, without empty segments.
    pub fn push(&mut self, token: TokenId) -> Vec<Segment> {
        let text = self.detokenizer.push(token);
        let (text, has_stopped) = self.stop.push(&text);
        self.has_stopped = has_stopped;
        self.split(text)
    }

    /// Whether a stop text has ended the answer.
    #[must_use]
    pub const fn has_stopped(&self) -> bool {
        self.has_stopped
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
        segments.extend(self.splitter.as_mut().map(ReasoningSplitter::finish).unwrap_or_default());
        segments
    }

    fn split(&mut self, text: String) -> Vec<Segment> {
        match &mut self.splitter {
            _ if text.is_empty() => Vec::new(),
            Some(splitter) => splitter.push(&text),
            None => vec![Segment::Answer(text)],
        }
    }
}
