//! Metadata that describes the tokenizer: from the hub's JSON files to the keys of a GGUF file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use shoal_base::limits::TEMPLATE_BYTES_MAX;

use super::config::bad;
use super::keys::Pairs;
use super::splitter::{Splitter, known_splitter};
use crate::error::shown;
use crate::json::{self, Found};
use crate::{Error, Value};

/// Kinds of tokens, as numbered in files.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// The parts of `tokenizer.json` that are used.
#[derive(Deserialize)]
struct Tokenizer {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    pre_tokenizer: Option<Splitter>,
    post_processor: Option<PostProcessor>,
    model: Bpe,
}

#[derive(Deserialize)]
struct AddedToken {
    id: usize,
    content: String,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Bpe {
    /// Absent in the files of old.
    r#type: Option<String>,
    vocab: BTreeMap<String, usize>,
    merges: Vec<Merge>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair([String; 2]),
    Joined(String),
}

/// What is put around a text; of that only what stands before it counts.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum PostProcessor {
    Sequence {
        processors: Vec<PostProcessor>,
    },
    TemplateProcessing {
        single: Vec<Part>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
enum Part {
    SpecialToken(serde::de::IgnoredAny),
    Sequence(serde::de::IgnoredAny),
}

impl PostProcessor {
    /// Whether a special token comes first.
    fn adds_first(&self) -> bool {
        match self {
            Self::Sequence { processors } => processors.iter().any(Self::adds_first),
            Self::TemplateProcessing { single } => matches!(single.first(), Some(Part::SpecialToken(_))),
            Self::Other => false,
        }
    }
}

/// The parts of `tokenizer_config.json` that are used.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    bos_token: Option<Special>,
    eos_token: Option<Special>,
    pad_token: Option<Special>,
    add_bos_token: Option<bool>,
    #[serde(default)]
    add_eos_token: bool,
    chat_template: Option<Templates>,
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

/// One template, or several of which one is the ordinary one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

/// The parts of `generation_config.json` that are used.
#[derive(Default, Deserialize)]
struct GenerationConfig {
    bos_token_id: Option<u32>,
    eos_token_id: Option<Ids>,
    pad_token_id: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Several(Vec<u32>),
}

impl Ids {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Several(ids) => ids,
        }
    }
}

/// All pairs of the tokenizer in `folder`; what was read goes into `digest`.
pub(super) fn pairs(folder: &Path, vocab_size: usize, digest: &mut Sha256) -> Result<Pairs, Error> {
    let path = folder.join("tokenizer.json");
    let Some(Found { value: tokenizer, bytes }) = json::load::<Tokenizer>(&path)? else {
        return Err(Error::NoModel { path: folder.to_owned(), missing: "tokenizer.json" });
    };
    digest.update(bytes);
    let config: TokenizerConfig = optional(&folder.join("tokenizer_config.json"), digest)?;
    let generation: GenerationConfig = optional(&folder.join("generation_config.json"), digest)?;
    let template = template(folder, &config, digest)?;
    let file = path.display().to_string();
    let (tokens, types) = vocabulary(&file, &tokenizer, vocab_size)?;
    let mut pairs: Vec<(&str, Value)> = vec![
        ("model", Value::Str("gpt2".to_owned())),
        ("pre", Value::Str(known_splitter(&file, tokenizer.pre_tokenizer.as_ref())?.to_owned())),
    ];
    pairs.extend(special_ids(&file, &tokens, &config, &generation)?);
    pairs.push(("tokens", Value::Strings(tokens)));
    pairs.push(("token_type", Value::I32s(types)));
    let adds_bos = || tokenizer.post_processor.as_ref().is_some_and(PostProcessor::adds_first);
    let add_bos = config.add_bos_token.unwrap_or_else(adds_bos);
    let merges = tokenizer.model.merges.into_iter().map(|merge| match merge {
        Merge::Pair([left, right]) => format!("{left} {right}"),
        Merge::Joined(both) => both,
    });
    pairs.push(("merges", Value::Strings(merges.collect())));
    pairs.push(("add_bos_token", Value::Bool(add_bos)));
    pairs.push(("add_eos_token", Value::Bool(config.add_eos_token)));
    let mut pairs: Pairs =
        pairs.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).collect();
    if let Some(template) = template {
        pairs.push(("tokenizer.chat_template".to_owned(), Value::Str(template)));
    }
    Ok(pairs)
}

fn optional<T: Default + serde::de::DeserializeOwned>(path: &Path, digest: &mut Sha256) -> Result<T, Error> {
    let found = json::load(path)?;
    Ok(found.map_or_else(T::default, |Found { value, bytes }| {
        digest.update(bytes);
        value
    }))
}

/// The chat template: that of a file of its own if there is one.
fn template(folder: &Path, config: &TokenizerConfig, digest: &mut Sha256) -> Result<Option<String>, Error> {
    let path = folder.join("chat_template.jinja");
    if let Some(bytes) = json::read(&path, TEMPLATE_BYTES_MAX as u64)? {
        digest.update(&bytes);
        let (file, place) = (path.display().to_string(), "the template".to_owned());
        return String::from_utf8(bytes).map(Some).map_err(|_| Error::Text { file, place });
    }
    Ok(match &config.chat_template {
        None => None,
        Some(Templates::One(template)) => Some(template.clone()),
        Some(Templates::Named(all)) => {
            let ordinary = all.iter().find(|named| named.name == "default");
            ordinary.map(|named| named.template.clone())
        }
    })
}

/// The ids of special tokens: by the texts that the tokenizer's configuration names, else as generation names them. What else ends
/// an answer there ends a turn.
fn special_ids(
    file: &str,
    tokens: &[String],
    config: &TokenizerConfig,
    generation: &GenerationConfig,
) -> Result<Vec<(&'static str, Value)>, Error> {
    let ends = generation.eos_token_id.as_ref().map_or(&[][..], Ids::as_slice);
    let mut pairs = Vec::new();
    for (key, special, otherwise) in [
        ("bos_token_id", &config.bos_token, generation.bos_token_id),
        ("eos_token_id", &config.eos_token, ends.first().copied()),
        ("padding_token_id", &config.pad_token, generation.pad_token_id),
    ] {
        let id = match special {
            None => otherwise,
            Some(special) => {
                let at = tokens.iter().position(|token| token == special.text());
                let at = at.ok_or_else(|| bad(file, key, "a token", shown(special.text())))?;
                Some(at as u32)
            }
        };
        pairs.extend(id.map(|id| (key, Value::U32(id))));
        if key == "eos_token_id"
            && let Some(eot) = ends.iter().find(|end| Some(**end) != id)
        {
            pairs.push(("eot_token_id", Value::U32(*eot)));
        }
    }
    Ok(pairs)
}

/// Text and kind of every id below `vocab_size`.
fn vocabulary(
    file: &str,
    tokenizer: &Tokenizer,
    vocab_size: usize,
) -> Result<(Vec<String>, Vec<i32>), Error> {
    if let Some(other) = tokenizer.model.r#type.as_deref().filter(|kind| *kind != "BPE") {
        return Err(bad(file, "model.type", "BPE", shown(other)));
    }
    let mut tokens: Vec<String> = (0..vocab_size).map(|id| format!("[PAD{id}]")).collect();
    let mut types = vec![UNUSED; vocab_size];
    let ordinary = tokenizer.model.vocab.iter().map(|(text, id)| (*id, text.clone(), NORMAL));
    let added = tokenizer.added_tokens.iter().map(|token| {
        let is_control = token.special || looks_special(&token.content);
        (token.id, token.content.clone(), if is_control { CONTROL } else { USER_DEFINED })
    });
    for (id, text, kind) in ordinary.chain(added) {
        if id >= vocab_size {
            let (file, key, found) = (file.to_owned(), shown(&text), id.to_string().into());
            let expected = format!("an id below the vocab_size {vocab_size}").into();
            return Err(Error::Field { file, key, expected, found });
        }
        (tokens[id], types[id]) = (text, kind);
    }
    Ok((tokens, types))
}

/// Whether a token that is not marked special is one by its looks: `<|..|>`, also with the full-width bar.
fn looks_special(text: &str) -> bool {
    (text.starts_with("<|") && text.ends_with("|>")) || (text.starts_with("<｜") && text.ends_with("｜>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer(json: serde_json::Value) -> Tokenizer {
        serde_json::from_value(json).expect("our own tokenizer")
    }

    #[test]
    fn every_id_gets_a_text_and_a_kind() {
        let tokenizer = tokenizer(serde_json::json!({
            "added_tokens": [
                {"id": 0, "content": "<s>", "special": true},
                {"id": 3, "content": "<｜User｜>", "special": false},
                {"id": 4, "content": "<think>", "special": false},
            ],
            "pre_tokenizer": null,
            "model": {"vocab": {"a": 1, "b": 2}, "merges": [["a", "b"], "b a"]},
        }));
        let (tokens, types) = vocabulary("t", &tokenizer, 6).expect("a good vocabulary");
        assert_eq!(tokens, ["<s>", "a", "b", "<｜User｜>", "<think>", "[PAD5]"]);
        assert_eq!(types, [CONTROL, NORMAL, NORMAL, CONTROL, USER_DEFINED, UNUSED]);
        assert!(vocabulary("t", &tokenizer, 4).is_err());
    }

    #[test]
    fn a_token_before_the_text_is_the_beginning_of_a_sequence() {
        let processed = |post: serde_json::Value| {
            let model = serde_json::json!({"type": "BPE", "vocab": {}, "merges": []});
            let json = serde_json::json!({"pre_tokenizer": null, "post_processor": post, "model": model});
            tokenizer(json).post_processor.is_some_and(|post| post.adds_first())
        };
        let (token, text) = (serde_json::json!({"SpecialToken": {"id": "<s>", "type_id": 0}}), "A");
        let text = serde_json::json!({"Sequence": {"id": text, "type_id": 0}});
        let first = serde_json::json!({"type": "TemplateProcessing", "single": [token, text]});
        let last = serde_json::json!({"type": "TemplateProcessing", "single": [text, token]});
        let bytes = serde_json::json!({"type": "ByteLevel", "trim_offsets": false});
        assert!(processed(first.clone()) && !processed(last) && !processed(bytes.clone()));
        assert!(processed(serde_json::json!({"type": "Sequence", "processors": [bytes, first]})));
        assert!(!processed(serde_json::Value::Null));
    }

    #[test]
    fn special_tokens_are_those_of_the_tokenizer_then_those_of_generation() {
        let tokens = ["<s>", "</s>", "<|eot|>"].map(str::to_owned);
        let config: TokenizerConfig = serde_json::from_value(serde_json::json!({
            "eos_token": {"content": "</s>", "lstrip": false}, "pad_token": null,
        }))
        .expect("a good file");
        let generation: GenerationConfig =
            serde_json::from_value(serde_json::json!({"bos_token_id": 0, "eos_token_id": [1, 2]}))
                .expect("a good file");
        let ids = special_ids("t", &tokens, &config, &generation).expect("all are there");
        let want = [("bos_token_id", 0), ("eos_token_id", 1), ("eot_token_id", 2)];
        assert_eq!(ids, want.map(|(key, id)| (key, Value::U32(id))));
        let config = TokenizerConfig { bos_token: Some(Special::Text("<x>".to_owned())), ..config };
        let refusal = special_ids("t", &tokens, &config, &generation).expect_err("no such token");
        assert_eq!(refusal.to_string(), "t: `bos_token_id`: expected a token, found `<x>`");
    }
}
