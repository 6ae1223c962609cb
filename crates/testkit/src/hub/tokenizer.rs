//! `tokenizer.json` and `tokenizer_config.json` from the keys of a GGUF file.

use serde_json::{Map, Value as Json, json};

use crate::gguf::Value;
use crate::gguf_reader::GgufFile;

/// How V3 and its successors split.
const V3_RULES: [&str; 3] = [
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
];

/// Both files.
pub(super) fn of(file: &GgufFile) -> (Json, Json) {
    let get = |key: &str| file.get(&format!("tokenizer.ggml.{key}"));
    let Some(Value::Array(tokens)) = get("tokens") else { panic!("a vocabulary") };
    let Some(Value::Array(types)) = get("token_type") else { panic!("types of tokens") };
    let (mut vocab, mut added) = (Map::new(), Vec::new());
    for (id, (text, kind)) in tokens.iter().zip(types).enumerate() {
        let Value::String(text) = text else { panic!("a text") };
        match kind {
            Value::I32(1) => _ = vocab.insert(text.clone(), json!(id)),
            Value::I32(5) => {}
            kind => added.push(json!({"id": id, "content": text, "special": *kind == Value::I32(3)})),
        }
    }
    let Some(Value::Array(merges)) = get("merges") else { panic!("merges") };
    let pair = |merge: &Value| match merge {
        Value::String(text) => json!(text.split(' ').collect::<Vec<_>>()),
        other => panic!("{other:?} is no merge"),
    };
    let merges: Vec<Json> = merges.iter().map(pair).collect();
    let split = |rule: &str| json!({"type": "Split", "pattern": {"Regex": rule}, "behavior": "Isolated"});
    let mut rules: Vec<Json> = V3_RULES.into_iter().map(split).collect();
    rules.push(json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}));
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": rules},
        "post_processor": {"type": "ByteLevel", "trim_offsets": false},
        "model": {"type": "BPE", "byte_fallback": false, "vocab": vocab, "merges": merges},
    });
    let mut config = Map::new();
    for (key, name) in
        [("bos_token", "bos_token_id"), ("eos_token", "eos_token_id"), ("pad_token", "padding_token_id")]
    {
        if let Some(Value::U32(id)) = get(name)
            && let Value::String(text) = &tokens[*id as usize]
        {
            config.insert(key.to_owned(), json!({"content": text}));
        }
    }
    for key in ["add_bos_token", "add_eos_token"] {
        config.insert(key.to_owned(), json!(get(key) == Some(&Value::Bool(true))));
    }
    if let Some(Value::String(template)) = file.get("tokenizer.chat_template") {
        config.insert("chat_template".to_owned(), json!(template));
    }
    (tokenizer, config.into())
}
