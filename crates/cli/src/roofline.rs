//! The bounds of this machine, measured once and kept in `FOLDER/machine.json`.
//!
//! The file is a cache and nothing else: where it is missing, unreadable, of another machine or instruction set, or
//! says what cannot be, the machine is measured again; where it cannot be written, it will be measured the next time.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shoal_kernels::roofline::{Bounds, Roofline, buffer_bytes, measure};
use shoal_kernels::{Isa, pool::physical_core_count};

use crate::machine::{processor_name, resident_memory};

/// Raised whenever numbers come to mean something else, or are measured in another way.
const FORMAT: u32 = 3;
const FILE_NAME: &str = "machine.json";
/// Longest file that is looked into.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What the numbers hold for: where any of this differs they are measured again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    format: u32,
    processor: String,
    /// Logical processors that this process may use.
    processors: usize,
    isa: String,
}

/// The whole file.
#[derive(Serialize, Deserialize)]
struct File {
    machine: Machine,
    bounds: Vec<Row>,
}

/// [`Bounds`] as JSON.
#[derive(Serialize, Deserialize)]
struct Row {
    threads: usize,
    read_bytes_per_s: f64,
    int8_macs_per_s: f64,
    bf16_macs_per_s: f64,
}

impl From<&Bounds> for Row {
    fn from(bounds: &Bounds) -> Self {
        let Bounds { threads, read_bytes_per_s, int8_macs_per_s, bf16_macs_per_s } = *bounds;
        Self { threads, read_bytes_per_s, int8_macs_per_s, bf16_macs_per_s }
    }
}

impl From<Row> for Bounds {
    fn from(row: Row) -> Self {
        let Row { threads, read_bytes_per_s, int8_macs_per_s, bf16_macs_per_s } = row;
        Self { threads, read_bytes_per_s, int8_macs_per_s, bf16_macs_per_s }
    }
}

impl Machine {
    /// The machine that this is.
    pub(crate) fn this(isa: Isa) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { format: FORMAT, processor: processor_name(), processors, isa: isa.name().to_owned() }
    }
}

/// The bounds of `threads` threads with the instructions `isa`, as kept in `cache_dir`.
pub(crate) fn known_bounds(cache_dir: &Path, isa: Isa, threads: usize) -> Option<Bounds> {
    let kept = read_whole(&path(cache_dir)).and_then(|text| parse(&text, &Machine::this(isa)));
    kept.filter(|roofline| threads <= roofline.threads_max()).map(|roofline| roofline.at(threads))
}

/// The same; where they are not kept, they are measured and kept.
pub(crate) fn bounds(cache_dir: &Path, isa: Isa, threads: usize, memory: u64) -> Bounds {
    known_bounds(cache_dir, isa, threads).unwrap_or_else(|| bounds_anew(cache_dir, isa, threads, memory))
}

/// The bounds of `threads` threads with the instructions `isa`, measured now within `memory` bytes, and kept in `cache_dir` unless
/// that was too little to see past the caches.
pub(crate) fn bounds_anew(cache_dir: &Path, isa: Isa, threads: usize, memory: u64) -> Bounds {
    let within = measuring_memory(memory);
    let sees_memory = within >= buffer_bytes() as u64;
    // What was measured with more memory is nearer the truth than what is in a cache.
    if let (false, Some(kept)) = (sees_memory, known_bounds(cache_dir, isa, threads)) {
        return kept;
    }
    let roofline = measure(isa, threads.max(physical_core_count()), within);
    if sees_memory {
        // Without the file the next start measures again.
        let _ = write_whole(cache_dir, FILE_NAME, &render(&roofline, Machine::this(isa)));
    }
    roofline.at(threads)
}

/// Of the `memory` that the process may use, what a measurement may take before anything is loaded.
pub(crate) fn measuring_memory(memory: u64) -> u64 {
    memory.saturating_sub(resident_memory()) / 2
}

fn path(cache_dir: &Path) -> PathBuf {
    cache_dir.join(FILE_NAME)
}

/// The text of a kept file, as far as one is looked into.
pub(crate) fn read_whole(path: &Path) -> Option<String> {
    // Asked before it is opened: a pipe would wait for somebody to write.
    path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The bounds in `text`, if they are those of `machine`.
fn parse(text: &str, machine: &Machine) -> Option<Roofline> {
    let file: File = serde_json::from_str(text).ok()?;
    if file.machine != *machine {
        return None;
    }
    Roofline::new(file.bounds.into_iter().map(Bounds::from).collect())
}

fn render(roofline: &Roofline, machine: Machine) -> String {
    let file = File { machine, bounds: roofline.bounds().iter().map(Row::from).collect() };
    serde_json::to_string_pretty(&file).expect("numbers and text are JSON")
}

/// Puts `text` in the place of the old file at once: whoever reads meanwhile sees one or the other.
pub(crate) fn write_whole(cache_dir: &Path, name: &str, text: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(cache_dir)?;
    let part = cache_dir.join(format!("{name}.{}", std::process::id()));
    let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, cache_dir.join(name)));
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            format: FORMAT,
            processor: "A \"fast\" one".to_owned(),
            processors: 8,
            isa: "avx2".to_owned(),
        }
    }

    fn roofline() -> Roofline {
        let row = |threads: usize, read: f64| Bounds {
            threads,
            read_bytes_per_s: read,
            int8_macs_per_s: 1.5e11 * threads as f64,
            bf16_macs_per_s: 4e10,
        };
        Roofline::new(vec![row(1, 2e10), row(2, 3.5e10)]).expect("a roofline")
    }

    #[test]
    fn what_was_kept_comes_back_on_the_same_machine_alone() {
        let text = render(&roofline(), machine());
        assert_eq!(parse(&text, &machine()), Some(roofline()));
        let others = [
            Machine { format: FORMAT + 1, ..machine() },
            Machine { processor: "Another".to_owned(), ..machine() },
            Machine { processors: 4, ..machine() },
            Machine { isa: "scalar".to_owned(), ..machine() },
        ];
        for other in others {
            assert_eq!(parse(&text, &other), None, "{other:?}");
        }
    }

    #[test]
    fn a_file_that_says_what_cannot_be_is_as_good_as_none() {
        let text = render(&roofline(), machine());
        let broken = |from: &str, to: &str| {
            assert!(text.contains(from), "`{from}` in {text}");
            text.replacen(from, to, 1)
        };
        let texts = [
            String::new(),
            "{".to_owned(),
            "[]".to_owned(),
            text[..text.len() / 2].to_owned(),
            broken("20000000000.0", "-1.0"),
            broken("20000000000.0", "1e999"),
            broken("20000000000.0", "null"),
            broken("20000000000.0", "0"),
            broken("\"threads\": 2", "\"threads\": 1"),
            broken("\"threads\": 1", "\"threads\": -1"),
        ];
        for text in texts {
            assert_eq!(parse(&text, &machine()), None, "{text}");
        }
    }

    #[test]
    fn a_written_file_is_read_and_a_giant_or_a_folder_is_not() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let cache_dir = dir.path().join("new");
        assert_eq!(read_whole(&path(&cache_dir)), None);
        write_whole(&cache_dir, FILE_NAME, "old").expect("written");
        write_whole(&cache_dir, FILE_NAME, "new").expect("written over");
        assert_eq!(read_whole(&path(&cache_dir)).as_deref(), Some("new"));
        assert_eq!(std::fs::read_dir(&cache_dir).expect("a folder").count(), 1, "no part is left");
        write_whole(&cache_dir, FILE_NAME, &"x".repeat(2 * FILE_BYTES_MAX as usize)).expect("written");
        assert_eq!(read_whole(&path(&cache_dir)).map(|text| text.len() as u64), Some(FILE_BYTES_MAX));

        let occupied = dir.path().join("occupied");
        std::fs::create_dir_all(path(&occupied)).expect("a folder in the place of the file");
        assert_eq!(read_whole(&path(&occupied)), None);
        assert!(write_whole(&occupied, FILE_NAME, "x").is_err());
        assert_eq!(std::fs::read_dir(&occupied).expect("a folder").count(), 1, "no part is left");
    }
}
