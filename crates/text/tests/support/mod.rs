//! Reads the tokenizer fixtures that `tools/tokenizer_fixtures.py` makes.

use serde::Deserialize;
use shoal_base::TokenId;
use shoal_text::VocabSpec;

/// A vocabulary, whole or cut, and strings with their ids.
#[derive(Deserialize)]
#[allow(dead_code, reason = "not every user reads every field")]
pub(crate) struct Fixture {
    pre: String,
    vocab_len: usize,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: Option<bool>,
    tokens: Vec<(usize, i32, String)>,
    merges: Vec<String>,
    /// Cases from outside.
    pub(crate) given: Vec<(String, Vec<u32>)>,
    /// Cases whose ids come from the Python package.
    pub(crate) made: Vec<(String, Vec<u32>)>,
    /// The model's chat template; only in whole fixtures.
    pub(crate) chat_template: Option<String>,
}

impl Fixture {
    /// Parses a fixture.
    pub(crate) fn parse(json: &str) -> Self {
        serde_json::from_str(json).expect("a fixture")
    }

    /// The vocabulary; ids that the fixture leaves out are unused tokens.
    pub(crate) fn spec(&self) -> VocabSpec {
        let mut tokens: Vec<String> = (0..self.vocab_len).map(|id| format!("[left out {id}]")).collect();
        let mut token_types = vec![5; self.vocab_len];
        for (id, kind, text) in &self.tokens {
            tokens[*id].clone_from(text);
            token_types[*id] = *kind;
        }
        VocabSpec {
            model: "gpt2".into(),
            pre: self.pre.clone(),
            tokens,
            token_types,
            merges: self.merges.clone(),
            bos: self.bos.map(TokenId),
            eos: self.eos.map(TokenId),
            add_bos: self.add_bos,
            ..VocabSpec::default()
        }
    }
}
