//! What a terminal adds: colour, and knowing that it is one.

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
