//! Stand-ins for message texts in a template's run.
//!
//! A template must not see what users write: it could not be told afterwards from what the template wrote. So each
//! text goes in as a stand-in made of private-use characters, which no template has a reason to write, and the output
//! is cut at the stand-ins. Whitespace around a text goes in as it is, so a template that trims does trim; so does a
//! text of whitespace alone, so a template that asks whether there is text gets the right answer.
//!
//! Templates look for the marks of reasoning in what the assistant said, to cut old reasoning off. In those texts the
//! marks go in as they are, each behind a character of ours, and a mark that comes out behind that character is
//! the message's text, not the template's.

use crate::error::Error;
use crate::reasoning::{THINK_CLOSE, THINK_OPEN};

/// Opens and closes a stand-in, and the sixteen digits between. Plane 16 is for private use and stays unassigned.
const OPEN: char = '\u{10F500}';
const CLOSE: char = '\u{10F501}';
const DIGITS: u32 = 0x10_F510;
/// Stands before a mark of reasoning that is a message's.
const QUOTED: char = '\u{10F503}';

/// The texts of a conversation and their stand-ins.
#[derive(Default)]
pub(super) struct Texts<'t> {
    /// Texts without the whitespace around them, with the index of their message.
    cores: Vec<(&'t str, usize)>,
}

/// A stretch of a template's output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stretch<'o> {
    /// Written by the template.
    Template(&'o str),
    /// A message's text.
    Message(&'o str),
}

/// Whether a template could write stand-ins itself.
pub(super) fn occurs_in(template: &str) -> bool {
    template.contains(is_ours)
}

fn is_ours(c: char) -> bool {
    matches!(c, OPEN | CLOSE | QUOTED) || (DIGITS..DIGITS + 16).contains(&u32::from(c))
}

impl<'t> Texts<'t> {
    /// What the template gets for `text` of message `index`.
    pub(super) fn stand_in(&mut self, text: &'t str, index: usize) -> String {
        let core = text.trim();
        if core.is_empty() {
            return text.to_owned();
        }
        let start = text.len() - text.trim_start().len();
        let mut out = text[..start].to_owned();
        out.push(OPEN);
        out.extend(digits(self.cores.len()));
        out.push(CLOSE);
        out.push_str(&text[start + core.len()..]);
        self.cores.push((core, index));
        out
    }

    /// What the template gets for what the assistant said in message `index`.
    pub(super) fn said(&mut self, text: &'t str, index: usize) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((at, mark)) = first_mark(rest) {
            out.push_str(&self.stand_in(&rest[..at], index));
            out.push(QUOTED);
            out.push_str(mark);
            rest = &rest[at + mark.len()..];
        }
        out.push_str(&self.stand_in(rest, index));
        out
    }

    /// Cuts a template's output at the stand-ins.
    ///
    /// # Errors
    /// If a stand-in was taken apart, so that a text would be lost.
    pub(super) fn cut<'o>(&self, output: &'o str) -> Result<Vec<Stretch<'o>>, Error>
    where
        't: 'o,
    {
        let broken = |index| Error::TemplateCutsText { index };
        let mut stretches = Vec::new();
        let mut rest = output;
        while let Some(at) = rest.find(is_ours) {
            stretches.push(Stretch::Template(&rest[..at]));
            if let Some(quoted) = rest[at..].strip_prefix(QUOTED) {
                // The template may have taken the mark itself out.
                let mark = first_mark(quoted).filter(|(at, _)| *at == 0).map_or("", |(_, mark)| mark);
                stretches.push(Stretch::Message(mark));
                rest = &quoted[mark.len()..];
                continue;
            }
            let inner = rest[at..].strip_prefix(OPEN).ok_or_else(|| broken(self.cores.len()))?;
            let end = inner.find(CLOSE).ok_or_else(|| broken(self.cores.len()))?;
            let number = number(&inner[..end]).filter(|&number| number < self.cores.len());
            let (core, _) = self.cores[number.ok_or_else(|| broken(self.cores.len()))?];
            stretches.push(Stretch::Message(core));
            rest = &inner[end + CLOSE.len_utf8()..];
        }
        stretches.push(Stretch::Template(rest));
        stretches.retain(|stretch| !matches!(stretch, Stretch::Template("") | Stretch::Message("")));
        Ok(stretches)
    }
}

/// The first mark of reasoning in `text` and where it stands.
fn first_mark(text: &str) -> Option<(usize, &'static str)> {
    [THINK_OPEN, THINK_CLOSE].into_iter().filter_map(|mark| Some((text.find(mark)?, mark))).min()
}

/// `number` in sixteen digits' alphabet, most significant first, always as many digits.
fn digits(number: usize) -> impl Iterator<Item = char> {
    (0..8).rev().map(move |place| {
        let digit = (number >> (4 * place)) & 15;
        char::from_u32(DIGITS + digit as u32).expect("plane 16 has no surrogates")
    })
}

fn number(digits: &str) -> Option<usize> {
    let mut number = 0usize;
    let mut count = 0;
    for c in digits.chars() {
        let digit = u32::from(c).checked_sub(DIGITS).filter(|&digit| digit < 16)?;
        number = (number << 4) | digit as usize;
        count += 1;
        if count > 8 {
            return None;
        }
    }
    (count == 8).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_whole_and_space_stays_outside() {
        let mut texts = Texts::default();
        let first = texts.stand_in("  one\n", 0);
        let second = texts.stand_in("two", 1);
        assert_eq!(texts.stand_in(" \n", 2), " \n");
        assert!(first.starts_with("  ") && first.ends_with('\n') && !first.contains("one"));
        let output = format!("<a>{}<b>{second}{second}", first.trim());
        let expected = [
            Stretch::Template("<a>"),
            Stretch::Message("one"),
            Stretch::Template("<b>"),
            Stretch::Message("two"),
            Stretch::Message("two"),
        ];
        assert_eq!(texts.cut(&output).unwrap(), expected);
    }

    #[test]
    fn marks_of_reasoning_are_found_by_the_template_and_stay_the_messages() {
        let mut texts = Texts::default();
        let said = texts.said("<think>\nhm</think>\n\nyes", 0);
        let (_, answer) = said.rsplit_once("</think>").unwrap();
        assert!(answer.starts_with("\n\n"));
        let trimmed = format!("</think>{}", answer.trim());
        assert_eq!(texts.cut(&trimmed).unwrap(), [Stretch::Template("</think>"), Stretch::Message("yes")]);
        let (before, _) = said.rsplit_once("</think>").unwrap();
        let whole: Vec<_> = texts.cut(&said).unwrap();
        let message: String =
            whole.iter().map(|(Stretch::Template(text) | Stretch::Message(text))| *text).collect();
        assert_eq!(message, "<think>\nhm</think>\n\nyes");
        let own = |stretch: &&Stretch| matches!(stretch, Stretch::Template(text) if !text.trim().is_empty());
        assert_eq!(whole.iter().find(own), None);
        assert_eq!(texts.cut(before).unwrap().last(), Some(&Stretch::Message("hm")));
    }

    #[test]
    fn a_text_taken_apart_is_refused() {
        let mut texts = Texts::default();
        let whole = texts.stand_in("text", 0);
        let mut broken: Vec<String> =
            (1..whole.chars().count()).map(|len| whole.chars().take(len).collect()).collect();
        broken.extend((1..whole.chars().count()).map(|skip| whole.chars().skip(skip).collect()));
        broken.push(whole.chars().rev().collect());
        broken.push(whole.replace(char::from_u32(DIGITS).unwrap(), "x"));
        broken.push(format!("{OPEN}{}{CLOSE}", digits(1).collect::<String>()));
        for output in broken {
            assert!(matches!(texts.cut(&output), Err(Error::TemplateCutsText { .. })), "{output:?}");
        }
    }
}
