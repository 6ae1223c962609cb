//! Reads DSML calls out of an answer as it is written.
//!
//! The parameters of a call become the fields of a JSON object, whose letters are passed on as they come: `{"KEY": ` when the
//! opening tag of a parameter is complete, then its value (a text in JSON's escapes, everything else as it stands), and `}` at the call's
//! end. Where the mark is plain text, one that stands within a text of a JSON value ends nothing.
//!
//! A call begins with its first parameter's tag or with its closing tag: until then it may still be a text that looks like
//! one, and a block that holds no call at all is a text, as it stands. Once there is a call, what stands between tags where nothing should stand is left
//! out, and a tag that is missing is taken as read.
//!
//! ```text
//! Text ──block opens──► Block ──call and its first parameter──► Value ──parameter ends──► Parameters ──call ends──► Block ──► Over
//!   ▲                     │                                       ▲                            │
//!   └────────no call──────┘                                       └────────next parameter──────┘
//! ```

use super::super::CallPart;
use super::{Dialect, MARK};
use crate::reasoning::tail_that_may_begin;

const INVOKE_OPEN: &str = "<｜DSML｜invoke name=\"";
const INVOKE_CLOSE: &str = "</｜DSML｜invoke>";
const PARAMETER_OPEN: &str = "<｜DSML｜parameter name=\"";
const PARAMETER_CLOSE: &str = "</｜DSML｜parameter>";
/// What ends the key of a parameter, and says whether its value is a text.
const KINDS: [(&str, bool); 2] = [("\" string=\"true\">", true), ("\" string=\"false\">", false)];
/// What ends the name of a function.
const NAME_END: &str = "\">";
/// Longest stretch of tags and space before a value: a name, a key, and what stands around them.
const HEAD_BYTES_MAX: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Outside of calls.
    Text,
    /// Before a call or the end of the block.
    Block {
        /// Whether a call stands before.
        has_calls: bool,
    },
    /// Between the parameters of a call.
    Parameters,
    /// Within a value.
    Value {
        /// Whether it is a text.
        is_text: bool,
        /// Within a text of a JSON value.
        quoted: Quoted,
    },
    /// After the block.
    Over,
}

/// Where a JSON value is, as far as its texts can hide the end of its parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quoted {
    /// There is nothing that hides it.
    Never,
    /// Outside of a text.
    No,
    /// Within one.
    Yes,
    /// Within one, after a backslash.
    Escaped,
}

impl Quoted {
    const fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::No, b'"') => Self::Yes,
            // A line break ends a text that should have been closed.
            (Self::Yes, b'"' | b'\n') => Self::No,
            (Self::Yes, b'\\') => Self::Escaped,
            (Self::Escaped, _) => Self::Yes,
            _ => self,
        }
    }
}

/// Follows one answer.
#[derive(Clone, Debug)]
pub(crate) struct DsmlParser {
    mark_is_token: bool,
    open: String,
    close: String,
    state: State,
    /// The empty line before a block that may be none.
    gap: String,
    held: String,
}

/// What stands where tags should stand.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    /// A call begins; its first parameter, if it has one; and where all that ends.
    Call(String, Option<Parameter>, usize),
    /// A parameter begins, and where its tag ends.
    Parameter(Parameter, usize),
    /// The call or the block closes here.
    Close(usize),
    /// More has to come; the name of the call, if that is complete.
    Cut(Option<String>),
    /// Something else.
    None,
}

#[derive(Debug, PartialEq, Eq)]
struct Parameter {
    key: String,
    is_text: bool,
}

impl DsmlParser {
    /// A parser at the start of an answer.
    pub(crate) fn new(dialect: &Dialect) -> Self {
        let tag = |slash: &str| format!("<{slash}｜DSML｜{}>", dialect.block);
        Self {
            mark_is_token: dialect.is_token,
            open: tag(""),
            close: tag("/"),
            state: State::Text,
            gap: String::new(),
            held: String::new(),
        }
    }

    /// Adds text; what is certain now.
    pub(crate) fn push(&mut self, text: &str) -> Vec<CallPart> {
        self.held.push_str(text);
        let mut out = Vec::new();
        while self.step(&mut out) {}
        out
    }

    /// Ends the answer; what was held back.
    pub(crate) fn finish(&mut self) -> Vec<CallPart> {
        let held = std::mem::take(&mut self.held);
        let mut out = Vec::new();
        match self.state {
            State::Text => emit(&mut out, CallPart::Text, &held),
            State::Block { has_calls } => match read_call(&held, &self.close) {
                Head::Cut(Some(name)) => out.push(CallPart::Begin(name)),
                _ if has_calls => {}
                _ => emit(&mut out, CallPart::Text, &format!("{}{}{held}", self.gap, self.open)),
            },
            State::Value { is_text, .. } => emit(&mut out, CallPart::Arguments, &value(&held, is_text)),
            State::Parameters | State::Over => {}
        }
        out
    }

    /// Takes one decision; `false` if the text must wait for more.
    fn step(&mut self, out: &mut Vec<CallPart>) -> bool {
        match self.state {
            State::Text => self.in_text(out),
            State::Block { has_calls } => self.in_block(has_calls, out),
            State::Parameters => self.in_parameters(out),
            State::Value { is_text, quoted } => self.in_value(is_text, quoted, out),
            // Nothing that counts comes after the calls.
            State::Over => {
                self.held.clear();
                false
            }
        }
    }

    fn in_text(&mut self, out: &mut Vec<CallPart>) -> bool {
        if let Some((text, rest)) = self.held.split_once(&self.open) {
            // The empty line before the block belongs to the format.
            let said = text.trim_end_matches('\n');
            emit(out, CallPart::Text, said);
            self.gap = text[said.len()..].to_owned();
            self.held = rest.to_owned();
            self.state = State::Block { has_calls: false };
            return true;
        }
        let certain = self.held.len() - tail_that_may_begin(&self.held, &self.open);
        let certain = self.held[..certain].trim_end_matches('\n').len();
        emit(out, CallPart::Text, &self.held[..certain]);
        self.held.drain(..certain);
        false
    }

    fn in_block(&mut self, has_calls: bool, out: &mut Vec<CallPart>) -> bool {
        match read_call(&self.held, &self.close) {
            Head::Call(name, first, end) if end <= HEAD_BYTES_MAX => {
                out.push(CallPart::Begin(name));
                match first {
                    Some(parameter) => self.begin(&parameter, "{", out),
                    None => {
                        emit(out, CallPart::Arguments, "{}");
                        self.state = State::Block { has_calls: true };
                    }
                }
                self.held.drain(..end);
                true
            }
            Head::Close(end) if has_calls => {
                self.held.drain(..end);
                self.state = State::Over;
                true
            }
            Head::Cut(_) if self.held.len() <= HEAD_BYTES_MAX => false,
            _ if has_calls => self.skip_to(&[INVOKE_OPEN, &self.close.clone()]),
            _ => {
                emit(out, CallPart::Text, &format!("{}{}", self.gap, self.open));
                self.state = State::Text;
                true
            }
        }
    }

    fn in_parameters(&mut self, out: &mut Vec<CallPart>) -> bool {
        let head = read_parameter(&self.held);
        let head_is_cut = matches!(head, Head::Cut(_));
        match head {
            Head::Parameter(parameter, end) if end <= HEAD_BYTES_MAX => {
                self.begin(&parameter, ", ", out);
                self.held.drain(..end);
                true
            }
            Head::Close(end) => {
                emit(out, CallPart::Arguments, "}");
                self.held.drain(..end);
                self.state = State::Block { has_calls: true };
                true
            }
            // The end of the call is missing.
            Head::None if self.held_begins(|tag, held| held.starts_with(tag)) => {
                emit(out, CallPart::Arguments, "}");
                self.state = State::Block { has_calls: true };
                true
            }
            Head::None | Head::Cut(_)
                if self.held.len() <= HEAD_BYTES_MAX
                    && (head_is_cut || self.held_begins(|tag, held| tag.starts_with(held))) =>
            {
                false
            }
            _ => self.skip_to(&[PARAMETER_OPEN, INVOKE_CLOSE, INVOKE_OPEN, &self.close.clone()]),
        }
    }

    fn in_value(&mut self, is_text: bool, mut quoted: Quoted, out: &mut Vec<CallPart>) -> bool {
        let (bytes, close) = (self.held.as_bytes(), PARAMETER_CLOSE.as_bytes());
        let mut at = 0;
        while at < bytes.len() {
            let may_end = matches!(quoted, Quoted::Never | Quoted::No);
            if may_end && (bytes[at..].starts_with(close) || close.starts_with(&bytes[at..])) {
                break;
            }
            quoted = quoted.after(bytes[at]);
            at += 1;
        }
        let has_ended = bytes[at..].starts_with(close);
        emit(out, CallPart::Arguments, &value(&self.held[..at], is_text));
        self.state = State::Value { is_text, quoted };
        if has_ended {
            emit(out, CallPart::Arguments, if is_text { "\"" } else { "" });
            at += close.len();
            self.state = State::Parameters;
        }
        self.held.drain(..at);
        has_ended
    }

    /// Whether the tag of another call, or the end of the block, stands to what is held as `is`.
    fn held_begins(&self, is: impl Fn(&str, &str) -> bool) -> bool {
        [INVOKE_OPEN, &self.close].iter().any(|tag| is(tag, self.held.trim_start()))
    }

    /// Begins a field of the arguments, behind `before`.
    fn begin(&mut self, parameter: &Parameter, before: &str, out: &mut Vec<CallPart>) {
        let Parameter { key, is_text } = parameter;
        let quote = if *is_text { "\"" } else { "" };
        emit(out, CallPart::Arguments, &format!("{before}\"{}\": {quote}", value(key, true)));
        let quoted = if *is_text || self.mark_is_token { Quoted::Never } else { Quoted::No };
        self.state = State::Value { is_text: *is_text, quoted };
    }

    /// Leaves out what stands before the next of `tags`; one at the very beginning was no use. Says whether one was found.
    fn skip_to(&mut self, tags: &[&str]) -> bool {
        let from = self.held.chars().next().map_or(0, char::len_utf8);
        let rest = &self.held[from..];
        let next = tags.iter().filter_map(|tag| rest.find(tag)).min();
        let maybe = tags.iter().map(|tag| tail_that_may_begin(rest, tag)).max();
        let skipped = next.unwrap_or(rest.len() - maybe.unwrap_or(0));
        self.held.drain(..from + skipped);
        next.is_some()
    }
}

/// Reads the tag of a call and of its first parameter, or the end of the block.
fn read_call(text: &str, close: &str) -> Head {
    let inner = text.trim_start();
    if let Some(rest) = inner.strip_prefix(close) {
        return Head::Close(text.len() - rest.len());
    }
    let Some(rest) = inner.strip_prefix(INVOKE_OPEN) else {
        let may_come = [INVOKE_OPEN, close].iter().any(|tag| tag.starts_with(inner));
        return if may_come { Head::Cut(None) } else { Head::None };
    };
    let line = first_line(rest);
    let Some((name, _)) = line.split_once(NAME_END) else {
        return if line.len() < rest.len() { Head::None } else { Head::Cut(None) };
    };
    if name.trim().is_empty() {
        return Head::None;
    }
    let rest = &rest[name.len() + NAME_END.len()..];
    let before = text.len() - rest.len();
    match read_parameter(rest) {
        Head::Parameter(parameter, end) => Head::Call(name.to_owned(), Some(parameter), before + end),
        Head::Close(end) => Head::Call(name.to_owned(), None, before + end),
        Head::Cut(_) => Head::Cut(Some(name.to_owned())),
        _ => Head::None,
    }
}

/// Reads the tag of a parameter, or the end of the call.
fn read_parameter(text: &str) -> Head {
    let inner = text.trim_start();
    if let Some(rest) = inner.strip_prefix(INVOKE_CLOSE) {
        return Head::Close(text.len() - rest.len());
    }
    let Some(rest) = inner.strip_prefix(PARAMETER_OPEN) else {
        let may_come = [PARAMETER_OPEN, INVOKE_CLOSE].iter().any(|tag| tag.starts_with(inner));
        return if may_come { Head::Cut(None) } else { Head::None };
    };
    let line = first_line(rest);
    let found = KINDS.iter().filter_map(|&(end, is_text)| Some((line.find(end)?, end, is_text))).min();
    let Some((at, end, is_text)) = found else {
        return if line.len() < rest.len() { Head::None } else { Head::Cut(None) };
    };
    let key = rest[..at].to_owned();
    let len = text.len() - rest.len() + at + end.len();
    Head::Parameter(Parameter { key, is_text }, len)
}

/// What of `text` can belong to the tag that it begins in: neither a line break nor the mark of another stands in one.
fn first_line(text: &str) -> &str {
    let end = [text.find('\n'), text.find(MARK)].into_iter().flatten().min();
    &text[..end.unwrap_or(text.len())]
}

/// A part of a value in the letters of JSON.
fn value(part: &str, is_text: bool) -> String {
    if !is_text {
        return part.to_owned();
    }
    let quoted = serde_json::Value::from(part).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn emit(out: &mut Vec<CallPart>, part: fn(String) -> CallPart, text: &str) {
    if !text.is_empty() {
        out.push(part(text.to_owned()));
    }
}
