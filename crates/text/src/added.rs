//! User-defined tokens in plain text, and the rule that keeps markup out of users' hands.
//!
//! The original tokenizers find added tokens in any text. For words and letters that is right: deepseek-llm has `ü`
//! as an added token and expects "Führer" with it. For markup it is the door to prompt injection: `<think>` or
//! `<｜User｜>` are user-defined tokens in many files.
//!
//! **Rule.** A token is matched in plain text only if it is user-defined (type 4), is neither `bos`, `eos`, `eot` nor
//! `pad`, ends no turn, and its text holds none of `< > | ｜ [ ] { }`. Everything else is reached through
//! [`Piece::Special`](crate::Piece::Special) alone.

use aho_corasick::{AhoCorasick, MatchKind};
use shoal_base::TokenId;

use crate::error::Error;

/// Finds the first and longest of a set of texts.
#[derive(Clone)]
pub(crate) struct TextSet {
    matcher: AhoCorasick,
    ids: Vec<TokenId>,
}

/// A stretch of text: ordinary, or one of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stretch<'t> {
    /// Text between the tokens of the set, never empty.
    Text(&'t str),
    /// A token of the set.
    Token(TokenId),
}

impl TextSet {
    /// A set of token texts; `None` if there are none.
    pub(crate) fn new<'t>(tokens: impl Iterator<Item = (&'t str, TokenId)>) -> Result<Option<Self>, Error> {
        let (texts, ids): (Vec<_>, Vec<_>) = tokens.filter(|(text, _)| !text.is_empty()).unzip();
        if texts.is_empty() {
            return Ok(None);
        }
        let matcher = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(texts)
            .map_err(|err| Error::Bpe { reason: err.to_string() })?;
        Ok(Some(Self { matcher, ids }))
    }

    /// Cuts `text` at the tokens of the set and hands the stretches to `visit`, in order.
    pub(crate) fn cut<'t>(&self, text: &'t str, mut visit: impl FnMut(Stretch<'t>)) {
        let mut done = 0;
        for found in self.matcher.find_iter(text) {
            if done < found.start() {
                visit(Stretch::Text(&text[done..found.start()]));
            }
            visit(Stretch::Token(self.ids[found.pattern().as_usize()]));
            done = found.end();
        }
        if done < text.len() {
            visit(Stretch::Text(&text[done..]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_of_the_first_wins_and_nothing_is_lost() {
        let set = TextSet::new([("ab", TokenId(1)), ("abc", TokenId(2)), ("ü", TokenId(3))].into_iter())
            .unwrap()
            .unwrap();
        let mut seen = Vec::new();
        set.cut("xabcübab", |stretch| seen.push(stretch));
        let token = |id| Stretch::Token(TokenId(id));
        assert_eq!(seen, [Stretch::Text("x"), token(2), token(3), Stretch::Text("b"), token(1)]);
    }

    #[test]
    fn no_texts_make_no_set() {
        assert!(TextSet::new([("", TokenId(0))].into_iter()).unwrap().is_none());
    }
}
