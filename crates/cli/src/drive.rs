//! How fast the drive that holds a model gives experts, measured once and kept in `FOLDER/drives.json`.
//!
//! As with `machine.json` the file is a cache: where it says nothing of a drive, or what cannot be, the drive is measured.

use std::path::Path;

use serde::{Deserialize, Serialize};
use shoal_checkpoint::{Checkpoint, Source};
use shoal_model::Model;

use crate::roofline::{read_whole, write_whole};

/// Raised whenever numbers come to mean something else, or are measured in another way.
const FORMAT: u32 = 1;
const FILE_NAME: &str = "drives.json";
/// Drives that are remembered; the oldest go.
const ROWS_MAX: usize = 64;

#[derive(Default, Serialize, Deserialize)]
struct File {
    format: u32,
    drives: Vec<Row>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    /// The system's number of the file system.
    device: u64,
    /// Bytes of an expert: the size of what is asked for at once.
    expert_bytes: u64,
    bytes_per_s: f64,
}

/// The system's number of the file system that holds the first file of `checkpoint`.
pub(crate) fn device(checkpoint: &Checkpoint) -> Option<u64> {
    let path = checkpoint.sources().iter().find_map(|source| match source {
        Source::File { path, .. } => Some(path),
        Source::Static(_) | Source::Computed(_) => None,
    })?;
    number_of(&path.metadata().ok()?)
}

#[cfg(unix)]
fn number_of(metadata: &std::fs::Metadata) -> Option<u64> {
    Some(std::os::unix::fs::MetadataExt::dev(metadata))
}

#[cfg(not(unix))]
fn number_of(_: &std::fs::Metadata) -> Option<u64> {
    None
}

/// Bytes per second of `device` for reads of the experts of `model`, which has run nothing yet: as kept in `cache_dir`,
/// unless it is to be measured anew, else measured and kept; `None` if nothing is read from a drive.
pub(crate) fn bytes_per_s(cache_dir: &Path, device: u64, model: &Model, anew: bool) -> Option<f64> {
    let expert_bytes = model.expert_bytes();
    if expert_bytes == 0 {
        return None;
    }
    let mut file = read_whole(&cache_dir.join(FILE_NAME)).as_deref().and_then(parse).unwrap_or_default();
    let is_it = |row: &Row| (row.device, row.expert_bytes) == (device, expert_bytes);
    if let Some(row) = file.drives.iter().find(|row| is_it(row) && !anew) {
        return Some(row.bytes_per_s);
    }
    let bytes_per_s = model.measure_drive()?;
    file.drives.retain(|row| !is_it(row));
    file.format = FORMAT;
    file.drives.push(Row { device, expert_bytes, bytes_per_s });
    let surplus = file.drives.len().saturating_sub(ROWS_MAX);
    file.drives.drain(..surplus);
    let text = serde_json::to_string_pretty(&file).expect("numbers are JSON");
    // Without the file the next start measures again.
    let _ = write_whole(cache_dir, FILE_NAME, &text);
    Some(bytes_per_s)
}

fn parse(text: &str) -> Option<File> {
    let file: File = serde_json::from_str(text).ok()?;
    let is_sane = file.drives.iter().all(|row| row.bytes_per_s.is_finite() && row.bytes_per_s > 0.0);
    (file.format == FORMAT && is_sane).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back_and_nonsense_does_not() {
        let file =
            File { format: FORMAT, drives: vec![Row { device: 7, expert_bytes: 9, bytes_per_s: 2e9 }] };
        let text = serde_json::to_string(&file).expect("JSON");
        assert_eq!(parse(&text).map(|file| file.drives), Some(file.drives));
        let broken = |from: &str, to: &str| {
            assert!(text.contains(from), "`{from}` in {text}");
            text.replacen(from, to, 1)
        };
        for text in [
            String::new(),
            "[]".to_owned(),
            broken("2000000000.0", "0"),
            broken("2000000000.0", "-1"),
            broken("\"format\":1", "\"format\":2"),
            broken("2000000000.0", "null"),
        ] {
            assert!(parse(&text).is_none(), "{text}");
        }
    }
}
