//! Bodies of requests, for all four APIs: each is understood or refused in one sentence.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use shoal_base::TokenId;
use shoal_engine::SamplingParams;
use shoal_server::{Reader, Service};
use shoal_text::prompt::Reasoning;
use shoal_text::{PromptStyle, Tokenizer, VocabSpec};

const PATHS: [&str; 4] = ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"];

static READER: LazyLock<Reader> = LazyLock::new(reader);

fuzz_target!(|input: &[u8]| {
    let Some((path, body)) = input.split_first() else { return };
    if let Err(sentence) = READER.prompt(PATHS[usize::from(*path) % PATHS.len()], body) {
        assert!(!sentence.is_empty() && !sentence.contains('\n'), "{sentence}");
    }
});

/// All byte letters, and the marks of DeepSeek-V3.
fn reader() -> Reader {
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let rest = (0..256).filter(|byte| !printable(byte)).zip(0x100u32..).map(|(_, letter)| letter);
    let letters = (0u32..256).filter(printable).chain(rest).filter_map(char::from_u32).map(String::from);
    let marks = [
        "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>",
        "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>",
        "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>",
    ];
    let mut tokens: Vec<String> = letters.collect();
    let first_mark = tokens.len() as u32;
    let mut token_types = vec![1; tokens.len()];
    tokens.extend(marks.map(String::from));
    token_types.extend(marks.map(|_| 3));
    let spec = VocabSpec {
        model: "gpt2".into(),
        pre: "deepseek-v3".into(),
        tokens,
        token_types,
        bos: Some(TokenId(first_mark)),
        eos: Some(TokenId(first_mark + 1)),
        add_bos: Some(true),
        ..VocabSpec::default()
    };
    let service = Service {
        name: "m".to_owned(),
        aliases: Vec::new(),
        tokenizer: Tokenizer::new(spec).expect("a vocabulary"),
        style: PromptStyle::DeepseekV3 { reasoning: Reasoning::ByDefault },
        sampling: SamplingParams::default(),
        rates: None,
        planner: None,
        catalogue: None,
    };
    Reader::new(service, 4096)
}
