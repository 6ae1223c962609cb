//! Ids to text, one token at a time, never splitting a character.
//!
//! A token may end in the middle of a character. What is certain is printed at once; an unfinished character waits for
//! its bytes. Bytes that can never become a character print U+FFFD, exactly as
//! `String::from_utf8_lossy` of the whole would have it, so a stream and a finished answer say the same.

use shoal_base::TokenId;

use crate::tokenizer::Tokenizer;

/// Turns a stream of ids into a stream of text. Control tokens print nothing, except the marks of reasoning.
#[derive(Clone, Debug)]
pub struct Detokenizer {
    tokenizer: Tokenizer,
    /// Start of a character whose end has not come; at most three bytes.
    pending: Vec<u8>,
    /// Control tokens that print their text all the same.
    shown: Vec<TokenId>,
    /// Tokens that are marks.
    marks: Vec<TokenId>,
    /// What keeps the text of any other token from being taken for one.
    guards: Guards,
}

/// The letters that marks begin with, and what stands behind each of them that is no mark's, where marks are told from their spelling:
/// characters of plane 16, which are for private use and mean nothing.
const GUARDS: [(char, char); 2] = [('<', '\u{10F5F0}'), ('｜', '\u{10F5F1}')];

/// Which of those letters are guarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guards {
    /// That of `<think>` and of most marks of calls.
    pub(crate) angle: bool,
    /// That of `｜DSML｜`.
    pub(crate) bar: bool,
}

impl Guards {
    fn chosen(self) -> impl Iterator<Item = (char, char)> {
        GUARDS.into_iter().zip([self.angle, self.bar]).filter(|(_, is_on)| *is_on).map(|(pair, _)| pair)
    }

    /// Whether a text looks different where it is no mark.
    pub(crate) fn change(self, text: &str) -> bool {
        self.chosen().any(|(letter, _)| text.contains(letter))
    }

    /// `text` as it looks where it is no mark.
    pub(crate) fn guarded(self, text: &str) -> String {
        let text = unguarded(text.to_owned());
        self.chosen().fold(text, |text, (letter, guard)| text.replace(letter, &format!("{letter}{guard}")))
    }

    /// `text` without what these guards have put in.
    pub(crate) fn removed(self, text: String) -> String {
        self.chosen()
            .fold(text, |text, (_, guard)| if text.contains(guard) { text.replace(guard, "") } else { text })
    }
}

/// `text` as the model wrote it.
pub(crate) fn unguarded(text: String) -> String {
    Guards { angle: true, bar: true }.removed(text)
}

impl Detokenizer {
    /// A detokenizer at the start of a text.
    #[must_use]
    pub fn new(tokenizer: &Tokenizer) -> Self {
        let (tokenizer, guards) = (tokenizer.clone(), Guards::default());
        Self { tokenizer, pending: Vec::new(), shown: Vec::new(), marks: Vec::new(), guards }
    }

    /// From now on the control tokens of these texts print them.
    pub(crate) fn show(&mut self, texts: &[&str]) {
        self.shown.extend(texts.iter().filter_map(|text| self.tokenizer.special(text)));
    }

    /// Adds a token; returns the text that is now certain, which may be empty.
    pub fn push(&mut self, id: TokenId) -> String {
        if !self.tokenizer.is_visible(id) && !self.shown.contains(&id) {
            return String::new();
        }
        self.pending.extend_from_slice(self.tokenizer.token_bytes(id));
        let text = take_certain(&mut self.pending);
        if self.guards == Guards::default() || self.marks.contains(&id) {
            text
        } else {
            self.guards.guarded(&text)
        }
    }

    /// Whether all of these marks are tokens.
    pub(crate) fn has_tokens(&self, marks: &[&str]) -> bool {
        marks.iter().all(|mark| self.tokenizer.special(mark).is_some())
    }

    /// From now on these marks are told from their spelling by other tokens, with `guards`. What is printed has to pass [`unguarded`] in
    /// the end.
    pub(crate) fn tell_marks(&mut self, marks: &[&str], guards: Guards) {
        self.marks = marks.iter().filter_map(|mark| self.tokenizer.special(mark)).collect();
        self.guards = guards;
    }

    /// Ends the text; an unfinished character prints U+FFFD.
    pub fn finish(&mut self) -> String {
        let rest = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        rest
    }
}

/// Takes everything off the front of `bytes` that no further byte can change.
fn take_certain(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut done = 0;
    loop {
        let err = match std::str::from_utf8(&bytes[done..]) {
            Ok(valid) => {
                text.push_str(valid);
                done = bytes.len();
                break;
            }
            Err(err) => err,
        };
        let valid = done + err.valid_up_to();
        text.push_str(&String::from_utf8_lossy(&bytes[done..valid]));
        done = valid;
        let Some(wrong) = err.error_len() else { break };
        text.push(char::REPLACEMENT_CHARACTER);
        done += wrong;
    }
    bytes.drain(..done);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Streams `bytes` in parts that end at `cuts`.
    fn stream(bytes: &[u8], cuts: &[usize]) -> String {
        let (mut text, mut pending, mut from) = (String::new(), Vec::new(), 0);
        for &cut in cuts.iter().chain([&bytes.len()]) {
            let to = cut.clamp(from, bytes.len());
            pending.extend_from_slice(&bytes[from..to]);
            text.push_str(&take_certain(&mut pending));
            assert!(pending.len() < 4, "held back {pending:?}");
            from = to;
        }
        text + &String::from_utf8_lossy(&pending)
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just("é".as_bytes().to_vec()),
            Just("人🙂a".as_bytes().to_vec()),
            prop::collection::vec(prop_oneof![0x80..=0xBFu8, 0xC0..=0xFFu8, 0x20..0x7Fu8], 1..4),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_cut_reads_as_the_whole(bytes in pieces(), mut cuts in prop::collection::vec(0..60usize, 0..8)) {
            cuts.sort_unstable();
            prop_assert_eq!(stream(&bytes, &cuts), String::from_utf8_lossy(&bytes).into_owned());
        }
    }

    #[test]
    fn what_is_certain_comes_at_once() {
        let mut pending = "aé".as_bytes()[..2].to_vec();
        assert_eq!(take_certain(&mut pending), "a");
        pending.push(0xA9);
        assert_eq!(take_certain(&mut pending), "é");
        pending.extend([0xE4, 0xBD, b'x']);
        assert_eq!(take_certain(&mut pending), "\u{FFFD}x");
    }
}
