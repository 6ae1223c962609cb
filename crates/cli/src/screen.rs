//! An answer on the screen, as it is written.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::time::Instant;

use shoal_text::Segment;

use crate::terminal::{Dress, printable};

/// Shows an answer as it comes: reasoning dim or folded into one line, then the answer.
pub(crate) struct Screen {
    dress: Dress,
    fold: bool,
    terminal: bool,
    reasoning_since: Option<Instant>,
    reasoning_pieces: usize,
    /// The answer so far ends with a line break.
    line_ended: bool,
}

impl Screen {
    pub(crate) fn new(dress: Dress, fold: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { dress, fold, terminal, reasoning_since: None, reasoning_pieces: 0, line_ended: false }
    }

    pub(crate) fn show(&mut self, segment: &Segment) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        match segment {
            Segment::Reasoning(text) => {
                let first = self.reasoning_since.is_none();
                self.reasoning_since.get_or_insert_with(Instant::now);
                self.reasoning_pieces += 1;
                if !self.fold {
                    if first {
                        write!(out, "{}", self.dress.dim())?;
                    }
                    write!(out, "{}", self.text(text))?;
                } else if self.terminal {
                    write!(
                        out,
                        "\r{}thinking … {}{}",
                        self.dress.dim(),
                        self.reasoning_pieces,
                        self.dress.plain()
                    )?;
                }
            }
            Segment::Answer(text) => {
                self.end_reasoning(&mut out)?;
                self.line_ended = text.ends_with('\n');
                write!(out, "{}", self.text(text))?;
            }
            // Calls are told apart only where functions are offered.
            Segment::CallBegin(_) | Segment::CallArguments(_) => {}
        }
        out.flush()
    }

    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.terminal { printable(text) } else { Cow::Borrowed(text) }
    }

    fn end_reasoning(&mut self, out: &mut impl Write) -> std::io::Result<()> {
        let Some(since) = self.reasoning_since.take() else { return Ok(()) };
        if !self.fold {
            return write!(out, "{}\n\n", self.dress.plain());
        }
        let line = format!("thought for {:.1} s", since.elapsed().as_secs_f32());
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        writeln!(out, "{start}{}{line}{}", self.dress.dim(), self.dress.plain())
    }

    /// Ends the answer with a line break: in a pipe always one more, so that the text before it is the answer as it
    /// is.
    pub(crate) fn end(&mut self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        self.end_reasoning(&mut out)?;
        if !(self.terminal && self.line_ended) {
            writeln!(out)?;
        }
        out.flush()
    }
}
