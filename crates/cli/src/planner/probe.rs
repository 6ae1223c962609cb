//! This machine, measured: products by format, the drive, free memory. Kept in `FOLDER/plan.json`.
//!
//! As with `machine.json` the file is a cache: where it says nothing, or what cannot be, the machine is measured.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shoal_kernels::Isa;
use shoal_kernels::roofline::curve::{TOKENS, seconds_per_weight};
use shoal_kernels::roofline::{Bounds, buffer_bytes};
use shoal_plan::machine::Curve;
use shoal_quant::Dtype;
use shoal_store::disk::rate;

use crate::machine::graphics_processors;
use crate::roofline::{self, Machine, measuring_memory, read_whole, write_whole};
use crate::synthetic::{path_of, unnamed};

/// Raised whenever numbers come to mean something else, or are measured in another way.
const FORMAT: u32 = 1;
const FILE_NAME: &str = "plan.json";

/// Bytes of the file that the drive is measured with: as much as its own memory does not hold, if there is room.
const DRIVE_BYTES: u64 = 1 << 30;
/// The size of an expert.
const PIECE_BYTES: usize = 8 << 20;
const DRIVE_TIME: Duration = Duration::from_secs(1);
/// Room that is left on the drive.
const DRIVE_LEFT: u64 = 1 << 30;

/// What is known of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) isa: Isa,
    pub(crate) bounds: Bounds,
    pub(crate) curves: Vec<Curve>,
    /// Bytes per second of the drive that holds the cache folder; `None` where it could not be measured.
    pub(crate) drive_bytes_per_s: Option<f64>,
    /// Bytes that are free there.
    pub(crate) drive_free: u64,
    /// What else could compute, and does not.
    pub(crate) graphics: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    machine: Machine,
    threads: usize,
    products: Vec<Row>,
    drive_bytes_per_s: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    format: String,
    /// With so many tokens as [`TOKENS`] says.
    seconds_per_weight: Vec<f64>,
    /// With one token, from caches.
    cached_seconds: f64,
}

/// What is asked.
pub(crate) struct Wanted<'a> {
    pub(crate) cache_dir: &'a Path,
    pub(crate) isa: Isa,
    pub(crate) threads: usize,
    /// Forget what is kept.
    pub(crate) anew: bool,
    /// Bytes that may be taken meanwhile.
    pub(crate) memory: u64,
    /// Measure the drive too, which takes some seconds.
    pub(crate) drive: bool,
}

impl Probe {
    /// This machine as it is kept, if all is that `formats` need.
    pub(crate) fn kept(wanted: &Wanted<'_>, formats: &[Dtype]) -> Option<Self> {
        let Wanted { cache_dir, isa, threads, .. } = *wanted;
        let (curves, drive_bytes_per_s) = parse(&read_whole(&cache_dir.join(FILE_NAME))?, wanted)?;
        let has = |format: &Dtype| curves.iter().any(|curve| curve.format == *format);
        let bounds = roofline::known_bounds(cache_dir, isa, threads).filter(|_| formats.iter().all(has))?;
        let drive_free = free_bytes(cache_dir).unwrap_or(0);
        Some(Self { isa, bounds, curves, drive_bytes_per_s, drive_free, graphics: graphics_processors() })
    }

    /// This machine, with all of `formats`; what is not kept is measured and kept.
    pub(crate) fn new(wanted: &Wanted<'_>, formats: &[Dtype]) -> Self {
        let Wanted { cache_dir, isa, threads, anew, memory, drive } = *wanted;
        let kept = read_whole(&cache_dir.join(FILE_NAME)).filter(|_| !anew);
        let kept = kept.and_then(|text| parse(&text, wanted));
        let (mut curves, mut drive_bytes_per_s) = kept.unwrap_or_default();
        let is_new = drive && drive_bytes_per_s.is_none();
        if is_new {
            say("measuring the drive");
            drive_bytes_per_s = drive_rate(cache_dir);
        }
        let missing = |curves: &[Curve]| -> Vec<Dtype> {
            formats
                .iter()
                .copied()
                .filter(|format| curves.iter().all(|curve| curve.format != *format))
                .collect()
        };
        let bounds = if anew {
            roofline::bounds_anew(cache_dir, isa, threads, memory)
        } else {
            roofline::bounds(cache_dir, isa, threads, memory)
        };
        let new = missing(&curves);
        for &format in &new {
            say(&format!("measuring products with {}", format.name()));
            curves.push(curve(isa, threads, format, memory));
        }
        // With too little memory to see past the caches nothing is kept.
        if (is_new || !new.is_empty()) && measuring_memory(memory) >= buffer_bytes() as u64 {
            // Without the file the next start measures again.
            let _ = write_whole(cache_dir, FILE_NAME, &render(wanted, &curves, drive_bytes_per_s));
        }
        say("");
        let drive_free = free_bytes(cache_dir).unwrap_or(0);
        Self { isa, bounds, curves, drive_bytes_per_s, drive_free, graphics: graphics_processors() }
    }
}

/// What happens, on a line that the next one takes the place of; nothing where nobody looks.
fn say(text: &str) {
    use std::io::IsTerminal;
    let mut err = std::io::stderr().lock();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K{text}");
        let _ = err.flush();
    }
}

fn curve(isa: Isa, threads: usize, format: Dtype, memory: u64) -> Curve {
    let seconds = seconds_per_weight(isa, threads, format, measuring_memory(memory));
    let points = TOKENS.iter().map(|&tokens| tokens as f64).zip(seconds.from_memory).collect();
    Curve { format, points, cached_s: seconds.from_cache }
}

/// Bytes per second of the drive that holds `folder`, with a file without a name, which is gone however this ends.
fn drive_rate(folder: &Path) -> Option<f64> {
    std::fs::create_dir_all(folder).ok()?;
    let room = free_bytes(folder)?.checked_sub(DRIVE_LEFT)?.min(DRIVE_BYTES);
    let mut file = unnamed(folder).ok()?;
    let piece: Vec<u8> = (0..PIECE_BYTES).map(|at| (at * 31 % 251) as u8).collect();
    for _ in 0..room / PIECE_BYTES as u64 {
        file.write_all(&piece).ok()?;
    }
    file.sync_all().ok()?;
    rate::of_file(&path_of(&file), PIECE_BYTES, DRIVE_TIME).ok()?
}

/// Bytes that are free where `folder` is, or will be.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|folder| folder.exists())?;
    let found = rustix::fs::statvfs(there).ok()?;
    Some(found.f_bavail * found.f_frsize)
}

fn parse(text: &str, wanted: &Wanted<'_>) -> Option<(Vec<Curve>, Option<f64>)> {
    let file: File = serde_json::from_str(text).ok()?;
    if (file.format, file.threads) != (FORMAT, wanted.threads) || file.machine != Machine::this(wanted.isa) {
        return None;
    }
    let is_rate = |rate: &f64| rate.is_finite() && *rate > 0.0;
    let of = |row: Row| {
        let format = *Dtype::ALL.iter().find(|format| format.name() == row.format)?;
        let is_whole = row.seconds_per_weight.len() == TOKENS.len()
            && row.seconds_per_weight.iter().chain([&row.cached_seconds]).all(is_rate);
        let tokens = TOKENS.iter().map(|&tokens| tokens as f64);
        let cached_s = row.cached_seconds;
        is_whole.then(|| Curve { format, points: tokens.zip(row.seconds_per_weight).collect(), cached_s })
    };
    let curves = file.products.into_iter().map(of).collect::<Option<Vec<_>>>()?;
    if !file.drive_bytes_per_s.iter().all(is_rate) {
        return None;
    }
    Some((curves, file.drive_bytes_per_s))
}

fn render(wanted: &Wanted<'_>, curves: &[Curve], drive_bytes_per_s: Option<f64>) -> String {
    let row = |curve: &Curve| Row {
        format: curve.format.name().to_owned(),
        seconds_per_weight: curve.points.iter().map(|&(_, seconds)| seconds).collect(),
        cached_seconds: curve.cached_s,
    };
    let file = File {
        format: FORMAT,
        machine: Machine::this(wanted.isa),
        threads: wanted.threads,
        products: curves.iter().map(row).collect(),
        drive_bytes_per_s,
    };
    serde_json::to_string_pretty(&file).expect("numbers and text are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back_and_nonsense_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let wanted = Wanted {
            cache_dir: folder.path(),
            isa: Isa::best(),
            threads: 2,
            anew: false,
            memory: u64::MAX,
            drive: false,
        };
        let points = TOKENS.iter().map(|&tokens| (tokens as f64, 1e-10 * tokens as f64)).collect();
        let curves = vec![Curve { format: Dtype::Q4_K, points, cached_s: 1e-11 }];
        let text = render(&wanted, &curves, Some(2e9));
        assert_eq!(parse(&text, &wanted), Some((curves, Some(2e9))));
        assert_eq!(parse(&text, &Wanted { threads: 1, ..wanted }), None);
        let broken = |from: &str, to: &str| {
            assert!(text.contains(from), "`{from}` in {text}");
            text.replacen(from, to, 1)
        };
        for text in [
            String::new(),
            text[..text.len() / 2].to_owned(),
            broken("Q4_K", "Q4_L"),
            broken("2000000000.0", "-1.0"),
            broken("1e-10", "null"),
            broken("\"format\": 1", "\"format\": 2"),
        ] {
            assert_eq!(parse(&text, &wanted), None, "{text}");
        }
    }

    #[test]
    fn a_drive_is_measured_with_a_file_that_has_no_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let rate = drive_rate(&folder.path().join("new"));
        assert!(rate.is_none_or(|rate| rate > 0.0 && rate.is_finite()), "{rate:?}");
        assert_eq!(std::fs::read_dir(folder.path().join("new")).expect("made").count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_where_it_will_be() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(free_bytes(&folder.path().join("a/b")).is_some_and(|bytes| bytes > 0));
    }
}
