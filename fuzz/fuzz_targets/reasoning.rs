//! Output parsing: an answer, cut anywhere, splits into the same reasoning and answer and stops at the same place.
//! The first bytes choose the cuts; the rest, in letters that make marks likely, is the answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_text::{ReasoningSplitter, Segment, StopMatcher};

const WORDS: [&str; 16] = [
    "<think>", "</think>", "<", "/", "thi", "nk>", "</", "\n", " ", "é", "🙂", "STOP", "ST", "OP", "S",
    "word ",
];

fuzz_target!(|input: &[u8]| {
    let (cuts, words) = input.split_at(input.len() / 2);
    let answer: String = words.iter().map(|&byte| WORDS[usize::from(byte) % WORDS.len()]).collect();
    for open in [false, true] {
        assert_eq!(split(open, &parts(&answer, cuts)), split(open, &[&answer]));
    }
    assert_eq!(stop(&parts(&answer, cuts)), stop(&[&answer]));
});

/// `text` in parts whose lengths `cuts` gives.
fn parts<'t>(text: &'t str, cuts: &[u8]) -> Vec<&'t str> {
    let (mut parts, mut rest) = (Vec::new(), text);
    for &cut in cuts {
        let (part, tail) = rest.split_at(rest.floor_char_boundary(usize::from(cut)));
        parts.push(part);
        rest = tail;
    }
    parts.push(rest);
    parts
}

fn split(open: bool, parts: &[&str]) -> (String, String) {
    let mut splitter = ReasoningSplitter::new(open);
    let mut segments: Vec<Segment> = parts.iter().flat_map(|part| splitter.push(part)).collect();
    segments.extend(splitter.finish());
    let (mut reasoning, mut answer) = (String::new(), String::new());
    for segment in segments {
        match segment {
            Segment::Reasoning(text) => reasoning.push_str(&text),
            Segment::Answer(text) => answer.push_str(&text),
            other => panic!("calls are found elsewhere: {other:?}"),
        }
    }
    (reasoning, answer)
}

fn stop(parts: &[&str]) -> (String, bool) {
    let mut matcher = StopMatcher::new(vec!["STOP".into(), "</".into(), "OP\nword ".into()]);
    let (mut printed, mut stopped) = (String::new(), false);
    for part in parts {
        let (text, ends) = matcher.push(part);
        printed.push_str(&text);
        stopped |= ends;
    }
    printed.push_str(&matcher.finish());
    (printed, stopped)
}
