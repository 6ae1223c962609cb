//! Checks of the house rules that no compiler makes. Each finding is one line: place, what is wrong, what to do.
//!
//! Reading order: [`source`] (a Rust file without its comments and strings), then one file for each kind of rule.

mod edges;
mod lengths;
mod rules;
mod source;
mod words;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use source::SourceFile;

/// Folders that are never looked into: build products and what a fuzzer found.
const IGNORED_DIRS: &[&str] = &["target", "corpus", "artifacts", "node_modules"];
/// Longest file that is looked into, in bytes: longer ones are data.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// One text file of the repository.
struct TextFile {
    /// Path from the root, with `/`.
    path: String,
    text: String,
}

/// Checks the repository and prints what it finds.
pub(crate) fn run() -> Result<()> {
    let findings = findings(&root())?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    if findings.is_empty() { Ok(()) } else { bail!("tidy: {} findings", findings.len()) }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_owned()
}

fn findings(root: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    collect(root, "", &mut texts)?;
    texts.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let is_rust = |file: &&TextFile| file.path.ends_with(".rs");
    let sources: Vec<SourceFile> =
        texts.iter().filter(is_rust).map(|file| SourceFile::parse(&file.path, &file.text)).collect();

    let mut findings = edges::check(root)?;
    findings.extend(rules::check(&sources));
    findings.extend(lengths::check(&sources));
    findings.extend(words::check(&texts));
    findings.extend(words::check_changelog(&texts));
    Ok(findings)
}

/// Reads the text files below `dir`, whose path from the root is `prefix`.
fn collect(dir: &Path, prefix: &str, texts: &mut Vec<TextFile>) -> Result<()> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == ".git" {
            continue; // a folder, or in a linked worktree a file with the path of one
        }
        let (path, metadata) = (format!("{prefix}{name}"), entry.metadata()?);
        if metadata.is_dir() && !IGNORED_DIRS.contains(&name.as_str()) {
            collect(&entry.path(), &format!("{path}/"), texts)?;
        } else if metadata.is_file() && metadata.len() <= TEXT_BYTES_MAX {
            // What is not UTF-8 is no text.
            if let Ok(text) = String::from_utf8(std::fs::read(entry.path())?) {
                texts.push(TextFile { path, text });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let findings = findings(&root()).unwrap();
        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }
}
