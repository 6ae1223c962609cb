//! Reads calls out of an answer as it is written. What reads DSML stands in `dsml`.
//!
//! Text arrives in arbitrary parts, and a mark may be cut anywhere: what may still become a mark is held back, nothing else. In
//! every format the name of a call is passed on when it is complete and its arguments as they come, so that whoever waits for a long
//! argument sees it grow. A Hermes call that begins in another way than its format says is passed on whole if it is one after all. A block
//! that is none is passed on as text, as it stands: it is what the model said.

use serde_json::Value;

use super::dsml::{self, DsmlParser};
use super::{CALL_BEGIN, CALL_END, CALLS_BEGIN, CALLS_END, CallFormat, HERMES_CLOSE, HERMES_OPEN, SEP};
use crate::reasoning::tail_that_may_begin;

/// What V3 writes before the name, and around the arguments.
const V3_KIND: &str = "function";
const V3_OPEN: &str = "\n```json\n";
const V3_CLOSE: &str = "\n```";

/// Longest name of a call.
const NAME_BYTES_MAX: usize = 256;
/// Longest beginning of a call in Hermes' format.
const HEAD_BYTES_MAX: usize = 2 * NAME_BYTES_MAX;
/// Longest block in Hermes' format that is looked through.
const CALL_BYTES_MAX: usize = 1 << 20;

/// A part of an answer in which functions are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallPart {
    /// Text that is no call.
    Text(String),
    /// A call of the function of this name begins.
    Begin(String),
    /// More of its arguments.
    Arguments(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Outside of calls.
    Text,
    /// Between calls, or before the first.
    Calls,
    /// After the mark of a call, before its name is complete; what has been read since that mark.
    Name,
    /// Within the arguments.
    Arguments {
        /// Whether they stand in a fence.
        is_fenced: bool,
    },
    /// After the last call.
    Over,
    /// At the beginning of a call of Hermes, before its arguments.
    HermesHead,
    /// Within its arguments; what has been passed on of them.
    HermesArguments(String),
    /// Within a block of Hermes that does not begin as calls do.
    HermesBlock,
}

/// Follows one answer.
#[derive(Clone, Debug)]
pub struct CallParser(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Marked(MarkedParser),
    Dsml(DsmlParser),
}

impl CallParser {
    /// A parser at the start of an answer.
    #[must_use]
    pub fn new(format: CallFormat) -> Self {
        Self(match format {
            CallFormat::DeepseekV32 => Kind::Dsml(DsmlParser::new(&dsml::V32)),
            CallFormat::DeepseekV4(release) => Kind::Dsml(DsmlParser::new(dsml::v4(release))),
            CallFormat::DeepseekV3 | CallFormat::DeepseekV31 | CallFormat::Hermes => {
                Kind::Marked(MarkedParser { format, state: State::Text, held: String::new() })
            }
        })
    }

    /// Adds text; what is certain now, in order, without empty parts.
    pub fn push(&mut self, text: &str) -> Vec<CallPart> {
        match &mut self.0 {
            Kind::Marked(parser) => parser.push(text),
            Kind::Dsml(parser) => parser.push(text),
        }
    }

    /// Ends the answer; what was held back.
    pub fn finish(&mut self) -> Vec<CallPart> {
        match &mut self.0 {
            Kind::Marked(parser) => parser.finish(),
            Kind::Dsml(parser) => parser.finish(),
        }
    }
}

/// Follows an answer in a format whose calls stand between marks.
#[derive(Clone, Debug)]
struct MarkedParser {
    format: CallFormat,
    state: State,
    held: String,
}

impl MarkedParser {
    fn push(&mut self, text: &str) -> Vec<CallPart> {
        self.held.push_str(text);
        let mut out = Vec::new();
        while self.step(&mut out) {}
        out
    }

    fn finish(&mut self) -> Vec<CallPart> {
        let held = std::mem::take(&mut self.held);
        let mut out = Vec::new();
        match self.state {
            State::Text => emit(&mut out, CallPart::Text, &held),
            State::Arguments { .. } => emit(&mut out, CallPart::Arguments, &held),
            State::Name => emit(&mut out, CallPart::Text, &format!("{CALL_BEGIN}{held}")),
            State::HermesHead => match read_head(&held) {
                Head::Cut(Some(name)) => emit(&mut out, CallPart::Begin, &name),
                _ => emit(&mut out, CallPart::Text, &format!("{HERMES_OPEN}{held}")),
            },
            State::HermesArguments(ref written) => {
                let whole = without_brace(&held);
                let is_whole =
                    serde_json::from_str::<serde::de::IgnoredAny>(&format!("{written}{whole}")).is_ok();
                emit(&mut out, CallPart::Arguments, if is_whole { whole } else { &held });
            }
            State::HermesBlock => emit(&mut out, CallPart::Text, &format!("{HERMES_OPEN}{held}")),
            State::Calls | State::Over => {}
        }
        out
    }

    fn opening(&self) -> &'static str {
        if self.format == CallFormat::Hermes { HERMES_OPEN } else { CALLS_BEGIN }
    }

    /// Takes one decision; `false` if the text must wait for more.
    fn step(&mut self, out: &mut Vec<CallPart>) -> bool {
        match self.state {
            State::Text => self.in_text(out),
            State::Calls => self.between_calls(),
            State::Name => self.in_name(out),
            State::Arguments { is_fenced } => self.in_arguments(is_fenced, out),
            // Nothing that counts comes after the calls.
            State::Over => {
                self.held.clear();
                false
            }
            State::HermesHead => self.in_hermes_head(out),
            State::HermesArguments(_) => self.in_hermes_arguments(out),
            State::HermesBlock => self.in_hermes_block(out),
        }
    }

    fn in_text(&mut self, out: &mut Vec<CallPart>) -> bool {
        let opening = self.opening();
        if let Some((text, rest)) = self.held.split_once(opening) {
            // Models set calls off with empty lines, which belong to the format.
            emit(out, CallPart::Text, text.trim_end_matches('\n'));
            self.held = rest.to_owned();
            self.state = if self.format == CallFormat::Hermes { State::HermesHead } else { State::Calls };
            return true;
        }
        let certain = self.held.len() - tail_that_may_begin(&self.held, opening);
        let certain = self.held[..certain].trim_end_matches('\n').len();
        emit(out, CallPart::Text, &self.held[..certain]);
        self.held.drain(..certain);
        false
    }

    fn between_calls(&mut self) -> bool {
        let marks = [(CALL_BEGIN, State::Name), (CALLS_END, State::Over)];
        let found = marks.into_iter().filter_map(|(mark, state)| Some((self.held.find(mark)?, mark, state)));
        let next = found.min_by_key(|(at, ..)| *at).map(|(at, mark, state)| (at + mark.len(), state));
        match next {
            Some((end, state)) => {
                self.held.drain(..end);
                self.state = state;
                true
            }
            None => {
                // What stands between calls says nothing; only the beginning of a mark can matter.
                let keep = [CALL_BEGIN, CALLS_END].map(|mark| tail_that_may_begin(&self.held, mark));
                let drop = self.held.len() - keep[0].max(keep[1]);
                self.held.drain(..drop);
                false
            }
        }
    }

    fn in_name(&mut self, out: &mut Vec<CallPart>) -> bool {
        let Some((before, rest)) = split_within(&self.held, SEP, NAME_BYTES_MAX) else {
            return self.give_up_if_long(CALL_BEGIN, NAME_BYTES_MAX + SEP.len(), out);
        };
        let (name, arguments, is_fenced) = if self.format == CallFormat::DeepseekV3 && before == V3_KIND {
            // V3: the name stands after the mark, in front of the fence.
            match split_within(rest, V3_OPEN, NAME_BYTES_MAX) {
                Some((name, arguments)) => (name, arguments, true),
                None => {
                    let longest = before.len() + SEP.len() + NAME_BYTES_MAX + V3_OPEN.len();
                    return self.give_up_if_long(CALL_BEGIN, longest, out);
                }
            }
        } else {
            (before, rest, false)
        };
        if name.trim().is_empty() {
            return self.give_up_if_long(CALL_BEGIN, 0, out);
        }
        emit(out, CallPart::Begin, name.trim());
        self.held = arguments.to_owned();
        self.state = State::Arguments { is_fenced };
        true
    }

    /// What does not become a call within `longest` bytes is a text that begins with `mark`. Says whether it was given up.
    fn give_up_if_long(&mut self, mark: &str, longest: usize, out: &mut Vec<CallPart>) -> bool {
        if self.held.len() < longest {
            return false;
        }
        emit(out, CallPart::Text, mark);
        self.state = State::Text;
        true
    }

    fn in_arguments(&mut self, is_fenced: bool, out: &mut Vec<CallPart>) -> bool {
        if let Some((arguments, rest)) = self.held.split_once(CALL_END) {
            let arguments = if is_fenced {
                arguments.trim_end().strip_suffix(V3_CLOSE).unwrap_or(arguments)
            } else {
                arguments
            };
            emit(out, CallPart::Arguments, arguments);
            self.held = rest.to_owned();
            self.state = State::Calls;
            return true;
        }
        // The fence's end may come before the mark, which may have begun.
        let mut certain = self.held.len() - tail_that_may_begin(&self.held, CALL_END);
        if is_fenced {
            let inner = self.held[..certain].trim_end();
            certain =
                inner.strip_suffix("```").map_or(inner, str::trim_end).trim_end_matches('`').trim_end().len();
        }
        emit(out, CallPart::Arguments, &self.held[..certain]);
        self.held.drain(..certain);
        false
    }

    fn in_hermes_head(&mut self, out: &mut Vec<CallPart>) -> bool {
        match read_head(&self.held) {
            Head::Whole(name, end) if end <= HEAD_BYTES_MAX => {
                emit(out, CallPart::Begin, &name);
                self.held.drain(..end);
                self.state = State::HermesArguments(String::new());
            }
            Head::Cut(_) if self.held.len() <= HEAD_BYTES_MAX => return false,
            _ => self.state = State::HermesBlock,
        }
        true
    }

    fn in_hermes_arguments(&mut self, out: &mut Vec<CallPart>) -> bool {
        if let Some((inner, rest)) = self.held.split_once(HERMES_CLOSE) {
            emit(out, CallPart::Arguments, without_brace(inner));
            self.held = rest.to_owned();
            self.state = State::Text;
            return true;
        }
        // The last brace is that of the object around name and arguments, and may be followed by the mark.
        let certain = self.held.len() - tail_that_may_begin(&self.held, HERMES_CLOSE);
        let certain = without_brace(&self.held[..certain]).len();
        emit(out, CallPart::Arguments, &self.held[..certain]);
        if let State::HermesArguments(written) = &mut self.state {
            written.push_str(&self.held[..certain]);
        }
        self.held.drain(..certain);
        false
    }

    fn in_hermes_block(&mut self, out: &mut Vec<CallPart>) -> bool {
        let Some((inner, rest)) = split_within(&self.held, HERMES_CLOSE, CALL_BYTES_MAX) else {
            return self.give_up_if_long(HERMES_OPEN, CALL_BYTES_MAX + HERMES_CLOSE.len(), out);
        };
        match read_hermes(inner) {
            Some((name, arguments)) => {
                out.push(CallPart::Begin(name));
                emit(out, CallPart::Arguments, &arguments);
            }
            None => emit(out, CallPart::Text, &format!("{HERMES_OPEN}{inner}{HERMES_CLOSE}")),
        }
        self.held = rest.to_owned();
        self.state = State::Text;
        true
    }
}

/// What stands before the arguments of a call.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    /// The name, and where the arguments begin.
    Whole(String, usize),
    /// The text ends before that; the name, if it is complete.
    Cut(Option<String>),
    /// It is something else.
    None,
}

/// Reads `{"name": "…", "arguments": `, with any space between.
fn read_head(text: &str) -> Head {
    let mut rest = text;
    let mut name = None;
    for part in ["{", "\"name\"", ":", "", ",", "\"arguments\"", ":"] {
        rest = rest.trim_start();
        if part.is_empty() {
            // The name: a JSON text.
            let mut texts = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            match texts.next() {
                Some(Ok(found)) if !found.is_empty() => name = Some(found),
                Some(Err(error)) if error.is_eof() => return Head::Cut(None),
                None => return Head::Cut(None),
                _ => return Head::None,
            }
            rest = &rest[texts.byte_offset()..];
        } else if let Some(after) = rest.strip_prefix(part) {
            rest = after;
        } else if part.starts_with(rest) {
            return Head::Cut(name);
        } else {
            return Head::None;
        }
    }
    match (name, rest.trim_start()) {
        (Some(name), "") => Head::Cut(Some(name)),
        (Some(name), arguments) => Head::Whole(name, text.len() - arguments.len()),
        (None, _) => Head::None,
    }
}

/// `text` without its last brace and the space around it.
fn without_brace(text: &str) -> &str {
    let text = text.trim_end();
    text.strip_suffix('}').map_or(text, str::trim_end)
}

/// `text` around the first `mark`, if that begins within the first `longest` bytes.
fn split_within<'t>(text: &'t str, mark: &str, longest: usize) -> Option<(&'t str, &'t str)> {
    text.split_once(mark).filter(|(before, _)| before.len() <= longest)
}

/// Name and arguments of a call, the arguments in the letters in which they stand.
fn read_hermes(text: &str) -> Option<(String, String)> {
    #[derive(serde::Deserialize)]
    struct Call<'t> {
        name: String,
        #[serde(borrow)]
        arguments: &'t serde_json::value::RawValue,
    }
    if let Ok(Call { name, arguments }) = serde_json::from_str::<Call<'_>>(text.trim())
        && !name.is_empty()
    {
        return Some((name, arguments.get().to_owned()));
    }
    // Some leave the arguments out.
    let call: Value = serde_json::from_str(text.trim()).ok()?;
    let name = call.get("name")?.as_str().filter(|name| !name.is_empty())?;
    call.get("arguments").is_none().then(|| (name.to_owned(), "{}".to_owned()))
}

fn emit(out: &mut Vec<CallPart>, part: fn(String) -> CallPart, text: &str) {
    if !text.is_empty() {
        out.push(part(text.to_owned()));
    }
}
