//! Words that have no place in the repository, and the changelog that must have one.

use super::TextFile;

/// What must not be written, and why. Each word is put together here, so that this file does not contain it.
const WORDS: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of somebody's machine"),
    (concat!("/tm", "p/m/"), "a path of somebody's machine"),
    (concat!("/ho", "me/"), "a path of somebody's machine"),
    (concat!("py", "pi.org"), "the host of a registry: tools know their own"),
    (concat!("pythonho", "sted.org"), "the host of a registry: tools know their own"),
    (concat!("npm", "js."), "the host of a registry: tools know their own"),
    (concat!("cra", "tes.io"), "the host of a registry: tools know their own"),
    (concat!("TO", "DO"), "do it, or write an issue"),
    (concat!("FIX", "ME"), "fix it, or write an issue"),
];

/// Files that are made by tools, quote others' texts, or are others'.
const EXEMPT: &[&str] =
    &["Cargo.lock", "fuzz/Cargo.lock", "tests/golden/tokenizers/", "tests/golden/prompts/", "web/vendor/"];

/// Looks for the words in every text.
pub(crate) fn check(files: &[TextFile]) -> Vec<String> {
    let subject = files.iter().filter(|file| !EXEMPT.iter().any(|exempt| file.path.starts_with(exempt)));
    subject.flat_map(check_file).collect()
}

fn check_file(file: &TextFile) -> Vec<String> {
    let mut findings = Vec::new();
    for (i, line) in file.text.lines().enumerate() {
        let found = WORDS.iter().filter(|(word, _)| line.contains(word));
        findings.extend(found.map(|(word, why)| format!("{}:{}: `{word}` ({why})", file.path, i + 1)));
    }
    findings
}

/// The changelog must say something under `Unreleased` or the current version.
pub(crate) fn check_changelog(files: &[TextFile]) -> Option<String> {
    let Some(file) = files.iter().find(|file| file.path == "CHANGELOG.md") else {
        return Some("CHANGELOG.md is missing".to_owned());
    };
    let headings = ["## [Unreleased]", concat!("## [", env!("CARGO_PKG_VERSION"), "]")];
    let mut is_current = false;
    for line in file.text.lines() {
        if line.starts_with("## ") {
            is_current = headings.iter().any(|heading| line.starts_with(heading));
        }
        if is_current && line.starts_with("- ") {
            return None;
        }
    }
    Some(format!("CHANGELOG.md: no entry under `{}` or `{}`", headings[0], headings[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_word_is_found_with_its_place() {
        let text = format!("fine\nsee {}x\n", WORDS[0].0);
        assert_eq!(check(&[file("a.md", &text)]).len(), 1);
        assert!(check(&[file("a.md", &text)])[0].starts_with("a.md:2: "));
        assert!(check(&[file("Cargo.lock", &text)]).is_empty());
    }

    #[test]
    fn the_changelog_must_say_something_now() {
        let check = |text: &str| check_changelog(&[file("CHANGELOG.md", text)]);
        assert_eq!(check("## [Unreleased]\n\n### Added\n- a thing\n"), None);
        assert_eq!(check(concat!("## [", env!("CARGO_PKG_VERSION"), "] - today\n- a thing\n")), None);
        assert!(check("## [Unreleased]\n## [0.0.1]\n- old\n").is_some());
        assert!(check_changelog(&[]).is_some());
    }
}
