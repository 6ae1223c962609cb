//! Vocabularies and texts: any vocabulary is built or refused, and what is built encodes any text without loss and
//! without a control token. The input is four parts separated by 0xFF: options, tokens, merges, text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_base::TokenId;
use shoal_text::{Detokenizer, Tokenizer, VocabSpec};

const PRE: [&str; 8] =
    ["deepseek-llm", "deepseek-coder", "deepseek-v3", "qwen2", "llama-bpe", "smollm", "gpt-2", "no such"];

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(4, |&byte| byte == 0xFF);
    let mut part = || parts.next().unwrap_or_default();
    let (options, tokens, merges) =
        (part(), String::from_utf8_lossy(part()), String::from_utf8_lossy(part()));
    let text = String::from_utf8_lossy(part());
    let Ok(tokenizer) = Tokenizer::new(spec(options, &tokens, &merges)) else { return };
    let ids = tokenizer.encode(&text);
    for &id in &ids {
        assert!(id.idx() < tokenizer.vocab_len() && !tokenizer.is_control(id));
    }
    assert_eq!(tokenizer.decode(&ids), text);
    // Any ids at all stream as they decode.
    let ids: Vec<_> = options.iter().map(|&byte| TokenId(u32::from(byte))).collect();
    let mut detokenizer = Detokenizer::new(&tokenizer);
    let streamed: String = ids.iter().map(|&id| detokenizer.push(id)).collect();
    let visible =
        ids.iter().filter(|&&id| tokenizer.is_visible(id)).flat_map(|&id| tokenizer.token_bytes(id));
    let bytes: Vec<u8> = visible.copied().collect();
    assert_eq!(streamed + &detokenizer.finish(), String::from_utf8_lossy(&bytes));
});

/// All byte letters, so that a vocabulary is often usable, and the lines of `tokens`, each behind its type.
fn spec(options: &[u8], tokens: &str, merges: &str) -> VocabSpec {
    let option = |idx: usize| options.get(idx).copied().unwrap_or_default();
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let rest = (0..256).filter(|byte| !printable(byte)).zip(0x100u32..).map(|(_, letter)| letter);
    let letters = (0u32..256).filter(printable).chain(rest).filter_map(char::from_u32).map(String::from);
    let mut spec = VocabSpec {
        model: "gpt2".into(),
        pre: PRE[usize::from(option(0)) % PRE.len()].into(),
        tokens: letters.skip(usize::from(option(1) == 1)).collect(),
        merges: merges.lines().map(str::to_owned).collect(),
        ..VocabSpec::default()
    };
    spec.token_types = vec![1; spec.tokens.len()];
    for line in tokens.lines() {
        let split = line.char_indices().nth(1).map_or(line.len(), |(at, _)| at);
        let (kind, text) = line.split_at(split);
        spec.token_types.push(kind.parse().unwrap_or(1));
        spec.tokens.push(text.to_owned());
    }
    let last = spec.tokens.len() as u32 - 1;
    let id = |idx| (option(idx) > 0).then(|| TokenId(last.saturating_sub(u32::from(option(idx)) - 1)));
    (spec.bos, spec.eos, spec.eot, spec.pad) = (id(2), id(3), id(4), id(5));
    if option(6) == 1 {
        spec.token_types.clear();
    }
    spec
}
