//! What a terminal adds: colour, knowing that it is one, and text that must not steer it.

use std::borrow::Cow;
use std::io::IsTerminal;

use crate::args::ColorChoice;
use crate::environment::Environment;

/// How text is dressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dress {
    colored: bool,
}

impl Dress {
    /// For output that goes to `stream`.
    pub(crate) fn new(choice: ColorChoice, environment: &Environment, stream: &impl IsTerminal) -> Self {
        let colored = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => stream.is_terminal() && !environment.no_color,
        };
        Self { colored }
    }

    /// No dress.
    #[cfg(test)]
    pub(crate) const fn none() -> Self {
        Self { colored: false }
    }

    /// As on a terminal.
    #[cfg(test)]
    pub(crate) const fn colored() -> Self {
        Self { colored: true }
    }

    /// Whether there are colours.
    pub(crate) const fn is_colored(self) -> bool {
        self.colored
    }

    /// What begins a token that is marked as unlikely, `mark` from 0 to 3, the last for the least likely. Underlined, since blanks have no
    /// colour.
    pub(crate) const fn unlikely(self, mark: usize) -> &'static str {
        match mark {
            _ if !self.colored => "",
            0 => "\x1b[4;36m",
            1 => "\x1b[4;33m",
            2 => "\x1b[4;35m",
            _ => "\x1b[4;31m",
        }
    }

    /// What begins text on what is well.
    pub(crate) const fn good(self) -> &'static str {
        if self.colored { "\x1b[32m" } else { "" }
    }

    /// What begins text on what will do.
    pub(crate) const fn middling(self) -> &'static str {
        if self.colored { "\x1b[33m" } else { "" }
    }

    /// What begins dim text.
    pub(crate) const fn dim(self) -> &'static str {
        if self.colored { "\x1b[2m" } else { "" }
    }

    /// What begins the prompt for input.
    pub(crate) const fn accent(self) -> &'static str {
        if self.colored { "\x1b[36m" } else { "" }
    }

    /// What ends either.
    pub(crate) const fn plain(self) -> &'static str {
        if self.colored { "\x1b[0m" } else { "" }
    }
}

/// Text without what would steer a terminal: neither a model's output nor a file is to be trusted with that.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(steers) { Cow::Owned(text.replace(steers, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The same on one line, for names and sentences.
pub(crate) fn one_line(text: &str) -> String {
    printable(text).replace(['\n', '\t'], " ")
}

/// An error and its causes as one sentence on one line. Many of our errors name their cause themselves; it is not
/// said again.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let said = error.chain().fold(String::new(), |said, cause| match cause.to_string() {
        cause if said.is_empty() => cause,
        cause if said.contains(&cause) => said,
        cause => format!("{said}: {cause}"),
    });
    one_line(&said)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let io = || std::io::Error::other("the disk is full");
        let twice = Err::<(), _>(io()).context("cannot write x: the disk is full").context("no model");
        assert_eq!(sentence(&twice.unwrap_err()), "no model: cannot write x: the disk is full");
        assert_eq!(
            sentence(&anyhow::Error::new(io()).context("cannot write x")),
            "cannot write x: the disk is full"
        );
    }

    #[test]
    fn a_model_cannot_steer_the_terminal() {
        assert_eq!(printable("plain\n\ttext"), "plain\n\ttext");
        assert_eq!(printable("\x1b[2Jgone"), "\u{fffd}[2Jgone");
        assert_eq!(one_line("a\r\nb\tc"), "a\u{fffd} b c");
    }
}
