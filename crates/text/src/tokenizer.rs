//! The tokenizer: text to ids by byte-level BPE, ids to bytes.
//!
//! `encode` cuts text at user-defined words (`added.rs`), splits the rest into words (`pretokenizer.rs`), writes each
//! word in byte letters and lets BPE merge it. The BPE model knows ordinary tokens only, so no text, whatever it
//! spells, yields a control token. Control tokens come in through [`Piece::Special`] alone.

use std::collections::HashMap;
use std::sync::Arc;

use shoal_base::TokenId;
use tokenizers::Model;
use tokenizers::models::bpe;

use crate::added::{Stretch, TextSet};
use crate::byte_letters;
use crate::detokenize::Detokenizer;
use crate::error::Error;
use crate::pretokenizer::PreTokenizer;
use crate::reasoning::{THINK_CLOSE, THINK_OPEN};
use crate::vocab::{TokenKind, Vocab, VocabSpec, is_markup, is_special};

/// A part of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Plain text, of the user's or the renderer's. Never becomes a control token.
    Text(String),
    /// The text of one special token, which the vocabulary must have.
    Special(String),
}

/// Text to ids and back. Cheap to clone: clones share one vocabulary.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    /// Bytes of all tokens, one after another.
    bytes: Vec<u8>,
    /// Where each token's bytes end; they begin where the previous token's end.
    byte_ends: Vec<usize>,
    kinds: Vec<TokenKind>,
    /// Ids of control and user-defined tokens by text.
    specials: HashMap<Box<str>, TokenId>,
    /// User-defined tokens that plain text may hold.
    words: Option<TextSet>,
    pre: PreTokenizer,
    bpe: bpe::BPE,
    ends: Vec<TokenId>,
    bos: Option<TokenId>,
    eos: Option<TokenId>,
    adds_bos: bool,
}

impl Tokenizer {
    /// Builds the tokenizer of a vocabulary.
    ///
    /// # Errors
    /// If the vocabulary is of another kind, names unknown splitting rules, has ids out of range, malformed merges,
    /// or cannot express ordinary text.
    pub fn new(mut spec: VocabSpec) -> Result<Self, Error> {
        let pre = PreTokenizer::named(&spec.pre)?;
        let vocab = Vocab::new(&mut spec)?;
        let (bytes, byte_ends) = decode_all(&vocab);
        let mut specials = HashMap::new();
        for (idx, text) in of_kind(&vocab, is_special) {
            specials.entry(text.into()).or_insert(TokenId(idx as u32));
        }
        let reserved = [spec.bos, spec.eos, spec.eot, spec.pad];
        let is_word = |id: &TokenId| !reserved.contains(&Some(*id)) && vocab.ends.binary_search(id).is_err();
        let words = TextSet::new(
            of_kind(&vocab, |kind| kind == TokenKind::UserDefined)
                .filter(|(_, text)| !is_markup(text))
                .map(|(idx, text)| (text, TokenId(idx as u32)))
                .filter(|(_, id)| is_word(id)),
        )?;
        let bpe = build_bpe(&vocab, pre.ignores_merges())?;
        let adds_bos = spec.add_bos.unwrap_or(pre.adds_bos()) && spec.bos.is_some();
        let Vocab { kinds, ends, .. } = vocab;
        let (bos, eos) = (spec.bos, spec.eos);
        let inner = Inner { bytes, byte_ends, kinds, specials, words, pre, bpe, ends, bos, eos, adds_bos };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Number of tokens; every id this tokenizer makes is below it.
    #[must_use]
    pub fn vocab_len(&self) -> usize {
        self.inner.kinds.len()
    }

    /// Ids of plain text. Never a control token, whatever the text spells, and no beginning of sequence.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<TokenId> {
        let mut ids = Vec::new();
        match &self.inner.words {
            None => self.encode_words(text, &mut ids),
            Some(words) => words.cut(text, |stretch| match stretch {
                Stretch::Text(text) => self.encode_words(text, &mut ids),
                Stretch::Token(id) => ids.push(id),
            }),
        }
        ids
    }

    /// Ids of a prompt. Neighbouring texts are encoded as one text, as if the renderer had written them together.
    ///
    /// # Errors
    /// If a special token is not in the vocabulary.
    pub fn encode_pieces(&self, pieces: &[Piece]) -> Result<Vec<TokenId>, Error> {
        let mut ids = Vec::new();
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(more) => text.push_str(more),
                Piece::Special(special) => {
                    ids.append(&mut self.encode(&text));
                    text.clear();
                    let missing = || Error::SpecialMissing { text: crate::vocab::shorten(special) };
                    ids.push(self.special(special).ok_or_else(missing)?);
                }
            }
        }
        ids.append(&mut self.encode(&text));
        Ok(ids)
    }

    /// Id of the special token (control or user-defined) whose text is `text`.
    #[must_use]
    pub fn special(&self, text: &str) -> Option<TokenId> {
        self.inner.specials.get(text).copied()
    }

    /// Texts and ids of the special tokens that are markup, in no order.
    pub(crate) fn markup(&self) -> impl Iterator<Item = (&str, TokenId)> {
        let specials = self.inner.specials.iter().map(|(text, &id)| (&**text, id));
        specials.filter(|&(text, id)| self.is_control(id) || is_markup(text))
    }

    /// Text of the token that opens a sequence, if it is a special token.
    pub(crate) fn bos_text(&self) -> Option<&str> {
        self.special_text(self.bos()?)
    }

    /// Text of the token that ends a sequence, if it is a special token.
    pub(crate) fn eos_text(&self) -> Option<&str> {
        self.special_text(self.eos()?)
    }

    fn special_text(&self, id: TokenId) -> Option<&str> {
        let text = std::str::from_utf8(self.token_bytes(id)).ok()?;
        (self.special(text) == Some(id)).then_some(text)
    }

    /// Bytes of a token: what it adds to the text, or a special token's own text. Empty if there is no such token.
    #[must_use]
    pub fn token_bytes(&self, id: TokenId) -> &[u8] {
        let inner = &*self.inner;
        let Some(&end) = inner.byte_ends.get(id.idx()) else { return &[] };
        let start = id.idx().checked_sub(1).map_or(0, |before| inner.byte_ends[before]);
        &inner.bytes[start..end]
    }

    /// Whether a token steers the model rather than says something.
    #[must_use]
    pub fn is_control(&self, id: TokenId) -> bool {
        self.inner.kinds.get(id.idx()) == Some(&TokenKind::Control)
    }

    /// Whether no text ever becomes this token: it is a control token, markup, or a gap in the vocabulary.
    pub(crate) fn is_apart(&self, id: TokenId) -> bool {
        let text = std::str::from_utf8(self.token_bytes(id));
        match self.inner.kinds.get(id.idx()) {
            Some(TokenKind::Normal) => false,
            Some(TokenKind::UserDefined) => text.is_ok_and(is_markup),
            _ => true,
        }
    }

    /// Whether a reader sees a token: all but control tokens, and the marks of reasoning whatever their type.
    #[must_use]
    pub fn is_visible(&self, id: TokenId) -> bool {
        !self.is_control(id)
            || [THINK_OPEN, THINK_CLOSE].iter().any(|mark| mark.as_bytes() == self.token_bytes(id))
    }

    /// Whether a token ends an answer: the file's `eos` and `eot`, and the well-known ends of a turn.
    #[must_use]
    pub fn is_end(&self, id: TokenId) -> bool {
        self.inner.ends.binary_search(&id).is_ok()
    }

    /// The token that opens a sequence.
    #[must_use]
    pub fn bos(&self) -> Option<TokenId> {
        self.inner.bos
    }

    /// The token that ends a sequence.
    #[must_use]
    pub fn eos(&self) -> Option<TokenId> {
        self.inner.eos
    }

    /// Whether [`bos`](Self::bos) opens a plain sequence. A rendered [`Prompt`](crate::Prompt) holds its own.
    #[must_use]
    pub fn adds_bos(&self) -> bool {
        self.inner.adds_bos
    }

    /// What a reader sees of `ids`; bytes that are no UTF-8 become U+FFFD.
    #[must_use]
    pub fn decode(&self, ids: &[TokenId]) -> String {
        let mut detokenizer = Detokenizer::new(self);
        let mut text: String = ids.iter().map(|&id| detokenizer.push(id)).collect();
        text.push_str(&detokenizer.finish());
        text
    }

    /// Encodes text that holds no added token. A word seen before in this text is copied, not merged again.
    fn encode_words(&self, text: &str, ids: &mut Vec<TokenId>) {
        let mut seen: HashMap<&str, (usize, usize)> = HashMap::new();
        let mut letters = String::new();
        for word in self.inner.pre.words(text) {
            let start = ids.len();
            if let Some(&(from, to)) = seen.get(word) {
                ids.extend_from_within(from..to);
                continue;
            }
            letters.clear();
            byte_letters::push_letters(word, &mut letters);
            let tokens =
                self.inner.bpe.tokenize(&letters).expect("a BPE without an unknown token cannot fail");
            ids.extend(tokens.iter().map(|token| TokenId(token.id)));
            seen.insert(word, (start, ids.len()));
        }
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({} tokens)", self.vocab_len())
    }
}

fn of_kind(vocab: &Vocab, wanted: impl Fn(TokenKind) -> bool) -> impl Iterator<Item = (usize, &str)> {
    let tokens = vocab.texts.iter().zip(&vocab.kinds).enumerate();
    tokens.filter(move |(_, (_, kind))| wanted(**kind)).map(|(idx, (text, _))| (idx, text.as_str()))
}

fn decode_all(vocab: &Vocab) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    let mut ends = Vec::with_capacity(vocab.texts.len());
    for (text, kind) in vocab.texts.iter().zip(&vocab.kinds) {
        match kind {
            TokenKind::Normal => byte_letters::push_bytes(text, &mut bytes),
            TokenKind::Control | TokenKind::UserDefined | TokenKind::Unused => {
                bytes.extend_from_slice(text.as_bytes())
            }
        }
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn build_bpe(vocab: &Vocab, ignore_merges: bool) -> Result<bpe::BPE, Error> {
    let mut ids = bpe::Vocab::new();
    for (idx, text) in of_kind(vocab, |kind| !is_special(kind)) {
        ids.entry(text.to_owned()).or_insert(idx as u32);
    }
    bpe::BpeBuilder::new()
        .vocab_and_merges(ids, vocab.merges.clone())
        // The engine's own cache lives as long as the thread; `encode_words` keeps one for as long as the call.
        .cache_capacity(0)
        .ignore_merges(ignore_merges)
        .build()
        .map_err(|err| Error::Bpe { reason: err.to_string() })
}
