//! Builds the pieces of a prompt; neighbouring texts become one piece, for the tokenizer is to see them as one text.

use super::Prompt;
use crate::tokenizer::Piece;

/// Pieces under construction.
pub(crate) struct Pieces(Vec<Piece>);

impl Pieces {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends plain text.
    pub(crate) fn text(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.0.push(Piece::Text(text.to_owned())),
        }
    }

    /// Appends a special token.
    pub(crate) fn special(&mut self, text: &str) {
        self.0.push(Piece::Special(text.to_owned()));
    }

    /// Appends a text of the format's own, in which `marks` are special tokens.
    pub(crate) fn marked(&mut self, text: &'static str, marks: &[&str]) {
        let mut rest = text;
        while let Some((at, mark)) =
            marks.iter().filter_map(|&mark| Some((rest.find(mark)?, mark))).min_by_key(|&(at, _)| at)
        {
            self.text(&rest[..at]);
            self.special(mark);
            rest = &rest[at + mark.len()..];
        }
        self.text(rest);
    }

    /// The finished prompt.
    pub(super) fn prompt(self, reasoning_open: bool) -> Prompt {
        Prompt { pieces: self.0, reasoning_open }
    }
}
