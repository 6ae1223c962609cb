//! Which pre-tokenizer `tokenizer.json` describes, by the patterns that tell it from others.
//!
//! GGUF files have a name for it, and so has the tokenizer here: the rules themselves stand in `shoal-text`.

use serde::Deserialize;

use super::config::bad;
use crate::Error;

/// The rules that cut a text into words.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum Splitter {
    Sequence {
        pretokenizers: Vec<Splitter>,
    },
    Split {
        pattern: Pattern,
    },
    Digits {
        #[serde(default)]
        individual_digits: bool,
    },
    ByteLevel {
        #[serde(default = "yes")]
        use_regex: bool,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
pub(super) enum Pattern {
    Regex(String),
    String(serde::de::IgnoredAny),
}

const fn yes() -> bool {
    true
}

/// One rule after the other, as texts.
fn rules(splitter: &Splitter, found: &mut Vec<String>) {
    match splitter {
        Splitter::Sequence { pretokenizers } => pretokenizers.iter().for_each(|inner| rules(inner, found)),
        // Some files have the characters where others have their escapes.
        Splitter::Split { pattern: Pattern::Regex(regex) } => {
            found.push(regex.replace('\r', r"\r").replace('\n', r"\n"));
        }
        Splitter::Digits { individual_digits: true } => found.push("digit".to_owned()),
        Splitter::ByteLevel { use_regex: true } => found.push("gpt-2".to_owned()),
        Splitter::ByteLevel { use_regex: false } => {}
        Splitter::Split { pattern: Pattern::String(_) } | Splitter::Digits { .. } | Splitter::Other => {
            found.push("other".to_owned());
        }
    }
}

/// Qwen2's rule, and Llama 3's if digits go in threes.
fn contractions(digits: &str) -> String {
    format!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
}

/// The name of the splitter in `file`.
pub(super) fn known_splitter(file: &str, splitter: Option<&Splitter>) -> Result<&'static str, Error> {
    let mut found = Vec::new();
    splitter.into_iter().for_each(|splitter| rules(splitter, &mut found));
    let rules: Vec<&str> = found.iter().map(String::as_str).collect();
    Ok(match rules.as_slice() {
        [r"\p{N}{1,3}", cjk, _] if cjk.starts_with("[一-龥") => "deepseek-v3",
        [r"[\r\n]", letters, ..] if letters.starts_with(r"\s?[A-Za-z") => "deepseek-llm",
        [r"[\r\n]", r"\s?\p{L}+", ..] => "deepseek-coder",
        [rule] if *rule == contractions(r"\p{N}") => "qwen2",
        [rule] if *rule == contractions(r"\p{N}{1,3}") => "llama-bpe",
        ["digit", "gpt-2"] => "smollm",
        ["gpt-2"] => "gpt-2",
        _ => {
            let expected =
                "that of deepseek-v3, deepseek-llm, deepseek-coder, qwen2, llama-bpe, smollm or gpt-2";
            return Err(bad(file, "pre_tokenizer", expected, "another"));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn named(json: Value) -> Option<&'static str> {
        let splitter: Splitter = serde_json::from_value(json).expect("a splitter");
        known_splitter("t", Some(&splitter)).ok()
    }

    fn sequence(rules: &[Value]) -> Value {
        json!({"type": "Sequence", "pretokenizers": rules})
    }

    #[test]
    fn the_splitter_is_told_by_its_patterns() {
        let split =
            |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated"});
        let bytes = |use_regex: bool| json!({"type": "ByteLevel", "use_regex": use_regex});
        let digits = json!({"type": "Digits", "individual_digits": true});
        let lines = split(r"[\r\n]");
        let v3 = [split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split("..."), bytes(false)];
        let llm = [lines.clone(), split(r"\s?[A-Za-zµÀ-Ö]+"), split(r"\p{N}+"), bytes(false)];
        let coder = [lines, split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), digits.clone(), bytes(false)];
        let one = |digits: &str| [split(&contractions(digits)), bytes(false)];
        let escaped = [split(&contractions(r"\p{N}").replace(r"\r\n", "\r\n")), bytes(false)];
        assert_eq!(named(sequence(&v3)), Some("deepseek-v3"));
        assert_eq!(named(sequence(&llm)), Some("deepseek-llm"));
        assert_eq!(named(sequence(&coder)), Some("deepseek-coder"));
        assert_eq!(named(sequence(&one(r"\p{N}"))), Some("qwen2"));
        assert_eq!(named(sequence(&escaped)), Some("qwen2"));
        assert_eq!(named(sequence(&one(r"\p{N}{1,3}"))), Some("llama-bpe"));
        assert_eq!(named(sequence(&[digits, bytes(true)])), Some("smollm"));
        assert_eq!(named(bytes(true)), Some("gpt-2"));
        assert_eq!(named(json!({"type": "Metaspace"})), None);
        assert_eq!(named(sequence(&v3[..1])), None);
        assert!(known_splitter("t", None).is_err());
    }
}
