//! Metadata that describes the tokenizer: from the hub's two JSON files to the keys of a GGUF file.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value as Json;
use shoal_testkit::gguf::Value;

use super::keys::Pairs;

/// Kinds of tokens, as numbered in files.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// The parts of `tokenizer.json` that are used.
#[derive(Deserialize)]
pub(crate) struct Tokenizer {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    pre_tokenizer: Json,
    model: Bpe,
}

#[derive(Deserialize)]
struct AddedToken {
    id: usize,
    content: String,
    special: bool,
}

#[derive(Deserialize)]
struct Bpe {
    vocab: BTreeMap<String, usize>,
    merges: Vec<Merge>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair([String; 2]),
    Joined(String),
}

/// The parts of `tokenizer_config.json` that are used.
#[derive(Deserialize)]
pub(crate) struct TokenizerConfig {
    bos_token: Option<Special>,
    eos_token: Option<Special>,
    pad_token: Option<Special>,
    #[serde(default)]
    add_bos_token: bool,
    #[serde(default)]
    add_eos_token: bool,
    chat_template: Option<String>,
}

/// A special token is a text, or an object that holds one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Special {
    Text(String),
    Object { content: String },
}

impl Special {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Object { content: text } => text,
        }
    }
}

/// All pairs of the tokenizer. `pre` names the pre-tokenizer where its patterns do not tell.
pub(crate) fn pairs(
    tokenizer: &Tokenizer,
    config: &TokenizerConfig,
    vocab_size: usize,
    pre: Option<&str>,
) -> Result<Pairs> {
    let (tokens, types) = vocabulary(tokenizer, vocab_size)?;
    let pre = pre.map_or_else(|| pre_tokenizer(&tokenizer.pre_tokenizer), Ok)?;
    let mut pairs: Vec<(&str, Value)> = vec![("model", "gpt2".into()), ("pre", pre.into())];
    let specials = [
        ("bos_token_id", &config.bos_token),
        ("eos_token_id", &config.eos_token),
        ("padding_token_id", &config.pad_token),
    ];
    for (key, special) in specials {
        if let Some(special) = special {
            let id = tokens.iter().position(|token| token == special.text());
            let id = id.with_context(|| format!("{key}: `{}` is not in the vocabulary", special.text()))?;
            pairs.push((key, (id as u32).into()));
        }
    }
    pairs.push(("tokens", tokens.into()));
    pairs.push(("token_type", types.into()));
    let merges = tokenizer.model.merges.iter().map(|merge| match merge {
        Merge::Pair([left, right]) => format!("{left} {right}"),
        Merge::Joined(both) => both.clone(),
    });
    pairs.push(("merges", merges.collect::<Vec<_>>().into()));
    pairs.push(("add_bos_token", config.add_bos_token.into()));
    pairs.push(("add_eos_token", config.add_eos_token.into()));
    let mut pairs: Pairs =
        pairs.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).collect();
    if let Some(template) = &config.chat_template {
        pairs.push(("tokenizer.chat_template".to_owned(), template.as_str().into()));
    }
    Ok(pairs)
}

/// Text and kind of every id below `vocab_size`.
fn vocabulary(tokenizer: &Tokenizer, vocab_size: usize) -> Result<(Vec<String>, Vec<i32>)> {
    let mut tokens: Vec<String> = (0..vocab_size).map(|id| format!("[PAD{id}]")).collect();
    let mut types = vec![UNUSED; vocab_size];
    let ordinary = tokenizer.model.vocab.iter().map(|(text, id)| (*id, text.clone(), NORMAL));
    let added = tokenizer.added_tokens.iter().map(|token| {
        let is_control = token.special || looks_special(&token.content);
        (token.id, token.content.clone(), if is_control { CONTROL } else { USER_DEFINED })
    });
    for (id, text, kind) in ordinary.chain(added) {
        ensure!(id < vocab_size, "token `{text}`: id {id} is not below vocab_size {vocab_size}");
        (tokens[id], types[id]) = (text, kind);
    }
    Ok((tokens, types))
}

/// Whether a token that is not marked special is one by its looks: `<|..|>`, also with the full-width bar.
fn looks_special(text: &str) -> bool {
    (text.starts_with("<|") && text.ends_with("|>")) || (text.starts_with("<｜") && text.ends_with("｜>"))
}

/// The name of the splitter, from the patterns that tell it from others.
fn pre_tokenizer(json: &Json) -> Result<&'static str> {
    let mut patterns = Vec::new();
    collect_patterns(json, &mut patterns);
    let by_three = patterns.contains(&r"\p{N}{1,3}");
    if by_three && patterns.iter().any(|pattern| pattern.starts_with("[一-龥")) {
        return Ok("deepseek-v3");
    }
    bail!("the pre-tokenizer of tokenizer.json is not one that is known here; name it with --pre")
}

/// Every value of a key `Regex`, at any depth.
fn collect_patterns<'a>(json: &'a Json, patterns: &mut Vec<&'a str>) {
    match json {
        Json::Array(items) => items.iter().for_each(|item| collect_patterns(item, patterns)),
        Json::Object(items) => {
            patterns.extend(items.get("Regex").and_then(Json::as_str));
            items.values().for_each(|item| collect_patterns(item, patterns));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_gets_a_text_and_a_kind() {
        let tokenizer: Tokenizer = serde_json::from_value(serde_json::json!({
            "added_tokens": [
                {"id": 0, "content": "<s>", "special": true},
                {"id": 3, "content": "<｜User｜>", "special": false},
                {"id": 4, "content": "<think>", "special": false},
            ],
            "pre_tokenizer": null,
            "model": {"vocab": {"a": 1, "b": 2}, "merges": [["a", "b"], "b a"]},
        }))
        .unwrap();
        let (tokens, types) = vocabulary(&tokenizer, 6).unwrap();
        assert_eq!(tokens, ["<s>", "a", "b", "<｜User｜>", "<think>", "[PAD5]"]);
        assert_eq!(types, [CONTROL, NORMAL, NORMAL, CONTROL, USER_DEFINED, UNUSED]);
        assert!(vocabulary(&tokenizer, 4).is_err());
    }

    #[test]
    fn the_splitter_is_told_by_its_patterns() {
        let split = |regex: &str| serde_json::json!({"type": "Split", "pattern": {"Regex": regex}});
        let deepseek = Json::Array(vec![split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ]+")]);
        assert_eq!(pre_tokenizer(&deepseek).unwrap(), "deepseek-v3");
        assert!(pre_tokenizer(&split(r"\p{N}{1,3}")).is_err());
    }
}
