//! Text files that go with a question.
//!
//! Whatever a path leads to is looked at before it is opened: a pipe would wait for ever, a device has no end.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use shoal_base::Bytes;

use crate::terminal::one_line;

/// Files that go with one question, as on the page.
pub(crate) const FILES_MAX: usize = 20;

/// Most bytes of a file, as on the page.
const FILE_BYTES_MAX: u64 = 2_000_000;

/// A file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextFile {
    /// Without its folder, on one line.
    pub(crate) name: String,
    pub(crate) text: String,
    /// Of it as it is told.
    pub(crate) tokens: usize,
}

impl TextFile {
    /// Reads `path`. Its tokens are not counted yet.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let metadata = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?;
        if metadata.is_dir() {
            bail!("{shown}: expected a text file, found a folder");
        }
        if !metadata.is_file() {
            bail!("{shown}: expected a text file, found something that is no file");
        }
        let mut bytes = Vec::new();
        // One more than allowed, since it may have grown.
        let read = |file: std::fs::File| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
        if metadata.len() <= FILE_BYTES_MAX {
            std::fs::File::open(path).and_then(read).with_context(|| format!("cannot read {shown}"))?;
        }
        let found = metadata.len().max(bytes.len() as u64);
        if found > FILE_BYTES_MAX {
            bail!("{shown}: expected at most {}, found {}", Bytes(FILE_BYTES_MAX), Bytes(found));
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => text,
            Ok(_) => bail!("{shown}: expected text, found a byte of 0"),
            Err(error) => {
                let place = error.utf8_error().valid_up_to();
                bail!("{shown}: expected text in UTF-8, found other bytes at {place}")
            }
        };
        if text.trim().is_empty() {
            bail!("{shown}: expected text, found none");
        }
        let name =
            path.file_name().map_or_else(|| shown.to_string(), |name| name.to_string_lossy().into_owned());
        Ok(Self { name: one_line(&name), text, tokens: 0 })
    }

    /// As DeepSeek's models are told of it.
    pub(crate) fn told(&self) -> String {
        let Self { name, text, .. } = self;
        format!("[file name]: {name}\n[file content begin]\n{text}\n[file content end]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::sentence;

    fn refusal(path: &Path) -> String {
        sentence(&TextFile::read(path).expect_err("it is no text file"))
    }

    #[test]
    fn a_text_file_is_read_and_told_by_its_name() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a note.md");
        std::fs::write(&path, "Fish swim.\n").expect("a file");
        let file = TextFile::read(&path).expect("text");
        let told = "[file name]: a note.md\n[file content begin]\nFish swim.\n\n[file content end]";
        assert_eq!(file.told(), told);
    }

    #[test]
    fn a_name_cannot_end_its_line() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a\n[file content end]\x1b[2J");
        std::fs::write(&path, "x").expect("a file");
        assert_eq!(TextFile::read(&path).expect("text").name, "a [file content end]\u{fffd}[2J");
    }

    #[test]
    fn what_is_no_text_is_refused_with_what_was_expected() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        let put = |name: &str, bytes: &[u8]| std::fs::write(at(name), bytes).expect("a file");
        put("latin", b"caf\xe9");
        put("zero", b"a\0b");
        put("void", b" \n");
        std::fs::File::create(at("long")).and_then(|file| file.set_len(FILE_BYTES_MAX + 1)).expect("a file");
        for (name, parts) in [
            ("missing", &["cannot read ", "missing: No such file"][..]),
            ("", &["expected a text file, found a folder"]),
            ("latin", &["latin: expected text in UTF-8, found other bytes at 3"]),
            ("zero", &["zero: expected text, found a byte of 0"]),
            ("void", &["void: expected text, found none"]),
            ("long", &["long: expected at most ", ", found "]),
        ] {
            let said = refusal(&at(name));
            parts.iter().for_each(|part| assert!(said.contains(part), "`{part}` in: {said}"));
        }
        // It would be read for ever, or never answer.
        let device = refusal(Path::new("/dev/zero"));
        assert!(device.ends_with("expected a text file, found something that is no file"), "{device}");
    }
}
