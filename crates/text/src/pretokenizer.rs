//! Pre-tokenizers: the rules that split text into words before byte-level BPE merges within each word.
//!
//! A pre-tokenizer is a list of patterns applied one after another. Each pattern cuts every piece the earlier ones
//! left, at its matches; a match is a piece of its own, and so is text between matches. The order matters: deepseek-v3
//! takes digits out first, so letters beside digits are split before the rule for letters is asked.
//!
//! Names are GGUF's (`tokenizer.ggml.pre`); patterns are those of the models' `tokenizer.json`.

use std::sync::OnceLock;

use tokenizers::utils::SysRegex;

use crate::error::Error;

/// Latin, Greek, Cyrillic, Armenian, Georgian and Cherokee letters, as deepseek-llm lists them.
const DEEPSEEK_LLM_LETTERS: &str = concat!(
    r"\s?[",
    r"A-Za-z\u{b5}\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{1ba}\u{1bc}-\u{1bf}\u{1c4}-\u{293}\u{295}-\u{2af}",
    r"\u{370}-\u{373}\u{376}\u{377}\u{37b}-\u{37d}\u{37f}\u{386}\u{388}-\u{38a}\u{38c}\u{38e}-\u{3a1}",
    r"\u{3a3}-\u{3f5}\u{3f7}-\u{481}\u{48a}-\u{52f}\u{531}-\u{556}\u{10a0}-\u{10c5}\u{13a0}-\u{13f5}",
    r"\u{13f8}-\u{13fd}\u{1c90}-\u{1cba}\u{1cbd}-\u{1cbf}\u{1d00}-\u{1d2b}\u{1d6b}-\u{1d77}",
    r"\u{1d79}-\u{1d9a}\u{1e00}-\u{1f15}\u{1f18}-\u{1f1d}\u{1f20}-\u{1f45}\u{1f48}-\u{1f4d}",
    r"\u{1f50}-\u{1f57}\u{1f59}\u{1f5b}\u{1f5d}\u{1f5f}-\u{1f7d}\u{1f80}-\u{1fb4}\u{1fb6}-\u{1fbc}\u{1fbe}",
    r"\u{1fc2}-\u{1fc4}\u{1fc6}-\u{1fcc}\u{1fd0}-\u{1fd3}\u{1fd6}-\u{1fdb}\u{1fe0}-\u{1fec}",
    r"\u{1ff2}-\u{1ff4}\u{1ff6}-\u{1ffc}\u{2102}\u{2107}\u{210a}-\u{2113}\u{2115}\u{2119}-\u{211d}\u{2124}",
    r"\u{2126}\u{2128}\u{212a}-\u{212d}\u{212f}-\u{2134}\u{2139}\u{213c}-\u{213f}\u{2145}-\u{2149}\u{214e}",
    r"\u{2183}\u{2184}\u{2c00}-\u{2c7b}\u{2c7e}-\u{2ce4}\u{2ceb}-\u{2cee}\u{2cf2}\u{2cf3}\u{a640}-\u{a66d}",
    r"\u{a680}-\u{a69b}\u{a722}-\u{a76f}\u{a771}-\u{a787}\u{a78b}-\u{a78e}\u{ab70}-\u{abbf}",
    r"\u{fb00}-\u{fb06}\u{fb13}-\u{fb17}\u{ff21}-\u{ff3a}\u{ff41}-\u{ff5a}\u{10400}-\u{1044f}",
    r"\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}",
    r"\u{1e900}-\u{1e943}",
    r"]+",
);
/// ASCII, full-width, typographic and ideographic punctuation, as deepseek-llm lists them.
const DEEPSEEK_LLM_SIGNS: &str =
    r"\s?[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]+";
/// Han and Hangul, with everything between U+0800 and U+4E00.
const DEEPSEEK_CJK: &str = r"[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+";

const DEEPSEEK_LLM: &[&str] =
    &[r"[\r\n]", DEEPSEEK_LLM_LETTERS, DEEPSEEK_LLM_SIGNS, r"\s+$", DEEPSEEK_CJK, r"\p{N}+"];
const DEEPSEEK_CODER: &[&str] = &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK, r"\p{N}"];
const DEEPSEEK_V3: &[&str] = &[
    r"\p{N}{1,3}",
    r"[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+",
    concat!(
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##,
        r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
        r"| ?[\p{P}\p{S}]+[\r\n]*",
        r"|\s*[\r\n]+",
        r"|\s+(?!\S)",
        r"|\s+",
    ),
];
/// Digits one by one.
const QWEN2: &[&str] = &[concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)];
/// The same with digits in threes.
const LLAMA3: &[&str] = &[concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)];
const GPT2_WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const GPT2: &[&str] = &[GPT2_WORDS];
const SMOLLM: &[&str] = &[r"\p{N}", GPT2_WORDS];

/// A family of pre-tokenizers: its names, its patterns, and what llama.cpp takes for granted of it.
struct Family {
    names: &'static [&'static str],
    patterns: &'static [&'static str],
    /// Whether a word that is a token is that token, whatever the merges would make of it.
    ignore_merges: bool,
    /// Whether the beginning-of-sequence token is added where the file does not say.
    adds_bos: bool,
    /// The patterns compiled, once they have been asked for.
    compiled: OnceLock<Vec<SysRegex>>,
}

const fn family(names: &'static [&'static str], patterns: &'static [&'static str]) -> Family {
    Family { names, patterns, ignore_merges: false, adds_bos: false, compiled: OnceLock::new() }
}

static FAMILIES: [Family; 7] = [
    family(&["deepseek-llm"], DEEPSEEK_LLM),
    family(&["deepseek-coder"], DEEPSEEK_CODER),
    family(&["deepseek-v3", "joyai-llm"], DEEPSEEK_V3),
    family(&["qwen2", "deepseek-r1-qwen"], QWEN2),
    Family {
        names: &["llama-bpe", "llama3", "llama-v3"],
        patterns: LLAMA3,
        ignore_merges: true,
        adds_bos: true,
        compiled: OnceLock::new(),
    },
    family(&["smollm"], SMOLLM),
    family(&["gpt-2"], GPT2),
];

/// The names known, for a message.
fn known_names() -> String {
    FAMILIES.iter().flat_map(|family| family.names).copied().collect::<Vec<_>>().join(", ")
}

/// A pre-tokenizer that is ready for use.
pub(crate) struct PreTokenizer {
    family: &'static Family,
    patterns: &'static [SysRegex],
}

/// Bytes of a piece that a pattern sees at once. The regex engine gives up on a piece whose whitespace makes it step
/// back more than a million times, and would leave all the rest of the text unsplit; a piece this long cannot.
const PIECE_BYTES_MAX: usize = 1 << 19;

impl PreTokenizer {
    /// The pre-tokenizer called `name`.
    pub(crate) fn named(name: &str) -> Result<Self, Error> {
        let Some(family) = FAMILIES.iter().find(|family| family.names.contains(&name)) else {
            return Err(Error::PreTokenizer { found: crate::vocab::shorten(name), known: known_names() });
        };
        let compile = |pattern: &&str| SysRegex::new(pattern).expect("the patterns of this file compile");
        let patterns = family.compiled.get_or_init(|| family.patterns.iter().map(compile).collect());
        Ok(Self { family, patterns })
    }

    /// Whether a word that is a token is that token, whatever the merges would make of it.
    pub(crate) fn ignores_merges(&self) -> bool {
        self.family.ignore_merges
    }

    /// Whether the beginning-of-sequence token is added where the file does not say.
    pub(crate) fn adds_bos(&self) -> bool {
        self.family.adds_bos
    }

    /// The words of `text`, in order; together they are `text`. Words longer than half a megabyte are cut.
    pub(crate) fn words<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut pieces = chunks(text);
        for pattern in self.patterns {
            let mut cut = Vec::with_capacity(pieces.len());
            for piece in pieces {
                split(pattern, piece, &mut cut);
            }
            pieces = cut;
        }
        pieces
    }
}

/// `text` in parts of at most [`PIECE_BYTES_MAX`], cut between characters; almost always one part.
fn chunks(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > PIECE_BYTES_MAX {
        let (part, tail) = rest.split_at(chunk_end(rest));
        parts.push(part);
        rest = tail;
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts
}

/// Where to cut the first part off a long text: after the last newline in its second half that a letter or digit
/// follows, for no rule joins a newline to those; else at the last character that fits.
fn chunk_end(text: &str) -> usize {
    let fits = text.floor_char_boundary(PIECE_BYTES_MAX);
    let floor = text.floor_char_boundary(PIECE_BYTES_MAX / 2);
    let mut newlines = text[floor..fits].rmatch_indices('\n').map(|(at, _)| floor + at + 1);
    newlines.find(|&end| text[end..].starts_with(|c: char| c.is_ascii_alphanumeric())).unwrap_or(fits)
}

fn split<'t>(pattern: &SysRegex, piece: &'t str, out: &mut Vec<&'t str>) {
    let mut done = 0;
    for (start, end) in pattern.find_iter(piece) {
        if done < start {
            out.push(&piece[done..start]);
        }
        if start < end {
            out.push(&piece[start..end]);
        }
        done = end;
    }
    if done < piece.len() {
        out.push(&piece[done..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
        PreTokenizer::named(name).unwrap().words(text)
    }

    #[test]
    fn digits_split_as_each_family_does() {
        assert_eq!(words("deepseek-v3", "a12345b"), ["a", "123", "45", "b"]);
        assert_eq!(words("llama-bpe", "a12345b"), ["a", "123", "45", "b"]);
        assert_eq!(words("qwen2", "12345"), ["1", "2", "3", "4", "5"]);
        assert_eq!(words("deepseek-llm", "12345"), ["12345"]);
    }

    #[test]
    fn a_space_goes_with_the_word_it_precedes() {
        assert_eq!(words("deepseek-v3", "a  b"), ["a", " ", " b"]);
        assert_eq!(words("gpt-2", "it's  so"), ["it", "'s", " ", " so"]);
        assert_eq!(words("qwen2", "THEY'VE"), ["THEY", "'VE"]);
        assert_eq!(words("gpt-2", "THEY'VE"), ["THEY", "'", "VE"]);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let message = PreTokenizer::named("gemma").err().unwrap().to_string();
        assert!(message.contains("`gemma`") && message.contains("deepseek-v3, joyai-llm"), "{message}");
    }

    #[test]
    fn a_long_run_of_spaces_does_not_end_the_splitting() {
        for family in &FAMILIES {
            let text = format!("{}end of text", " ".repeat(3 << 20));
            let words = words(family.names[0], &text);
            assert!(words.ends_with(&[" of", " text"]), "{}: {:?}", family.names[0], words.len());
            assert_eq!(words.concat(), text);
        }
    }

    #[test]
    fn cutting_a_long_text_at_newlines_changes_no_word() {
        let line = "The quick brown fox jumps over 1234 lazy dogs.\n";
        let text = line.repeat((3 << 20) / line.len());
        for family in &FAMILIES {
            let one_line = words(family.names[0], line);
            assert_eq!(words(family.names[0], &text).len(), one_line.len() * (text.len() / line.len()));
        }
    }

    proptest! {
        #[test]
        fn words_are_the_text(text in "\\PC{0,40}|[ \\t\\r\\na1!é中]{0,60}") {
            for family in &FAMILIES {
                let words = words(family.names[0], &text);
                prop_assert_eq!(words.concat(), text.clone());
                prop_assert!(words.iter().all(|word| !word.is_empty()));
            }
        }
    }
}
