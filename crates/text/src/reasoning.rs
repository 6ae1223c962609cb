//! Splits an answer into what the model thought and what it says.
//!
//! Reasoning models open with `<think>`, close with `</think>` and then answer. The opening mark is often part of the
//! prompt, so the first token is already reasoning. Text arrives in arbitrary parts, and a mark may be cut anywhere:
//! the splitter holds back what may still become a mark and nothing else.
//!
//! Rules, the same for every way the text is cut:
//!
//! * `<think>` opens reasoning only at the start of the answer, after whitespace at most. Where reasoning is open from
//!   the start, a repeated `<think>` there is dropped. Anywhere else it is plain text.
//! * `</think>` ends reasoning; in the answer it is plain text.
//! * Line breaks right after either mark are dropped: models write them as part of the format.
//! * Reasoning that is never closed stays reasoning.

/// The mark that opens reasoning.
pub const THINK_OPEN: &str = "<think>";
/// The mark that closes reasoning.
pub const THINK_CLOSE: &str = "</think>";
const LINE_BREAKS: [char; 2] = ['\r', '\n'];
/// Most whitespace before an opening mark; more is an answer that begins with much space.
const LEADING_SPACE_BYTES_MAX: usize = 256;

/// A stretch of output. Neighbouring segments of one kind belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// What the model thought.
    Reasoning(String),
    /// What the model says.
    Answer(String),
    /// A call of the function of this name begins.
    CallBegin(String),
    /// More of the arguments of that call, as JSON.
    CallArguments(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but whitespace so far; a `<think>` may come.
    Start,
    /// Right after an opening mark: line breaks are dropped.
    Opened,
    /// Within reasoning.
    Reasoning,
    /// Right after a closing mark: line breaks are dropped.
    Closed,
    /// Within the answer, to the end.
    Answer,
}

/// Splits one answer as it arrives.
#[derive(Clone, Debug)]
pub struct ReasoningSplitter {
    state: State,
    open_at_start: bool,
    /// Text that is not decided yet: whitespace at the start, or the beginning of a mark.
    held: String,
}

impl ReasoningSplitter {
    /// A splitter for an answer; `open_at_start` if the prompt has already opened reasoning.
    #[must_use]
    pub fn new(open_at_start: bool) -> Self {
        Self { state: State::Start, open_at_start, held: String::new() }
    }

    /// Adds text; returns what is now certain, in order, without empty segments.
    pub fn push(&mut self, text: &str) -> Vec<Segment> {
        let mut out = Vec::new();
        if self.state == State::Answer {
            emit(&mut out, Segment::Answer, text);
            return out;
        }
        let mut held = std::mem::take(&mut self.held);
        held.push_str(text);
        let mut rest = held.as_str();
        while let Some(after) = self.step(rest, &mut out) {
            rest = after;
        }
        self.held = rest.to_owned();
        out
    }

    /// Ends the answer; what was held back is what it looked like, plain text.
    pub fn finish(&mut self) -> Vec<Segment> {
        let held = std::mem::take(&mut self.held);
        let mut out = Vec::new();
        match self.state {
            State::Start if self.open_at_start => {
                emit(&mut out, Segment::Reasoning, held.trim_start_matches(LINE_BREAKS));
            }
            State::Opened | State::Reasoning => emit(&mut out, Segment::Reasoning, &held),
            State::Start | State::Closed | State::Answer => emit(&mut out, Segment::Answer, &held),
        }
        out
    }

    /// Takes one decision on `text`; returns what follows it, or `None` if `text` must wait for more.
    fn step<'t>(&mut self, text: &'t str, out: &mut Vec<Segment>) -> Option<&'t str> {
        match self.state {
            State::Start => {
                let inner = text.trim_start();
                if text.len() - inner.len() <= LEADING_SPACE_BYTES_MAX {
                    if let Some(after) = inner.strip_prefix(THINK_OPEN) {
                        self.state = State::Opened;
                        return Some(after);
                    }
                    if THINK_OPEN.starts_with(inner) {
                        return None;
                    }
                }
                self.state = if self.open_at_start { State::Opened } else { State::Answer };
                Some(text)
            }
            State::Opened | State::Closed => {
                let inner = text.trim_start_matches(LINE_BREAKS);
                if inner.is_empty() {
                    return (!text.is_empty()).then_some(inner);
                }
                self.state = if self.state == State::Opened { State::Reasoning } else { State::Answer };
                Some(inner)
            }
            State::Reasoning => {
                if let Some((thought, after)) = text.split_once(THINK_CLOSE) {
                    emit(out, Segment::Reasoning, thought);
                    self.state = State::Closed;
                    return Some(after);
                }
                let (certain, maybe) = text.split_at(text.len() - tail_that_may_begin(text, THINK_CLOSE));
                emit(out, Segment::Reasoning, certain);
                (!certain.is_empty()).then_some(maybe)
            }
            State::Answer => {
                emit(out, Segment::Answer, text);
                (!text.is_empty()).then_some("")
            }
        }
    }
}

/// Length of the longest end of `text` that is a beginning of `mark`, but not all of it.
pub(crate) fn tail_that_may_begin(text: &str, mark: &str) -> usize {
    let longest = mark.len().saturating_sub(1).min(text.len());
    (1..=longest).rev().find(|&len| text.as_bytes().ends_with(&mark.as_bytes()[..len])).unwrap_or(0)
}

/// Appends a segment, joined to the last one if that is of the same kind.
fn emit(out: &mut Vec<Segment>, kind: fn(String) -> Segment, text: &str) {
    if text.is_empty() {
        return;
    }
    match (out.last_mut(), kind(String::new())) {
        (Some(Segment::Reasoning(last)), Segment::Reasoning(_))
        | (Some(Segment::Answer(last)), Segment::Answer(_)) => {
            last.push_str(text);
        }
        _ => out.push(kind(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The reasoning and the answer of `text` cut at `cuts`.
    fn split(open: bool, text: &str, cuts: &[usize]) -> (String, String) {
        let mut splitter = ReasoningSplitter::new(open);
        let (mut segments, mut from) = (Vec::new(), 0);
        for &cut in cuts.iter().chain([&text.len()]) {
            let to = text.floor_char_boundary(cut.clamp(from, text.len()));
            segments.extend(splitter.push(&text[from..to]));
            from = to;
        }
        segments.extend(splitter.finish());
        let (mut reasoning, mut answer) = (String::new(), String::new());
        for segment in segments {
            match segment {
                Segment::Reasoning(text) => {
                    assert!(answer.is_empty(), "reasoning after the answer began");
                    assert!(!text.is_empty());
                    reasoning.push_str(&text);
                }
                Segment::Answer(text) => {
                    assert!(!text.is_empty());
                    answer.push_str(&text);
                }
                other => panic!("calls are found elsewhere: {other:?}"),
            }
        }
        (reasoning, answer)
    }

    #[test]
    fn every_case_has_its_split() {
        for (open, text, reasoning, answer) in [
            (true, "hm\n</think>\n\nyes", "hm\n", "yes"),
            (true, "<think>\nhm</think>yes", "hm", "yes"),
            (false, "<think>\nhm</think>\n\nyes\n", "hm", "yes\n"),
            (false, " \n<think>hm</think>yes", "hm", "yes"),
            (false, "no <think> here</think>", "", "no <think> here</think>"),
            (false, " yes", "", " yes"),
            (false, "<thinking>", "", "<thinking>"),
            (false, "  <thin", "", "  <thin"),
            (true, "never closed </thin", "never closed </thin", ""),
            (true, "a</think>b</think><think>c", "a", "b</think><think>c"),
            (true, "</think>\nyes", "", "yes"),
            (true, "  <th", "  <th", ""),
            (true, "<</think>x", "<", "x"),
            (true, "a</</think>\r\nx", "a</", "x"),
            (false, "", "", ""),
            (true, "a</think>\n\n", "a", ""),
            (true, "\n\n", "", ""),
        ] {
            assert_eq!(split(open, text, &[]), (reasoning.to_owned(), answer.to_owned()), "{open} {text:?}");
        }
    }

    #[test]
    fn certain_text_is_not_held_back() {
        let mut splitter = ReasoningSplitter::new(true);
        assert_eq!(splitter.push("hm, <b> and <"), [Segment::Reasoning("hm, <b> and ".into())]);
        assert_eq!(splitter.push("/thin"), []);
        assert_eq!(splitter.push("g"), [Segment::Reasoning("</thing".into())]);
        assert_eq!(splitter.push("</think>\n"), []);
        assert_eq!(splitter.push("yes <"), [Segment::Answer("yes <".into())]);
    }

    fn answers() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("<think>"),
            Just("</think>"),
            Just("</thi"),
            Just("<th"),
            Just("<"),
            Just("\n"),
            Just(" "),
            Just("é"),
            Just("</"),
            Just("word"),
            Just("\r\n"),
            Just("nk>"),
        ];
        prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_cut_splits_as_the_whole(
            open: bool,
            text in answers(),
            mut cuts in prop::collection::vec(0..60usize, 0..10),
        ) {
            cuts.sort_unstable();
            prop_assert_eq!(split(open, &text, &cuts), split(open, &text, &[]));
            let every: Vec<usize> = (0..text.len()).collect();
            prop_assert_eq!(split(open, &text, &every), split(open, &text, &[]));
        }
    }
}
