//! What benches on this machine have shown, kept in `FOLDER/learned.json`, and the constants that follow.

use std::path::Path;

use serde::{Deserialize, Serialize};
use shoal_plan::calibration::{Observation, fit};
use shoal_plan::machine::Constants;

use crate::roofline::{Machine, read_whole, write_whole};
use shoal_kernels::Isa;

/// Raised whenever numbers come to mean something else.
const FORMAT: u32 = 1;
const FILE_NAME: &str = "learned.json";
/// Observations that are remembered; the oldest go.
const ROWS_MAX: usize = 64;

/// What holds for shoal on a processor as long as no bench was run: see `benches/records` and decision 0015.
pub(crate) const BEFORE: Constants = Constants {
    layer_s: 3e-5,
    element_s: 2.5e-8,
    decode_factor: 1.2,
    decode_expert_factor: 1.13,
    prefill_factor: 0.95,
    prefill_expert_factor: 1.4,
    wait_share: 0.6,
    reuse: 0.6,
};
/// The factor within which predictions are then.
const SPREAD_BEFORE: f64 = 1.35;

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    machine: Machine,
    rows: Vec<Row>,
}

/// One test of one model under one limit; a later one takes its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) model: String,
    pub(crate) test: String,
    pub(crate) threads: usize,
    pub(crate) memory: Option<u64>,
    #[serde(flatten)]
    pub(crate) observation: Observation,
}

impl Row {
    fn is_of_the_same(&self, other: &Self) -> bool {
        (&self.model, &self.test, self.threads, self.memory)
            == (&other.model, &other.test, other.threads, other.memory)
    }
}

/// The constants for this machine with `threads` threads, and the factor within which predictions are.
pub(crate) fn constants(cache_dir: &Path, isa: Isa, threads: usize) -> (Constants, f64) {
    let rows = rows(cache_dir, isa);
    let own: Vec<Observation> =
        rows.iter().filter(|row| row.threads == threads).map(|row| row.observation).collect();
    fit(BEFORE, SPREAD_BEFORE, &own)
}

/// Keeps what a bench has shown.
pub(crate) fn learn(cache_dir: &Path, isa: Isa, new: Vec<Row>) {
    let mut rows = rows(cache_dir, isa);
    for row in new.into_iter().filter(|row| row.observation.is_sane()) {
        rows.retain(|old| !old.is_of_the_same(&row));
        rows.push(row);
    }
    let surplus = rows.len().saturating_sub(ROWS_MAX);
    rows.drain(..surplus);
    let file = File { format: FORMAT, machine: Machine::this(isa), rows };
    let text = serde_json::to_string_pretty(&file).expect("numbers and text are JSON");
    // Without the file the constants stay what they were.
    let _ = write_whole(cache_dir, FILE_NAME, &text);
}

fn rows(cache_dir: &Path, isa: Isa) -> Vec<Row> {
    read_whole(&cache_dir.join(FILE_NAME)).and_then(|text| parse(&text, isa)).unwrap_or_default()
}

fn parse(text: &str, isa: Isa) -> Option<Vec<Row>> {
    let file: File = serde_json::from_str(text).ok()?;
    let is_ours = file.format == FORMAT && file.machine == Machine::this(isa);
    (is_ours && file.rows.iter().all(|row| row.observation.is_sane())).then_some(file.rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(model: &str, measured_s: f64) -> Row {
        let observation = Observation {
            is_prefill: false,
            dense_s: 0.1,
            experts_s: 0.0,
            layers: 28.0,
            elements: 2048.0,
            attention_s: 0.0,
            drive_s: 0.0,
            in_memory: 1.0,
            missing: 0.0,
            measured_s,
        };
        Row { model: model.to_owned(), test: "tg32".to_owned(), threads: 2, memory: None, observation }
    }

    #[test]
    fn a_later_bench_takes_the_place_of_an_earlier_and_constants_follow() {
        let folder = tempfile::tempdir().expect("a folder");
        let (isa, dir) = (Isa::best(), folder.path());
        assert_eq!(constants(dir, isa, 2), (BEFORE, SPREAD_BEFORE));
        learn(dir, isa, vec![row("a", 0.3), row("b", f64::NAN)]);
        learn(dir, isa, vec![row("a", 0.2)]);
        assert_eq!(rows(dir, isa), vec![row("a", 0.2)]);
        let (found, _) = constants(dir, isa, 2);
        assert!(found.decode_factor > 1.2 * BEFORE.decode_factor, "{found:?}");
        assert_eq!(constants(dir, isa, 1).0, BEFORE, "with another number of threads nothing was seen");
        learn(dir, isa, (0..2 * ROWS_MAX).map(|n| row(&n.to_string(), 0.2)).collect());
        assert_eq!(rows(dir, isa).len(), ROWS_MAX);
    }

    #[test]
    fn a_file_that_says_what_cannot_be_is_as_good_as_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let (isa, dir) = (Isa::best(), folder.path());
        for text in ["", "[]", "{\"format\":1}"] {
            std::fs::write(dir.join(FILE_NAME), text).expect("written");
            assert_eq!(constants(dir, isa, 2).0, BEFORE, "{text}");
        }
        learn(dir, isa, vec![row("a", 0.3)]);
        let text = std::fs::read_to_string(dir.join(FILE_NAME)).expect("a file");
        let broken = text.replace("\"dense_s\": 0.1", "\"dense_s\": -0.1");
        assert_ne!(text, broken);
        assert_eq!(parse(&broken, isa), None);
    }
}
