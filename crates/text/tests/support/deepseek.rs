//! DeepSeek's vocabularies.

use shoal_base::TokenId;
use shoal_text::Tokenizer;

use crate::support::Fixture;

fn tokenizer(json: &str) -> Tokenizer {
    let mut spec = Fixture::parse(json).spec();
    (spec.bos, spec.eos) = (Some(TokenId(0)), Some(TokenId(1)));
    Tokenizer::new(spec).expect("a vocabulary")
}

/// V3's vocabulary, which V3.1 and V3.2 share.
pub(crate) fn v3_tokenizer() -> Tokenizer {
    tokenizer(include_str!("../../../../tests/golden/tokenizers/deepseek-v3.json"))
}

/// V4's, cut to what the tests need.
pub(crate) fn v4_tokenizer() -> Tokenizer {
    tokenizer(include_str!("../../../../tests/golden/tokenizers/deepseek-v4.json"))
}
