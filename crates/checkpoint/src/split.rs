//! Models of several files: `name-00001-of-00003.gguf` and so on.
//!
//! Each part is a GGUF file of its own and states `split.no` (from 0) and `split.count`; the first also states
//! `split.tensors.count`, the number of tensors of all parts. Any part opens the set.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use shoal_base::limits::SPLIT_COUNT_MAX;

use crate::gguf::{self, Part};
use crate::{Error, Metadata, Source};

/// Opens the file at `path`, and all other parts if it is one of several; in the order of the set.
pub(crate) fn open_all(path: &Path) -> Result<Vec<(Source, Part)>, Error> {
    let given = open_one(path)?;
    let Some(Split { no, count }) = Split::of(&given.1.metadata)? else { return Ok(vec![given]) };
    let file = given.1.metadata.file().to_owned();
    let Some(stem) = set_stem(path, no, count) else {
        return Err(Error::PartName { file, no: no + 1, count });
    };
    let mut given = Some(given);
    let mut parts = Vec::new();
    for idx in 0..count {
        let part = match given.take_if(|_| idx == no) {
            Some(part) => part,
            None => open_part(&part_path(path, &stem, idx, count), idx, count)?,
        };
        parts.push(part);
    }
    Ok(parts)
}

/// Refuses a file that is only a part of a model.
pub(crate) fn refuse_part(file: &str, metadata: &Metadata) -> Result<(), Error> {
    match Split::of(metadata)? {
        Some(Split { count, .. }) => Err(Error::PartOnly { file: file.to_owned(), count }),
        None => Ok(()),
    }
}

/// Compares the number of tensors that a split model states with what its parts hold.
pub(crate) fn check_tensor_count(parts: &[Part]) -> Result<(), Error> {
    let [first, _, ..] = parts else { return Ok(()) };
    let expected = first.metadata.required_u32("split.tensors.count")?;
    let found = parts.iter().map(|part| part.tensors.len()).sum();
    if expected as usize != found {
        let file = first.metadata.file().to_owned();
        return Err(Error::SplitTensorCount { file, expected, count: parts.len(), found });
    }
    Ok(())
}

/// The file name without its extension and, for a part, without the number.
pub(crate) fn model_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.strip_suffix(".gguf").unwrap_or(&name);
    let number_at = stem.len().checked_sub("-00001-of-00001".len());
    match number_at.and_then(|at| stem.split_at_checked(at)) {
        Some((set, number)) if is_part_number(number) => set.to_owned(),
        _ => stem.to_owned(),
    }
}

/// Whether `text` looks like `-00001-of-00003`.
fn is_part_number(text: &str) -> bool {
    text.bytes().zip(b"-00000-of-00000").all(|(found, pattern)| match pattern {
        b'0' => found.is_ascii_digit(),
        _ => found == *pattern,
    })
}

/// A file's place in a set of at least two.
struct Split {
    /// From 0.
    no: u32,
    count: u32,
}

impl Split {
    /// What the metadata says, or `None` for a model of one file.
    fn of(metadata: &Metadata) -> Result<Option<Self>, Error> {
        let count = metadata.u32("split.count")?.unwrap_or(1);
        if count <= 1 {
            return Ok(None);
        }
        let file = metadata.file().to_owned();
        if count > SPLIT_COUNT_MAX {
            let (found, max) = (u64::from(count), u64::from(SPLIT_COUNT_MAX));
            return Err(Error::Limit { file, place: "`split.count`".to_owned(), found, max });
        }
        let no = metadata.required_u32("split.no")?;
        if no >= count {
            let (found, max) = (u64::from(no), u64::from(count - 1));
            return Err(Error::Limit { file, place: "`split.no`".to_owned(), found, max });
        }
        Ok(Some(Self { no, count }))
    }
}

fn open_part(path: &Path, idx: u32, count: u32) -> Result<(Source, Part), Error> {
    let no = idx + 1;
    let part = open_one(path).map_err(|err| match err {
        Error::Open { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
            Error::PartMissing { no, count, path }
        }
        other => other,
    })?;
    let metadata = &part.1.metadata;
    let (found_no, found_count) = match Split::of(metadata)? {
        Some(split) => (split.no + 1, split.count),
        None => (1, 1),
    };
    if (found_no, found_count) != (no, count) {
        let file = metadata.file().to_owned();
        return Err(Error::PartMismatch { file, no, count, found_no, found_count });
    }
    Ok(part)
}

fn open_one(path: &Path) -> Result<(Source, Part), Error> {
    let open_error = |source| Error::Open { path: path.to_owned(), source };
    // Asked before opening: opening a named pipe would wait for its other end.
    if !std::fs::metadata(path).map_err(open_error)?.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(open_error)?;
    let len = file.metadata().map_err(open_error)?.len();
    let part = gguf::parse(&path.display().to_string(), BufReader::with_capacity(1 << 16, file), len)?;
    Ok((Source::File { path: path.to_owned(), len }, part))
}

fn part_suffix(idx: u32, count: u32) -> String {
    format!("-{:05}-of-{count:05}.gguf", idx + 1)
}

/// The file name up to the number, if the name carries the number that the metadata states.
fn set_stem(path: &Path, no: u32, count: u32) -> Option<String> {
    Some(path.file_name()?.to_str()?.strip_suffix(&part_suffix(no, count))?.to_owned())
}

fn part_path(given: &Path, stem: &str, idx: u32, count: u32) -> PathBuf {
    given.with_file_name(format!("{stem}{}", part_suffix(idx, count)))
}
