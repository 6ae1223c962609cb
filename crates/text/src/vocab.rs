//! A vocabulary as files give it, and the checked form the tokenizer is built from.
//!
//! What is checked, and how strictly, follows what real files need:
//!
//! * Two tokens of one text are tolerated (padding is made that way); the first id wins.
//! * A merge must be two parts. One that names tokens the vocabulary lacks is dropped: it can never yield an id.
//! * Bytes of ordinary text must be expressible: tab, newlines, printable ASCII, and the bytes of characters below
//!   U+10000. Real vocabularies lack the rest here and there (SmolLM has no 0x04, no byte 0xf1); such a byte
//!   is left out of the ids, as the original tokenizers do.
//! * A token that ends a turn is a control token if it looks like one, whatever type the file gives it.

use std::collections::HashMap;

use shoal_base::TokenId;
use shoal_base::limits::VOCAB_COUNT_MAX;

use crate::byte_letters;
use crate::error::Error;

/// Most tokens that are not ordinary text (control, user-defined, unknown).
pub(crate) const SPECIAL_COUNT_MAX: usize = 1 << 16;
/// Most bytes in the texts of those tokens together.
const SPECIAL_BYTES_MAX: usize = 8 << 20;
/// Most merges.
const MERGE_COUNT_MAX: usize = VOCAB_COUNT_MAX;

/// Texts of tokens that end an answer in the models this engine meets, whatever a file says of them.
const TURN_ENDS: [&str; 8] = [
    "<｜end▁of▁sentence｜>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|EOT|>",
    "<|end|>",
];

/// A vocabulary, free of any file format. Ids are indexes into `tokens`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VocabSpec {
    /// Kind of tokenizer; `gpt2` (byte-level BPE) is the one there is.
    pub model: String,
    /// Name of the pre-tokenizer, as in GGUF's `tokenizer.ggml.pre`.
    pub pre: String,
    /// Text of every token, in byte letters where it is ordinary text.
    pub tokens: Vec<String>,
    /// Type of every token as GGUF numbers them: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte;
    /// 0 counts as normal. Empty: all are normal.
    pub token_types: Vec<i32>,
    /// Merges, best first, each two parts separated by a space.
    pub merges: Vec<String>,
    /// Token that opens a sequence.
    pub bos: Option<TokenId>,
    /// Token that ends a sequence.
    pub eos: Option<TokenId>,
    /// Token that ends a turn.
    pub eot: Option<TokenId>,
    /// Token that fills.
    pub pad: Option<TokenId>,
    /// Whether `bos` opens every plain sequence. `None`: as llama.cpp does for the pre-tokenizer's family.
    pub add_bos: Option<bool>,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Ordinary text, made by merges.
    Normal,
    /// Steers the model; never made from a user's text.
    Control,
    /// Added by the model's makers; made from text only under the rule in `added.rs`.
    UserDefined,
    /// A gap in the vocabulary.
    Unused,
}

/// Whether a token's text is markup rather than words: such text never becomes its token when a user writes it.
pub(crate) fn is_markup(text: &str) -> bool {
    text.contains(['<', '>', '|', '｜', '[', ']', '{', '}'])
}

/// A checked vocabulary.
pub(crate) struct Vocab {
    /// Text of every token.
    pub(crate) texts: Vec<String>,
    /// Kind of every token.
    pub(crate) kinds: Vec<TokenKind>,
    /// Merges whose parts and result are normal tokens, best first.
    pub(crate) merges: Vec<(String, String)>,
    /// Tokens that end an answer, in order of id.
    pub(crate) ends: Vec<TokenId>,
}

impl Vocab {
    /// Checks `spec` and takes its lists.
    pub(crate) fn new(spec: &mut VocabSpec) -> Result<Self, Error> {
        check_counts(spec)?;
        let mut kinds = kinds(spec)?;
        let ends = promote_ends(spec, &mut kinds);
        let specials = kinds.iter().zip(&spec.tokens).filter(|(kind, _)| is_special(**kind));
        let (count, bytes) =
            specials.fold((0, 0), |(count, bytes), (_, text)| (count + 1, bytes + text.len()));
        limit("special tokens", count, SPECIAL_COUNT_MAX)?;
        limit("bytes of special tokens", bytes, SPECIAL_BYTES_MAX)?;
        let texts = std::mem::take(&mut spec.tokens);
        let merges = {
            let normal: HashMap<&str, ()> = texts
                .iter()
                .zip(&kinds)
                .filter(|(_, kind)| !is_special(**kind))
                .map(|(t, _)| (t.as_str(), ()))
                .collect();
            check_bytes(&normal)?;
            usable_merges(&spec.merges, &normal)?
        };
        Ok(Self { texts, kinds, merges, ends })
    }
}

/// Whether a token stands outside ordinary text.
pub(crate) fn is_special(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Control | TokenKind::UserDefined)
}

fn limit(what: &'static str, found: usize, max: usize) -> Result<(), Error> {
    if found > max { Err(Error::TooMany { what, found, max }) } else { Ok(()) }
}

fn check_counts(spec: &VocabSpec) -> Result<(), Error> {
    if spec.model != "gpt2" {
        return Err(Error::Model { found: shorten(&spec.model) });
    }
    if spec.tokens.is_empty() {
        return Err(Error::NoTokens);
    }
    limit("tokens", spec.tokens.len(), VOCAB_COUNT_MAX)?;
    limit("merges", spec.merges.len(), MERGE_COUNT_MAX)?;
    if !spec.token_types.is_empty() && spec.token_types.len() != spec.tokens.len() {
        return Err(Error::TypeCount { tokens: spec.tokens.len(), types: spec.token_types.len() });
    }
    for (name, id) in [("bos", spec.bos), ("eos", spec.eos), ("eot", spec.eot), ("pad", spec.pad)] {
        if let Some(id) = id.filter(|id| id.idx() >= spec.tokens.len()) {
            return Err(Error::SpecialId { name, id, vocab_len: spec.tokens.len() });
        }
    }
    Ok(())
}

fn kinds(spec: &VocabSpec) -> Result<Vec<TokenKind>, Error> {
    if spec.token_types.is_empty() {
        return Ok(vec![TokenKind::Normal; spec.tokens.len()]);
    }
    let kind = |(idx, &found): (usize, &i32)| match found {
        0 | 1 | 6 => Ok(TokenKind::Normal),
        2 | 3 => Ok(TokenKind::Control),
        4 => Ok(TokenKind::UserDefined),
        5 => Ok(TokenKind::Unused),
        _ => Err(Error::TokenType { id: TokenId(idx as u32), found }),
    };
    spec.token_types.iter().enumerate().map(kind).collect()
}

/// Finds the tokens that end an answer, and makes control tokens of those (and of `bos`) that look like one.
fn promote_ends(spec: &VocabSpec, kinds: &mut [TokenKind]) -> Vec<TokenId> {
    let mut ends: Vec<TokenId> = [spec.eos, spec.eot].into_iter().flatten().collect();
    for (idx, text) in spec.tokens.iter().enumerate() {
        if is_special(kinds[idx]) && TURN_ENDS.contains(&text.as_str()) {
            ends.push(TokenId(idx as u32));
        }
    }
    ends.sort_unstable();
    ends.dedup();
    for id in ends.iter().copied().chain(spec.bos) {
        if is_markup(&spec.tokens[id.idx()]) {
            kinds[id.idx()] = TokenKind::Control;
        }
    }
    ends
}

/// Bytes without which ordinary text cannot be written.
fn is_needed(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..=0xBF | 0xC2..=0xEF)
}

fn check_bytes(normal: &HashMap<&str, ()>) -> Result<(), Error> {
    for byte in (0..=255).filter(|&byte| is_needed(byte)) {
        let letter = byte_letters::letter(byte);
        if !normal.contains_key(letter.encode_utf8(&mut [0; 4]) as &str) {
            return Err(Error::ByteMissing { byte, letter });
        }
    }
    Ok(())
}

fn usable_merges(merges: &[String], normal: &HashMap<&str, ()>) -> Result<Vec<(String, String)>, Error> {
    let mut seen = std::collections::HashSet::new();
    let mut usable = Vec::new();
    let mut whole = String::new();
    for (index, merge) in merges.iter().enumerate() {
        let parts = merge.split_once(' ').filter(|(a, b)| !a.is_empty() && !b.is_empty() && !b.contains(' '));
        let Some((a, b)) = parts else {
            return Err(Error::Merge { index, found: shorten(merge) });
        };
        whole.clear();
        whole.extend([a, b]);
        let known = [a, b, &whole].iter().all(|text| normal.contains_key(text));
        // The first of two equal merges is the better one, so it is the one that counts.
        if known && seen.insert((a, b)) {
            usable.push((a.to_owned(), b.to_owned()));
        }
    }
    Ok(usable)
}

/// At most 40 characters of `text`, for a message.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
