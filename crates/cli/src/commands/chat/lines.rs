//! What is typed: when a line is complete, what Tab offers, and the path in `/read PATH`.

use std::path::{Path, PathBuf};

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Highlighter, Hinter};

use super::COMMANDS;

/// A line is complete unless it ends in a backslash or has an open `\"\"\"`.
#[derive(Helper, Highlighter, Hinter)]
pub(super) struct Lines {
    files: FilenameCompleter,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { files: FilenameCompleter::new() }
    }
}

impl Validator for Lines {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Completer for Lines {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        if line.starts_with("/read ") {
            return self.files.complete(line, pos, context);
        }
        let Some(begun) = line[..pos].strip_prefix('/') else { return Ok((pos, Vec::new())) };
        let known = COMMANDS.iter().filter(|name| name.starts_with(begun));
        let pairs = known.map(|name| Pair { display: format!("/{name}"), replacement: format!("/{name} ") });
        Ok((0, pairs.collect()))
    }
}

fn is_complete(input: &str) -> bool {
    input.matches("\"\"\"").count().is_multiple_of(2) && !input.ends_with('\\')
}

/// What was typed, without the marks that made it several lines.
pub(super) fn typed_text(input: &str) -> String {
    input.replace("\\\n", "\n").replace("\"\"\"", "").trim().to_owned()
}

/// The path that was typed, completed or dropped on the terminal: in quotes, with backslashes before blanks, or as it is; `~/` is `home`.
pub(super) fn typed_path(text: &str, home: Option<&Path>) -> PathBuf {
    let quoted = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    if let Some(path) = quoted('"').or_else(|| quoted('\'')) {
        return path.into();
    }
    let mut path = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        path.push(if letter == '\\' { letters.next().unwrap_or(letter) } else { letter });
    }
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use rustyline::history::MemHistory;

    use super::*;

    #[test]
    fn lines_join_where_they_are_marked() {
        assert!(is_complete("one line"));
        assert!(!is_complete("goes on \\"));
        assert!(!is_complete("\"\"\"first"));
        assert!(is_complete("\"\"\"first\nsecond\"\"\""));
        assert_eq!(typed_text("a \\\nb"), "a \nb");
        assert_eq!(typed_text("\"\"\"first\nsecond\"\"\""), "first\nsecond");
    }

    #[test]
    fn a_path_is_read_as_shells_write_it() {
        let home = Some(Path::new("/user"));
        for (typed, path) in [
            ("notes.md", "notes.md"),
            ("two words.md", "two words.md"),
            ("two\\ words.md", "two words.md"),
            ("'two words.md'", "two words.md"),
            ("\"it's\"", "it's"),
            ("'", "'"),
            ("~/notes.md", "/user/notes.md"),
            ("a~/b", "a~/b"),
            ("back\\\\slash", "back\\slash"),
        ] {
            assert_eq!(typed_path(typed, home), PathBuf::from(path), "{typed}");
        }
        assert_eq!(typed_path("~/a", None), PathBuf::from("~/a"));
    }

    #[test]
    fn tab_knows_the_commands_and_leaves_questions_alone() {
        let history = MemHistory::new();
        let context = Context::new(&history);
        let offered = |line: &str| {
            let (start, pairs) = Lines::new().complete(line, line.len(), &context).expect("no error");
            (start, pairs.into_iter().map(|pair| pair.replacement).collect::<Vec<_>>())
        };
        assert_eq!(offered("/bra"), (0, vec!["/branches ".to_owned(), "/branch ".to_owned()]));
        assert_eq!(offered("what is /bra").1, Vec::<String>::new());
        assert_eq!(offered("/back 1").1, Vec::<String>::new());
    }
}
