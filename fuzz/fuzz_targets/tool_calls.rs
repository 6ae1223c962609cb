//! Calls of functions in an answer: cut anywhere, it gives the same texts and calls.
//! The first bytes choose the cuts; the rest, in letters that make marks likely, is the answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_text::tools::{CallFormat, CallParser, CallPart, V4Release};

const WORDS: [&str; 33] = [
    "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "function",
    "\n```json\n", "\n```", "<tool_call>", "</tool_call>", "{\"name\": \"f\", \"arguments\": {}}", "{", "}", "<", "<｜tool", "▁", "\n", " ", "é", "name",
    "<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>", "<｜DSML｜function_calls>", "</｜DSML｜function_calls>", "<｜DSML｜invoke name=\"f\">",
    "</｜DSML｜invoke>", "<｜DSML｜parameter name=\"", "\" string=\"true\">", "\" string=\"false\">", "</｜DSML｜parameter>", "<｜DSML｜", "\"", "\\",
];

fuzz_target!(|input: &[u8]| {
    let (cuts, words) = input.split_at(input.len() / 2);
    let answer: String = words.iter().map(|&byte| WORDS[usize::from(byte) % WORDS.len()]).collect();
    let v4 = CallFormat::DeepseekV4(V4Release::Dated);
    for format in [CallFormat::DeepseekV3, CallFormat::DeepseekV31, CallFormat::DeepseekV32, v4, CallFormat::Hermes] {
        assert_eq!(read(format, &answer, cuts), read(format, &answer, &[]));
    }
});

/// All parts, neighbours of one kind joined.
fn read(format: CallFormat, mut rest: &str, cuts: &[u8]) -> Vec<CallPart> {
    let mut parser = CallParser::new(format);
    let mut parts = Vec::new();
    for &cut in cuts {
        let (part, tail) = rest.split_at(rest.floor_char_boundary(usize::from(cut)));
        parts.extend(parser.push(part));
        rest = tail;
    }
    parts.extend(parser.push(rest));
    parts.extend(parser.finish());
    let mut joined: Vec<CallPart> = Vec::new();
    for part in parts {
        match (joined.last_mut(), part) {
            (Some(CallPart::Text(text)), CallPart::Text(more)) => text.push_str(&more),
            (Some(CallPart::Arguments(text)), CallPart::Arguments(more)) => text.push_str(&more),
            (_, part) => joined.push(part),
        }
    }
    joined
}
