//! One answer: from a rendered prompt to text, piece by piece.
//!
//! Tokens come from the engine and become segments of reasoning and answer (`AnswerStream`); a listener sees each as soon as it
//! is certain.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::bail;
use shoal_base::TokenId;
use shoal_engine::{Engine, Event, FinishReason, Logprobs, Request, SamplingParams};
use shoal_text::{AnswerStream, Segment, Tokenizer};

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
    /// For each token of the answer, how likely it and this many others were, if that is wanted.
    pub(crate) logprobs: Option<usize>,
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
    /// How likely the tokens of `text` were, if that was wanted.
    pub(crate) tokens: Vec<Logprobs>,
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
    let logprobs = ask.logprobs;
    let request = Request { end_tokens, logprobs, ..Request::new(ask.prompt, ask.sampling, ask.max_tokens) };
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
        let time = start.elapsed();
        engine.took(time, &report);
        meter.add(&report, time);
        for event in events {
            match event {
                Event::Prompt(..) => {}
                Event::Logprobs(_, logprobs) => writer.waiting.push(logprobs),
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
    meter.draft_gain = engine.draft_gain();
    writer.finish(on_segment)?;
    let Writer { text, reasoning, tokens, .. } = writer;
    Ok(Answer { text, reasoning, tokens, prompt_tokens, completion_tokens, ended, meter })
}

/// What has been written so far.
struct Writer {
    tokenizer: Tokenizer,
    stream: AnswerStream,
    text: String,
    reasoning: String,
    tokens: Vec<Logprobs>,
    /// Of tokens whose text has not come out yet: it may be a part of a character, or of a mark.
    waiting: Vec<Logprobs>,
}

type OnSegment<'a> = &'a mut dyn FnMut(&Segment) -> std::io::Result<()>;

impl Writer {
    fn new(tokenizer: &Tokenizer, stop: Vec<String>, reasoning_open: Option<bool>) -> Self {
        let stream = AnswerStream::new(tokenizer, stop, reasoning_open);
        let (text, reasoning) = (String::new(), String::new());
        Self {
            tokenizer: tokenizer.clone(),
            stream,
            text,
            reasoning,
            tokens: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Adds a token; says whether a stop string has ended the answer.
    fn push(&mut self, token: TokenId, on_segment: OnSegment<'_>) -> std::io::Result<bool> {
        let segments = self.stream.push(token);
        self.emit(segments, on_segment)?;
        Ok(self.stream.has_stopped())
    }

    /// How many of the last tokens that wait make up `text`: what is before them was a mark, or has been left out.
    fn made_of(&self, text: &str) -> usize {
        let mut bytes = 0;
        let lens =
            self.waiting.iter().rev().map(|token| self.tokenizer.token_bytes(token.chosen.token).len());
        let needed = lens.take_while(|len| {
            let is_needed = bytes < text.len();
            bytes += len;
            is_needed
        });
        needed.count()
    }

    fn finish(&mut self, on_segment: OnSegment<'_>) -> std::io::Result<()> {
        let segments = self.stream.finish();
        self.emit(segments, on_segment)
    }

    fn emit(&mut self, segments: Vec<Segment>, on_segment: OnSegment<'_>) -> std::io::Result<()> {
        for segment in segments {
            match &segment {
                Segment::Reasoning(text) => {
                    self.reasoning.push_str(text);
                    self.waiting.clear();
                }
                Segment::Answer(text) => {
                    self.text.push_str(text);
                    let other = self.waiting.len() - self.made_of(text);
                    self.tokens.extend(self.waiting.drain(..).skip(other));
                }
                // Calls are told apart only where functions are offered.
                Segment::CallBegin(_) | Segment::CallArguments(_) => {}
            }
            on_segment(&segment)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use shoal_engine::Logprob;

    use super::*;
    use crate::token_view::tests::tokenizer_of_bytes;

    /// Writes `text`, each byte a token, and tells of which tokens the answer is said to be.
    fn tokens_of_answer(text: &str, reasoning_open: Option<bool>, stop: &[&str]) -> (String, String) {
        let tokenizer = tokenizer_of_bytes();
        let stop = stop.iter().map(|&stop| stop.to_owned()).collect();
        let mut writer = Writer::new(&tokenizer, stop, reasoning_open);
        for token in tokenizer.encode(text) {
            writer.waiting.push(Logprobs { chosen: Logprob { token, logprob: 0.0 }, top: Vec::new() });
            if writer.push(token, &mut |_| Ok(())).expect("nothing fails") {
                break;
            }
        }
        writer.finish(&mut |_| Ok(())).expect("nothing fails");
        let tokens: Vec<TokenId> = writer.tokens.iter().map(|token| token.chosen.token).collect();
        (writer.text, tokenizer.decode(&tokens))
    }

    #[test]
    fn tokens_of_an_answer_are_neither_those_of_its_reasoning_nor_marks() {
        for (written, reasoning_open, stop) in [
            ("plain, é and 人", None, &[][..]),
            ("hm</think>\n\nYes, é.", Some(true), &[]),
            ("<think>hm</think>Yes.", Some(false), &[]),
            ("Yes. ENough", None, &["END"]),
        ] {
            let (text, tokens) = tokens_of_answer(written, reasoning_open, stop);
            assert_eq!(text.trim_start(), tokens.trim_start(), "{written}");
            assert!(!text.contains("hm") && !text.is_empty(), "{written}: {text}");
        }
        assert_eq!(tokens_of_answer("Yes. END of it", None, &["END"]).0, "Yes. ");
    }
}
