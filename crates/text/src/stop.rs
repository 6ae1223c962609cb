//! Stop strings: ends an answer before the first of a list of texts.
//!
//! A stop string counts as soon as its last character has come. If two end with the same character, the longer one
//! counts, so nothing of it is printed. Text that may still become a stop string is held back, and only that; the
//! result does not depend on how the text is cut. Time per push grows with the lengths of the stop strings.

use crate::reasoning::tail_that_may_begin;

/// Watches one answer for stop strings.
#[derive(Clone, Debug)]
pub struct StopMatcher {
    stops: Vec<String>,
    /// The end of the text so far, where it may be the beginning of a stop string.
    held: String,
    /// Which of them ended the answer.
    stopped_by: Option<usize>,
}

impl StopMatcher {
    /// A matcher for `stops`; empty ones are ignored.
    #[must_use]
    pub fn new(mut stops: Vec<String>) -> Self {
        stops.retain(|stop| !stop.is_empty());
        Self { stops, held: String::new(), stopped_by: None }
    }

    /// Adds text; returns what may be printed, and whether the answer ends here. After the end nothing is printed.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        if self.stopped_by.is_some() {
            return (String::new(), true);
        }
        let mut seen = std::mem::take(&mut self.held);
        seen.push_str(text);
        if let Some((start, which)) = self.first_stop(&seen) {
            seen.truncate(start);
            self.stopped_by = Some(which);
            return (seen, true);
        }
        let keep = self.stops.iter().map(|stop| tail_that_may_begin(&seen, stop)).max().unwrap_or(0);
        self.held = seen.split_off(seen.len() - keep);
        (seen, false)
    }

    /// Ends the answer; returns what was held back.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The stop string that has ended the answer.
    #[must_use]
    pub fn stopped_by(&self) -> Option<&str> {
        self.stopped_by.map(|which| self.stops[which].as_str())
    }

    /// Where the stop string begins that is complete first, and which it is.
    fn first_stop(&self, text: &str) -> Option<(usize, usize)> {
        let ends = self
            .stops
            .iter()
            .enumerate()
            .filter_map(|(which, stop)| text.find(stop.as_str()).map(|at| (at + stop.len(), at, which)));
        ends.min().map(|(_, start, which)| (start, which))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(stops: &[&str], text: &str, cuts: &[usize]) -> (String, bool) {
        let mut matcher = StopMatcher::new(stops.iter().map(|&stop| stop.to_owned()).collect());
        let (mut printed, mut stopped, mut from) = (String::new(), false, 0);
        for &cut in cuts.iter().chain([&text.len()]) {
            let to = text.floor_char_boundary(cut.clamp(from, text.len()));
            let (more, now) = matcher.push(&text[from..to]);
            printed.push_str(&more);
            stopped |= now;
            from = to;
        }
        printed.push_str(&matcher.finish());
        (printed, stopped)
    }

    #[test]
    fn every_case_has_its_end() {
        for (stops, text, printed, stopped) in [
            (&["END"][..], "ab END cd", "ab ", true),
            (&["END"], "ab EN", "ab EN", false),
            (&["b", "abc"], "xabc", "xa", true),
            (&["c", "abc"], "xabc", "x", true),
            (&["\n\n"], "a\n\n\nb", "a", true),
            (&["aab"], "aaab", "a", true),
            (&["", "é"], "caf\u{e9}", "caf", true),
            (&[], "all", "all", false),
        ] {
            assert_eq!(run(stops, text, &[]), (printed.to_owned(), stopped), "{stops:?} {text:?}");
        }
    }

    #[test]
    fn certain_text_is_not_held_back() {
        let mut matcher = StopMatcher::new(vec!["STOP".into()]);
        assert_eq!(matcher.push("a S"), ("a ".into(), false));
        assert_eq!(matcher.push("x ST"), ("Sx ".into(), false));
        assert_eq!(matcher.push("OP!"), (String::new(), true));
        assert_eq!(matcher.push("more"), (String::new(), true));
        assert_eq!(matcher.finish(), "");
    }

    proptest! {
        #[test]
        fn any_cut_stops_as_the_whole(
            stops in prop::collection::vec("[abé]{0,4}", 0..4),
            text in "[abcé]{0,24}",
            mut cuts in prop::collection::vec(0..40usize, 0..8),
        ) {
            cuts.sort_unstable();
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            prop_assert_eq!(run(&stops, &text, &cuts), run(&stops, &text, &[]));
        }

        #[test]
        fn what_is_printed_holds_no_stop(stops in prop::collection::vec("[ab]{1,3}", 1..4), text in "[abc]{0,24}") {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let (printed, stopped) = run(&stops, &text, &[]);
            prop_assert!(text.starts_with(&printed));
            prop_assert!(stops.iter().all(|stop| !printed.contains(stop)));
            prop_assert_eq!(stopped, stops.iter().any(|stop| text.contains(stop)));
        }
    }
}
