//! An answer token by token: how likely each was, and what else might have been said.
//!
//! A token may be a part of a character. In the running text such parts are shown as one, whose probability is the product of theirs; in the
//! list each stands alone, with its bytes.

use shoal_engine::{Logprob, Logprobs};
use shoal_text::{Detokenizer, Tokenizer};

use crate::terminal::{Dress, printable};

/// From which probability down a token is marked, as on the page, and how.
const MARKS: [f64; 4] = [0.9, 0.6, 0.3, 0.1];

/// Alternatives that are shown of a token.
pub(crate) const OTHERS: usize = 5;

/// The answer with its unlikely tokens marked: by colour, or by their probability in brackets where there is none.
pub(crate) fn marked(tokens: &[Logprobs], tokenizer: &Tokenizer, dress: Dress) -> String {
    let mut detokenizer = Detokenizer::new(tokenizer);
    let mut out = String::new();
    let mut probability = 1.0;
    for token in tokens {
        probability *= token.chosen.logprob.exp();
        let text = detokenizer.push(token.chosen.token);
        if !text.is_empty() {
            push_marked(&mut out, &text, probability, dress);
            probability = 1.0;
        }
    }
    let rest = detokenizer.finish();
    if !rest.is_empty() {
        push_marked(&mut out, &rest, probability, dress);
    }
    out
}

fn push_marked(out: &mut String, text: &str, probability: f64, dress: Dress) {
    let text = printable(text);
    match mark(probability) {
        None => out.push_str(&text),
        Some(mark) if dress.is_colored() => {
            out.push_str(dress.unlikely(mark));
            out.push_str(&text);
            out.push_str(dress.plain());
        }
        Some(_) => out.push_str(&format!("{text}({})", percent(probability))),
    }
}

/// What the colours say; nothing where there are none.
pub(crate) fn legend(dress: Dress) -> Option<String> {
    let mark = |(i, below): (usize, &f64)| {
        format!("{}below {}{}", dress.unlikely(i), percent(*below), dress.plain())
    };
    dress.is_colored().then(|| MARKS.iter().enumerate().map(mark).collect::<Vec<_>>().join("  "))
}

/// The worst mark that a token has earned.
fn mark(probability: f64) -> Option<usize> {
    MARKS.iter().rposition(|&below| probability < below)
}

/// A line for each token: its text, its probability, and the likeliest others.
pub(crate) fn list(tokens: &[Logprobs], tokenizer: &Tokenizer, dress: Dress) -> String {
    /// Most tokens are not wider.
    const WIDTH: usize = 14;
    let lines = tokens.iter().enumerate().map(|(i, Logprobs { chosen, top })| {
        let probability = chosen.logprob.exp();
        let start = mark(probability).map_or("", |mark| dress.unlikely(mark));
        let text = shown(chosen, tokenizer);
        let gap = " ".repeat(WIDTH.saturating_sub(text.chars().count()));
        let others = top.iter().filter(|other| other.token != chosen.token);
        let others: Vec<String> = others
            .map(|other| format!("{} {}", shown(other, tokenizer), percent(other.logprob.exp())))
            .collect();
        format!(
            "{:>4}  {start}{text}{}{gap} {:>5}   {}{}{}\n",
            i + 1,
            dress.plain(),
            percent(probability),
            dress.dim(),
            others.join("  "),
            dress.plain()
        )
    });
    lines.collect()
}

/// A token in quotes; bytes that are no text on their own in hexadecimal.
fn shown(token: &Logprob, tokenizer: &Tokenizer) -> String {
    let bytes = tokenizer.token_bytes(token.token);
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => {
            format!("<{}>", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "))
        }
    }
}

fn percent(probability: f64) -> String {
    let percent = 100.0 * probability;
    match percent {
        percent if percent >= 10.0 => format!("{percent:.0}%"),
        percent if percent >= 0.1 => format!("{percent:.1}%"),
        _ => "<0.1%".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use shoal_base::TokenId;
    use shoal_text::{VocabSpec, byte_vocabulary};

    use super::*;

    /// One token for each byte.
    pub(crate) fn tokenizer_of_bytes() -> Tokenizer {
        let (model, pre) = ("gpt2".to_owned(), "gpt-2".to_owned());
        let spec = VocabSpec { model, pre, tokens: byte_vocabulary(), ..VocabSpec::default() };
        Tokenizer::new(spec).expect("a vocabulary of bytes")
    }

    /// Tokens of these texts' bytes, each byte as likely as is said.
    fn tokens(tokenizer: &Tokenizer, of: &[(&str, f64)]) -> Vec<Logprobs> {
        let each = of.iter().flat_map(|&(text, probability)| {
            let logprob = move |token: TokenId| Logprob { token, logprob: probability.ln() };
            let ids = tokenizer.encode(text).into_iter();
            ids.map(move |id| Logprobs { chosen: logprob(id), top: vec![logprob(id), logprob(TokenId(65))] })
        });
        each.collect()
    }

    #[test]
    fn unlikely_tokens_are_marked_and_parts_of_a_character_are_one() {
        let tokenizer = tokenizer_of_bytes();
        let tokens = tokens(&tokenizer, &[("a", 0.95), ("b", 0.34), ("é", 0.5), ("c", 0.0001), ("d", 0.9)]);
        assert_eq!(marked(&tokens, &tokenizer, Dress::none()), "ab(34%)é(25%)c(<0.1%)d");
        let colored = marked(&tokens, &tokenizer, Dress::colored());
        let dress = Dress::colored();
        let (b, c, plain) = (dress.unlikely(1), dress.unlikely(3), dress.plain());
        assert!(colored.starts_with(&format!("a{b}b{plain}")), "{colored:?}");
        assert!(colored.ends_with(&format!("{c}c{plain}d")), "{colored:?}");
    }

    #[test]
    fn half_a_character_and_what_would_steer_the_terminal_are_shown_harmlessly() {
        let tokenizer = tokenizer_of_bytes();
        let mut tokens = tokens(&tokenizer, &[("\x1b", 0.5), ("é", 0.5)]);
        tokens.pop();
        let all = list(&tokens, &tokenizer, Dress::none());
        assert!(all.contains("\"\\u{1b}\"") && all.contains("<c3>"), "{all}");
        assert_eq!(all.lines().count(), 2, "{all}");
        let text = marked(&tokens, &tokenizer, Dress::none());
        assert_eq!(text, "\u{fffd}(50%)\u{fffd}(50%)");
    }

    #[test]
    fn the_list_has_the_others_and_not_the_token_itself() {
        let tokenizer = tokenizer_of_bytes();
        let line = list(&tokens(&tokenizer, &[("z", 0.25)]), &tokenizer, Dress::none());
        assert!(line.starts_with("   1  \"z\" ") && line.matches("25%").count() == 2, "{line}");
        assert_eq!(line.matches("\"z\"").count(), 1, "{line}");
        assert!(legend(Dress::none()).is_none());
    }

    #[test]
    fn marks_begin_below_their_probability() {
        assert_eq!(
            [1.0, 0.9, 0.89, 0.6, 0.59, 0.29, 0.09].map(mark).map(|m| m.map_or(0, |m| m + 1)),
            [0, 0, 1, 1, 2, 3, 4]
        );
    }
}
