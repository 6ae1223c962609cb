//! One answer: from a rendered prompt to text, piece by piece.
//!
//! Tokens come from the engine, become text that never splits a character, lose their stop string, and are split into
//! reasoning and answer; a listener sees each segment as soon as it is certain.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::bail;
use shoal_base::TokenId;
use shoal_engine::{Engine, Event, FinishReason, Request, SamplingParams};
use shoal_text::{Detokenizer, ReasoningSplitter, Segment, StopMatcher, Tokenizer};

use crate::meter::Meter;

/// What is asked.
pub(crate) struct Ask {
    pub(crate) prompt: Vec<TokenId>,
    pub(crate) reasoning_open: bool,
    /// Whether reasoning is told apart at all.
    pub(crate) split_reasoning: bool,
    pub(crate) sampling: SamplingParams,
    pub(crate) max_tokens: usize,
    pub(crate) stop: Vec<String>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Stop,
    Length,
    Interrupted,
}

impl Ended {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What came of it.
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) reasoning: String,
    pub(crate) prompt_tokens: usize,
    pub(crate) completion_tokens: usize,
    pub(crate) ended: Ended,
    pub(crate) meter: Meter,
}

/// Runs `ask` to its end, or until `interrupt` is set. `on_segment` may fail, for example on a closed pipe.
pub(crate) fn answer(
    engine: &mut Engine,
    tokenizer: &Tokenizer,
    ask: Ask,
    interrupt: &AtomicBool,
    on_segment: &mut dyn FnMut(&Segment) -> std::io::Result<()>,
) -> anyhow::Result<Answer> {
    let prompt_tokens = ask.prompt.len();
    let end_tokens: Vec<TokenId> =
        (0..tokenizer.vocab_len() as u32).map(TokenId).filter(|&id| tokenizer.is_end(id)).collect();
    let request =
        Request { prompt: ask.prompt, sampling: ask.sampling, max_tokens: ask.max_tokens, end_tokens };
    let id = engine.submit(request)?;
    let mut writer = Writer::new(tokenizer, ask.stop, ask.split_reasoning.then_some(ask.reasoning_open));
    let mut meter = Meter::default();
    let mut completion_tokens = 0;
    let ended = 'answer: loop {
        if interrupt.load(Ordering::Relaxed) {
            break Ended::Interrupted;
        }
        let start = Instant::now();
        let (events, report) = engine.step();
        meter.add(&report, start.elapsed());
        for event in events {
            match event {
                Event::Token(_, token) => {
                    completion_tokens += 1;
                    if writer.push(token, on_segment)? {
                        break 'answer Ended::Stop;
                    }
                }
                Event::Finished(_, FinishReason::End) => break 'answer Ended::Stop,
                Event::Finished(_, FinishReason::Length) => break 'answer Ended::Length,
                Event::Failed(_, why) => bail!("the answer ends here: {why}"),
            }
        }
    };
    engine.cancel(id);
    writer.finish(on_segment)?;
    let Writer { text, reasoning, .. } = writer;
    Ok(Answer { text, reasoning, prompt_tokens, completion_tokens, ended, meter })
}

/// From tokens to segments.
struct Writer {
    detokenizer: Detokenizer,
    stop: StopMatcher,
    stopped: bool,
    splitter: Option<ReasoningSplitter>,
    text: String,
    reasoning: String,
}

type OnSegment<'a> = &'a mut dyn FnMut(&Segment) -> std::io::Result<()>;

impl Writer {
    fn new(tokenizer: &Tokenizer, stop: Vec<String>, reasoning: Option<bool>) -> Self {
        Self {
            detokenizer: Detokenizer::new(tokenizer),
            stop: StopMatcher::new(stop),
            stopped: false,
            splitter: reasoning.map(ReasoningSplitter::new),
            text: String::new(),
            reasoning: String::new(),
        }
    }

    /// Adds a token; says whether a stop string has ended the answer.
    fn push(&mut self, token: TokenId, on_segment: OnSegment<'_>) -> std::io::Result<bool> {
        let text = self.detokenizer.push(token);
        let (text, stopped) = self.stop.push(&text);
        self.stopped = stopped;
        self.split(&text, on_segment)?;
        Ok(stopped)
    }

    fn finish(&mut self, on_segment: OnSegment<'_>) -> std::io::Result<()> {
        if !self.stopped {
            let tail = self.detokenizer.finish();
            let (text, stopped) = self.stop.push(&tail);
            self.split(&text, on_segment)?;
            if !stopped {
                let held = self.stop.finish();
                self.split(&held, on_segment)?;
            }
        }
        let segments = self.splitter.as_mut().map(ReasoningSplitter::finish).unwrap_or_default();
        segments.into_iter().try_for_each(|segment| self.emit(segment, on_segment))
    }

    fn split(&mut self, text: &str, on_segment: OnSegment<'_>) -> std::io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let segments = match &mut self.splitter {
            Some(splitter) => splitter.push(text),
            None => vec![Segment::Answer(text.to_owned())],
        };
        segments.into_iter().try_for_each(|segment| self.emit(segment, on_segment))
    }

    fn emit(&mut self, segment: Segment, on_segment: OnSegment<'_>) -> std::io::Result<()> {
        match &segment {
            Segment::Reasoning(text) => self.reasoning.push_str(text),
            Segment::Answer(text) => self.text.push_str(text),
        }
        on_segment(&segment)
    }
}
