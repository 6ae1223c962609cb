//! What a comparison leaves: a JSON file with every run, also those that do not count, and what follows from them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::Serialize;

use super::noise::Noise;
use super::summary::Summary;

/// Bytes of the model file that its hash covers: header and metadata, which tell files apart.
const HASHED_BYTES: u64 = 1 << 20;

/// The whole file. Fields are as they stand in it.
#[derive(Serialize)]
pub(super) struct Record {
    /// UTC, to the minute.
    pub(super) date: String,
    pub(super) machine: Machine,
    pub(super) model: ModelFile,
    pub(super) threads: usize,
    pub(super) pinned_to: Vec<usize>,
    pub(super) rounds: usize,
    /// Runs that waited longer do not count.
    pub(super) wait_share_max: f64,
    pub(super) engines: Vec<EngineInfo>,
    pub(super) summary: Summary,
    pub(super) runs: Vec<Run>,
}

#[derive(Serialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) kernel: String,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct ModelFile {
    /// Without its folder.
    pub(super) name: String,
    pub(super) bytes: u64,
    /// FNV-1a, 64 bits, of the first 1,048,576 bytes.
    pub(super) hash_of_first_mib: String,
}

#[derive(Serialize)]
pub(super) struct EngineInfo {
    pub(super) name: String,
    pub(super) version: String,
    /// Files without their folders.
    pub(super) command: String,
}

/// One run of one engine.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    /// From 1.
    pub(super) round: usize,
    pub(super) engine: String,
    /// From 1: how often it was tried in this round.
    pub(super) attempt: usize,
    pub(super) tokens_per_s: BTreeMap<String, f64>,
    /// The roofline of the round, measured by shoal before its tests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory_reads_gb_per_s: Option<f64>,
    pub(super) seconds: f64,
    pub(super) noise: Noise,
    /// Why it does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thrown_away: Option<String>,
}

impl Machine {
    pub(super) fn here() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self { cpu: cpu_name(&cpuinfo), kernel: kernel.trim().to_owned() }
    }
}

fn cpu_name(cpuinfo: &str) -> String {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, name)| name);
    name.trim().to_owned()
}

impl ModelFile {
    pub(super) fn of(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot read the model {}", path.display());
        let file = std::fs::File::open(path).with_context(cannot)?;
        let bytes = file.metadata().with_context(cannot)?.len();
        let mut start = Vec::new();
        file.take(HASHED_BYTES).read_to_end(&mut start).with_context(cannot)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, bytes, hash_of_first_mib: format!("{:016x}", fnv1a(&start)) })
    }
}

/// The hash FNV-1a: it tells files apart and guards against nobody.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The time now, as `2026-01-31T09:05Z`.
pub(super) fn date_now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date_of(since.as_secs())
}

fn date_of(seconds: u64) -> String {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut days, minutes) = (seconds / 86_400, seconds % 86_400 / 60);
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for len in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < len {
            break;
        }
        days -= len;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}T{:02}:{:02}Z", days + 1, minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_know_leap_years() {
        assert_eq!(date_of(0), "1970-01-01T00:00Z");
        assert_eq!(date_of(951_782_399), "2000-02-28T23:59Z");
        assert_eq!(date_of(951_782_400), "2000-02-29T00:00Z");
        assert_eq!(date_of(1_798_761_599), "2026-12-31T23:59Z");
        assert_eq!(date_of(4_107_542_400), "2100-03-01T00:00Z");
    }

    #[test]
    fn a_file_is_known_by_its_start() {
        // Test vectors of the hash's authors.
        assert_eq!((fnv1a(b""), fnv1a(b"foobar")), (0xcbf2_9ce4_8422_2325, 0x8594_4171_f739_67e8));
        let file = ModelFile::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
        assert_eq!(file.name, "Cargo.toml");
        assert!(file.bytes > 100);
        let error = ModelFile::of(Path::new("no/such.gguf")).unwrap_err().to_string();
        assert_eq!(error, "cannot read the model no/such.gguf");
    }

    #[test]
    fn the_processor_has_a_name() {
        assert_eq!(cpu_name("processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: x\n"), "AMD EPYC");
        assert_eq!(cpu_name(""), "unknown");
    }
}
