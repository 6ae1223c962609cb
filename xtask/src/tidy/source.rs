//! A Rust file as the checks see it: code with comments and texts blanked out, and the texts on their own.
//!
//! This is no parser. It knows just enough of the language to tell code, comments, string literals and character
//! literals apart; then braces can be counted and words found without being misled.

use std::ops::Range;

/// A Rust file, taken apart.
pub(crate) struct SourceFile {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// The first line as it stands.
    pub(crate) first_line: String,
    /// The code; every byte of a comment or of a literal's content is a space, line ends stay.
    pub(crate) code: String,
    /// String literals: offset in the file, and content as written.
    pub(crate) strings: Vec<(usize, String)>,
    /// Modules marked `#[cfg(test)]`, as ranges of bytes.
    pub(crate) tests: Vec<Range<usize>>,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Line of `fn`, from 1.
    pub(crate) line: usize,
    /// Lines from `fn` to the closing brace.
    pub(crate) len: usize,
}

impl SourceFile {
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let (code, strings) = blank(text);
        let tests = test_modules(&code);
        let first_line = text.lines().next().unwrap_or_default().to_owned();
        Self { path: path.to_owned(), first_line, code, strings, tests }
    }

    /// Whether the byte at `offset` belongs to a test: the whole file does if it stands in a folder or under a name
    /// of tests.
    pub(crate) fn is_test(&self, offset: usize) -> bool {
        let in_tests = self.path.split('/').any(|part| matches!(part, "tests" | "tests.rs"));
        in_tests || self.tests.iter().any(|range| range.contains(&offset))
    }

    /// Line of the byte at `offset`, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.code[..offset].bytes().filter(|&byte| byte == b'\n').count() + 1
    }

    /// Lines of the file without its test modules.
    pub(crate) fn len_without_tests(&self) -> usize {
        let lines = |text: &str| text.bytes().filter(|&byte| byte == b'\n').count();
        lines(&self.code) - self.tests.iter().map(|range| lines(&self.code[range.clone()])).sum::<usize>()
    }

    /// Offsets of `word` in the code where it is a whole word.
    pub(crate) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        words(&self.code, word)
    }

    /// Every function that has a name and a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        self.words("fn").filter_map(|at| self.function(at)).collect()
    }

    fn function(&self, at: usize) -> Option<Function> {
        let rest = self.code[at + 2..].trim_start();
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            return None; // a pointer type
        }
        let mut depth = 0i32;
        for (i, byte) in self.code.bytes().enumerate().skip(at) {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth -= 1,
                b';' if depth == 0 => return None, // a declaration without body
                b'{' if depth == 0 => {
                    let (line, end) = (self.line(at), self.line(closing_brace(&self.code, i)));
                    return Some(Function { name, line, len: end - line + 1 });
                }
                _ => {}
            }
        }
        None
    }
}

fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let bytes = code.as_bytes();
        !is_word(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && !is_word(bytes.get(at + word.len()))
    })
}

/// Offset of the brace that closes the one at `open`; the end of the code if none does.
fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0i32;
    for (i, byte) in code.bytes().enumerate().skip(open) {
        depth += i32::from(byte == b'{') - i32::from(byte == b'}');
        if depth == 0 {
            return i;
        }
    }
    code.len()
}

/// Ranges from `#[cfg(test)]` to the closing brace of the module it marks.
fn test_modules(code: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for (start, marker) in code.match_indices("#[cfg(test)]") {
        let rest = &code[start + marker.len()..];
        let is_module = rest.trim_start().starts_with("mod ");
        let open = rest.find(['{', ';']).filter(|&at| rest.as_bytes()[at] == b'{');
        if let Some(open) = open.filter(|_| is_module) {
            ranges.push(start..closing_brace(code, start + marker.len() + open));
        }
    }
    ranges
}

/// What the scanner is in.
enum State {
    Code,
    LineComment,
    /// How deep comments are nested.
    BlockComment(usize),
    /// How many `#` end it if it is raw, and where it began.
    Text {
        hashes: Option<usize>,
        start: usize,
    },
}

/// Blanks comments and the contents of literals, and collects the strings.
fn blank(text: &str) -> (String, Vec<(usize, String)>) {
    let bytes = text.as_bytes();
    let (mut code, mut strings) = (bytes.to_vec(), Vec::new());
    let (mut state, mut i) = (State::Code, 0);
    while i < bytes.len() {
        let rest = &bytes[i..];
        let mut len = 1; // bytes to go on
        let mut is_blank = true;
        match &mut state {
            State::Code => {
                (state, len, is_blank) = in_code(bytes, i);
            }
            State::LineComment if rest[0] == b'\n' => state = State::Code,
            State::LineComment => {}
            State::BlockComment(depth) => {
                if rest.starts_with(b"/*") {
                    (*depth, len) = (*depth + 1, 2);
                } else if rest.starts_with(b"*/") {
                    (*depth, len) = (*depth - 1, 2);
                    if *depth == 0 {
                        state = State::Code;
                    }
                }
            }
            State::Text { hashes: None, .. } if rest[0] == b'\\' => len = 2,
            State::Text { hashes, start } => {
                let hash_count = hashes.unwrap_or(0);
                if rest[0] == b'"' && rest[1..].iter().take_while(|&&byte| byte == b'#').count() >= hash_count
                {
                    strings.push((*start, text[*start..i].to_owned()));
                    (state, len, is_blank) = (State::Code, 1 + hash_count, false);
                }
            }
        }
        let end = (i + len).min(bytes.len());
        if is_blank {
            code[i..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
        i = end;
    }
    (String::from_utf8(code).expect("whole characters are blanked"), strings)
}

/// What begins at byte `i` of code: the state after it, its length, and whether it is to be blanked.
fn in_code(bytes: &[u8], i: usize) -> (State, usize, bool) {
    let rest = &bytes[i..];
    if rest.starts_with(b"//") {
        return (State::LineComment, 2, true);
    }
    if rest.starts_with(b"/*") {
        return (State::BlockComment(1), 2, true);
    }
    if rest[0] == b'"' {
        return (State::Text { hashes: None, start: i + 1 }, 1, false);
    }
    let follows_word = i > 0 && (bytes[i - 1].is_ascii_alphanumeric() || bytes[i - 1] == b'_');
    let prefix = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    if !follows_word && matches!(&rest[..prefix], b"r" | b"br" | b"cr") {
        let hashes = rest[prefix..].iter().take_while(|&&byte| byte == b'#').count();
        if rest.get(prefix + hashes) == Some(&b'"') {
            let len = prefix + hashes + 1;
            return (State::Text { hashes: Some(hashes), start: i + len }, len, false);
        }
    }
    if rest[0] == b'\'' {
        return (State::Code, char_literal_len(rest).unwrap_or(1), char_literal_len(rest).is_some());
    }
    (State::Code, 1, false)
}

/// Length of the character literal that `rest` begins with; `None` for a lifetime.
fn char_literal_len(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        // The escaped character may itself be a quote.
        return rest.iter().skip(3).position(|&byte| byte == b'\'').map(|at| at + 4);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(6)]);
    let first =
        text.unwrap_or_else(|error| std::str::from_utf8(&rest[1..=error.valid_up_to()]).unwrap_or_default());
    let len = first.chars().next()?.len_utf8();
    (rest.get(1 + len) == Some(&b'\'')).then_some(len + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let (code, strings) = blank(
            "a // b \"c\n/* d /* e */ f */ g \"h // \\\" i\" r#\"j \" k\"# 'l' '\\'' 'é' &'m n b\"o\" br\"p\" '\"' q",
        );
        let words: Vec<&str> =
            code.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        assert_eq!(words, ["a", "g", "r", "m", "n", "b", "br", "q"], "{code}");
        assert_eq!(code.lines().count(), 2);
        let strings: Vec<&str> = strings.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(strings, ["h // \\\" i", "j \" k", "o", "p"]);
    }

    #[test]
    fn functions_are_found_with_their_lengths() {
        let text = "fn one() {}\ntype P = fn(u8);\ntrait T {\n    fn none(&self, x: [u8; 4]);\n    fn two(\n        x: [u8; 4],\n    ) -> u8 {\n        '}';\n        \"}\"\n    }\n}\n";
        let functions = SourceFile::parse("a.rs", text).functions();
        let found: Vec<(&str, usize, usize)> =
            functions.iter().map(|f| (f.name.as_str(), f.line, f.len)).collect();
        assert_eq!(found, [("one", 1, 1), ("two", 5, 6)]);
    }

    #[test]
    fn test_modules_do_not_count() {
        let text = "//! x\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n#[cfg(test)]\nmod more;\n";
        let file = SourceFile::parse("a.rs", text);
        assert_eq!(file.tests.len(), 1);
        assert!(file.is_test(text.find("fn b").unwrap()) && !file.is_test(text.find("fn a").unwrap()));
        assert_eq!(file.len_without_tests(), 5);
        assert!(SourceFile::parse("crates/x/tests/a.rs", "").is_test(0));
    }
}
