//! What an answer comes to.

use shoal_base::TokenId;
use shoal_text::tools::{CallFormat, CallPart};
use shoal_text::{AnswerStream, Segment, Tokenizer};

/// The text and the calls of some parts.
pub(crate) fn join(parts: impl IntoIterator<Item = CallPart>) -> (String, Vec<(String, String)>) {
    let (mut text, mut calls) = (String::new(), Vec::new());
    for part in parts {
        match part {
            CallPart::Text(more) => text.push_str(&more),
            CallPart::Begin(name) => calls.push((name, String::new())),
            CallPart::Arguments(more) => calls.last_mut().expect("a call has begun").1.push_str(&more),
        }
    }
    (text, calls)
}

/// Everything that an answer of these tokens comes to: what was thought, what was said, and the calls.
pub(crate) fn heard(
    tokenizer: &Tokenizer,
    format: CallFormat,
    stop: &[&str],
    tokens: &[TokenId],
) -> [String; 3] {
    let stop = stop.iter().map(|&stop| stop.to_owned()).collect();
    let mut answer = AnswerStream::new(tokenizer, stop, Some(true)).with_calls(format);
    let mut segments: Vec<Segment> = tokens.iter().flat_map(|&token| answer.push(token)).collect();
    segments.extend(answer.finish());
    let mut all = [String::new(), String::new(), String::new()];
    for segment in segments {
        match segment {
            Segment::Reasoning(text) => all[0].push_str(&text),
            Segment::Answer(text) => all[1].push_str(&text),
            Segment::CallBegin(name) => all[2].push_str(&format!("{name}: ")),
            Segment::CallArguments(text) => all[2].push_str(&text),
        }
    }
    all
}
