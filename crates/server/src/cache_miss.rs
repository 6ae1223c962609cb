//! Why a prompt had to be read although others came before it.
//!
//! ```text
//! earlier    [ prompt ............ | answer .... ]
//! this one   [ as before ....... ) [ different ............ )
//!                                ▲ shared: as far as both are the same
//! known      [ ............. )      cached: as far as rows were there
//! ```
//! The tokens of the last conversations are remembered, and of these the one that a prompt shares most with says why: what follows is *new*, or
//! it *differs* from some byte on, or the rows were not there any more: *forgotten*, or those of an *answer*, which some models
//! compute again. One's own conversations are compared with one's own alone, as the cache does (`salt`).

use std::collections::{HashSet, VecDeque};

use serde_json::{Value, json};
use shoal_base::TokenId;
use shoal_engine::kv_blocks::BLOCK_LEN;

/// Most conversations that are remembered, and most tokens of all of them together.
const CONVERSATIONS_MAX: usize = 64;
const TOKENS_MAX: usize = 1 << 20;

/// Memory that they take at most.
pub(crate) const MEMORY_MAX: usize = TOKENS_MAX * size_of::<TokenId>();

/// As many tokens at the beginning are no accident.
const TOGETHER: usize = 32;

/// Tokens that are compared as a whole where texts may say the same again, and how many times at most.
const STRETCH: usize = 4;
const STRETCHES_MAX: usize = 4096;

/// Bytes that are shown before and after the place where two prompts part.
const BEFORE: usize = 32;
const AFTER: usize = 64;

/// One prompt and what was answered.
#[derive(Debug)]
struct Conversation {
    salt: Vec<u8>,
    prompt_len: usize,
    tokens: Vec<TokenId>,
}

/// The last conversations, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Earlier(VecDeque<Conversation>);

/// Why tokens of a prompt were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Miss {
    why: Why,
    /// Tokens at the beginning that are as in the earlier conversation.
    shared: usize,
    /// Tokens that would have been known too, were it not for this.
    lost: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// Nothing that is remembered begins like it.
    First,
    /// It goes on where the earlier one ended.
    New,
    /// It differs from this byte on.
    Differs { byte: usize, before: String, earlier: String, now: String },
    /// It is as the earlier one, whose rows had to give way.
    Forgotten,
    /// It is as the earlier answer, whose rows are not those of a prompt.
    Answer,
}

impl Earlier {
    /// Why `prompt`, of which rows for `cached` tokens were there, was not known further; `None` if it was, or nobody knows.
    /// `token_bytes` says what a token stands for.
    pub(crate) fn miss<'a>(
        &self,
        salt: &[u8],
        prompt: &[TokenId],
        cached: usize,
        token_bytes: impl Fn(TokenId) -> &'a [u8],
    ) -> Option<Miss> {
        // The last token is always read: its logits are wanted.
        let wanted = prompt.len() - 1;
        if cached >= wanted {
            return None;
        }
        let own = self.0.iter().filter(|one| one.salt == salt);
        let nearest = own.map(|one| (shared_len(&one.tokens, prompt), one)).max_by_key(|(len, _)| *len);
        let Some((shared, earlier)) = nearest.filter(|(shared, one)| is_of_one(&one.tokens, prompt, *shared))
        else {
            // What is known from before this server began is not remembered here.
            return (cached < TOGETHER).then_some(Miss { why: Why::First, shared: 0, lost: 0 });
        };
        let there = shared.min(wanted);
        // A model may want to go on from the end of a block.
        if cached + BLOCK_LEN <= there {
            let is_answer = cached + BLOCK_LEN > earlier.prompt_len.min(there);
            let why = if is_answer { Why::Answer } else { Why::Forgotten };
            return Some(Miss { why, shared, lost: there - cached });
        }
        if cached > shared {
            return None;
        }
        if shared == earlier.tokens.len() || shared == prompt.len() {
            return Some(Miss { why: Why::New, shared, lost: 0 });
        }
        let lost = earlier.tokens.len().min(wanted) - there;
        Some(Miss { why: parting(&earlier.tokens, prompt, shared, token_bytes), shared, lost })
    }

    /// Remembers a conversation that has ended, in place of those that it goes on from.
    pub(crate) fn remember(&mut self, salt: Vec<u8>, prompt_len: usize, tokens: Vec<TokenId>) {
        if tokens.len() > TOKENS_MAX {
            return;
        }
        let is_beginning = |one: &Conversation| one.salt == salt && tokens.starts_with(&one.tokens);
        self.0.retain(|one| !is_beginning(one));
        self.0.push_back(Conversation { salt, prompt_len, tokens });
        let mut sum: usize = self.0.iter().map(|one| one.tokens.len()).sum();
        while sum > TOKENS_MAX || self.0.len() > CONVERSATIONS_MAX {
            sum -= self.0.pop_front().map_or(0, |one| one.tokens.len());
        }
    }
}

/// Whether two texts, of which the first `shared` tokens are the same, are of one conversation: all begin with the same few marks, but these go on
/// together for a while or, after what differs, say for the most part the same again.
fn is_of_one(earlier: &[TokenId], now: &[TokenId], shared: usize) -> bool {
    if shared == 0 || shared >= TOGETHER {
        return shared > 0;
    }
    let said: HashSet<&[TokenId]> = earlier[shared..].windows(STRETCH).take(STRETCHES_MAX).collect();
    let stretches = || now[shared..].windows(STRETCH).take(STRETCHES_MAX);
    let again = stretches().filter(|stretch| said.contains(stretch)).count();
    shared == earlier.len() || shared == now.len() || 2 * again > stretches().count()
}

fn shared_len(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Where two texts part whose first `shared` tokens are the same.
fn parting<'a>(
    earlier: &[TokenId],
    now: &[TokenId],
    shared: usize,
    token_bytes: impl Fn(TokenId) -> &'a [u8],
) -> Why {
    let bytes = |tokens: &[TokenId], most: usize| {
        let bytes = tokens.iter().flat_map(|&token| token_bytes(token));
        bytes.take(most).copied().collect::<Vec<u8>>()
    };
    // Other tokens may begin with the same bytes.
    let [mut a, mut b] = [earlier, now].map(|tokens| bytes(&tokens[shared..], BEFORE + AFTER));
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count().min(BEFORE);
    let byte = now[..shared].iter().map(|&token| token_bytes(token).len()).sum::<usize>() + same;
    let mut before = bytes(&now[shared.saturating_sub(BEFORE)..shared], usize::MAX);
    before.extend_from_slice(&b[..same]);
    let before = before.split_off(before.len().saturating_sub(BEFORE));
    let [a, b] = [&mut a, &mut b].map(|bytes| {
        bytes.drain(..same);
        bytes.truncate(AFTER);
        text(bytes)
    });
    Why::Differs { byte, before: text(&before), earlier: a, now: b }
}

/// Bytes as text; what was cut within a character is left out at the ends.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_matches(char::REPLACEMENT_CHARACTER).to_owned()
}

impl Miss {
    pub(crate) fn to_json(&self) -> Value {
        let Self { why, shared, lost } = self;
        let (reason, message) = match why {
            Why::First => ("first", "nothing that was asked lately begins like this".to_owned()),
            Why::New => {
                ("new", format!("all {shared} tokens of before were as they were; what follows is new"))
            }
            Why::Differs { byte, before, earlier, now } => {
                let message = format!(
                    "the prompt differs from byte {byte} on (token {shared}): after {before:?} there was {earlier:?} and now is {now:?}; \
                     were it as before, {lost} more tokens would have been known"
                );
                ("differs", message)
            }
            Why::Forgotten => {
                let message = format!(
                    "{lost} tokens had been read before but had to give way to other conversations: more memory, fewer conversations at a time \
                     or a shorter context would keep them, and --kv-dir keeps them on a drive"
                );
                ("forgotten", message)
            }
            Why::Answer => {
                let message = format!(
                    "{lost} tokens of an answer are read again, as this model computes what it says in another way than what it reads"
                );
                ("answer", message)
            }
        };
        let mut object =
            json!({ "reason": reason, "shared_tokens": shared, "lost_tokens": lost, "message": message });
        if let Why::Differs { byte, before, earlier, now } = why {
            object["byte"] = (*byte).into();
            object["before"] = before.as_str().into();
            object["earlier"] = earlier.as_str().into();
            object["now"] = now.as_str().into();
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789 .";

    /// A token for each letter.
    fn tokens(text: &str) -> Vec<TokenId> {
        let place = |byte| LETTERS.iter().position(|letter| *letter == byte).expect("a letter of ours");
        text.bytes().map(|byte| TokenId(place(byte) as u32)).collect()
    }

    fn letter(token: TokenId) -> &'static [u8] {
        &LETTERS[token.idx()..=token.idx()]
    }

    fn why(earlier: &Earlier, salt: &[u8], prompt: &str, cached: usize) -> Value {
        let miss = earlier.miss(salt, &tokens(prompt), cached, letter);
        miss.map_or(Value::Null, |miss| miss.to_json())
    }

    #[test]
    fn the_reason_is_what_the_nearest_conversation_says() {
        let mut earlier = Earlier::default();
        assert_eq!(why(&earlier, b"", "once", 0)["reason"], "first");
        let (system, question) = ("you are a fish. ".repeat(20), "it is noon. what is a shoal");
        let prompt = format!("{system}{question}");
        let answer = "x".repeat(2 * BLOCK_LEN);
        earlier.remember(Vec::new(), prompt.len(), tokens(&format!("{prompt}{answer}")));
        earlier.remember(Vec::new(), 4, tokens("some other talk"));

        let next = format!("{prompt}{answer} and then");
        assert_eq!(why(&earlier, b"", &next, prompt.len() + answer.len())["reason"], "new");
        let answered = why(&earlier, b"", &next, prompt.len());
        assert_eq!((&answered["reason"], &answered["lost_tokens"]), (&"answer".into(), &answer.len().into()));
        let forgotten = why(&earlier, b"", &next, 0);
        assert_eq!(forgotten["reason"], "forgotten");
        assert_eq!(forgotten["lost_tokens"], prompt.len() + answer.len());
        assert_eq!(
            why(&earlier, b"another", &next, 0)["reason"],
            "first",
            "others' conversations say nothing"
        );
        assert_eq!(why(&earlier, b"", &prompt, prompt.len() - 1), Value::Null, "all was known");
        assert_eq!(why(&earlier, b"", &"unheard of ".repeat(9), 50), Value::Null, "known from elsewhere");

        let letters = "you and me are two others.";
        assert_eq!(why(&earlier, b"", letters, 0)["reason"], "first", "a few letters are no conversation");
        let early = format!("you are the fish. {}", &prompt[16..]);
        assert_eq!(why(&earlier, b"", &early, 8)["reason"], "differs", "and then says the same again");

        let later = format!("{system}it is nine. what is a shoal");
        let differs = why(&earlier, b"", &later, system.len());
        assert_eq!(differs["reason"], "differs");
        assert_eq!(differs["byte"], system.len() + 7);
        assert_eq!(differs["before"], " a fish. you are a fish. it is n");
        assert_eq!(differs["earlier"].as_str().expect("text")[..8], *"oon. wha");
        assert_eq!(differs["now"], "ine. what is a shoal");
        assert_eq!(differs["lost_tokens"], later.len() - 1 - system.len() - 7);
        let longer = why(&earlier, b"", &format!("{later}{answer}{answer} and more"), system.len());
        assert_eq!(
            longer["lost_tokens"],
            prompt.len() + answer.len() - system.len() - 7,
            "as far as the earlier one went"
        );
    }

    #[test]
    fn bytes_part_within_tokens() {
        let words: [&[u8]; 5] = [b"one ", b"two", b"twelve", "鱼".as_bytes(), &"鱼".as_bytes()[..2]];
        let token_bytes = |token: TokenId| words[token.idx()];
        let mut earlier = Earlier::default();
        let together = vec![TokenId(0); TOGETHER];
        earlier.remember(Vec::new(), 2, [&*together, &[TokenId(1)]].concat());
        let now = [&*together, &[2, 3, 4].map(TokenId)].concat();
        let miss = earlier.miss(b"", &now, 32, token_bytes).expect("a miss").to_json();
        assert_eq!(
            (&miss["byte"], &miss["earlier"], &miss["now"]),
            (&130.into(), &"o".into(), &"elve鱼".into())
        );
        assert_eq!(miss["shared_tokens"], TOGETHER);
    }

    #[test]
    fn the_last_conversations_are_remembered_within_their_memory() {
        let mut earlier = Earlier::default();
        earlier.remember(Vec::new(), 1, vec![TokenId(0); TOKENS_MAX + 1]);
        assert_eq!(earlier.0.len(), 0, "too long");
        for len in 1..=3 {
            earlier.remember(Vec::new(), 1, vec![TokenId(0); len]);
        }
        assert_eq!((earlier.0.len(), earlier.0[0].tokens.len()), (1, 3), "a longer one takes the place");
        earlier.remember(b"another".to_vec(), 1, vec![TokenId(0); 2]);
        earlier.remember(Vec::new(), 1, vec![TokenId(0); 4]);
        assert_eq!(earlier.0.len(), 2, "but not of another's");
        for first in 1..200 {
            earlier.remember(
                Vec::new(),
                1,
                [vec![TokenId(first)], vec![TokenId(0); TOKENS_MAX / 10]].concat(),
            );
        }
        assert_eq!(earlier.0.len(), 9, "ten are too long together");
        for first in 200..400 {
            earlier.remember(Vec::new(), 1, vec![TokenId(first)]);
        }
        assert_eq!(earlier.0.len(), CONVERSATIONS_MAX);
    }
}
