//! How fast it went, and against what bound.

use std::time::Duration;

use serde::Serialize;
use shoal_engine::StepReport;
use shoal_kernels::roofline::Bounds;
use shoal_model::{Traffic, Work};

/// What the machine gives at the most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) bounds: Bounds,
    /// Bytes per second of the drive that experts are read from, for reads of their size; `None` if there is none.
    pub(crate) drive_bytes_per_s: Option<f64>,
}

impl From<Bounds> for Rates {
    fn from(bounds: Bounds) -> Self {
        Self { bounds, drive_bytes_per_s: None }
    }
}

/// Tokens, time and work of one phase.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PhaseMeter {
    pub(crate) tokens: usize,
    pub(crate) time: Duration,
    pub(crate) work: Work,
    pub(crate) traffic: Traffic,
}

impl PhaseMeter {
    pub(crate) fn tokens_per_s(&self) -> f64 {
        self.tokens as f64 / self.seconds()
    }

    pub(crate) fn bytes_per_token(&self) -> f64 {
        self.work.weight_bytes as f64 / (self.tokens.max(1) as f64)
    }

    pub(crate) fn gb_per_s(&self) -> f64 {
        self.work.weight_bytes as f64 / self.seconds() / 1e9
    }

    fn seconds(&self) -> f64 {
        self.time.as_secs_f64().max(1e-9)
    }

    /// What binds it, and the share of the bound that it reached.
    pub(crate) fn bound(&self, rates: &Rates) -> Option<BoundShare> {
        let core = rates.bounds.of(&self.work);
        let disk = rates.drive_bytes_per_s.map_or(0.0, |rate| self.traffic.read_bytes as f64 / rate);
        let (seconds, limit) = match core {
            Some(bound) if bound.seconds >= disk => (bound.seconds, bound.limit.to_string()),
            None if disk == 0.0 => return None,
            _ => (disk, "disk".to_owned()),
        };
        Some(BoundShare { limit, share: seconds / self.seconds() })
    }

    /// What came from disk; `None` if no expert was needed.
    pub(crate) fn disk(&self, rates: &Rates) -> Option<Disk> {
        let Traffic { hits, misses, read_bytes, waited, ahead, ahead_used } = self.traffic;
        let needed = hits + misses;
        (needed > 0).then(|| Disk {
            bytes_per_token: read_bytes as f64 / self.tokens.max(1) as f64,
            gb_per_s: read_bytes as f64 / self.seconds() / 1e9,
            hit_rate: hits as f64 / needed as f64,
            duty: rates.drive_bytes_per_s.map(|rate| read_bytes as f64 / self.seconds() / rate),
            waited_share: waited.as_secs_f64() / self.seconds(),
            read_ahead: ahead,
            read_ahead_used: ahead_used,
        })
    }

    fn add(&mut self, tokens: usize, time: Duration, report: &StepReport) {
        self.tokens += tokens;
        self.time += time;
        self.work = self.work + report.work;
        self.traffic = self.traffic + report.traffic;
    }
}

/// A bound and how near something came to it.
#[derive(Clone, Debug)]
pub(crate) struct BoundShare {
    /// What binds.
    pub(crate) limit: String,
    /// 1 is perfect.
    pub(crate) share: f64,
}

impl std::fmt::Display for BoundShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} % of the {} bound", 100.0 * self.share, self.limit)
    }
}

/// What a phase read from disk.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Disk {
    pub(crate) bytes_per_token: f64,
    pub(crate) gb_per_s: f64,
    /// Experts that were in memory when they were needed, of all that were needed.
    pub(crate) hit_rate: f64,
    /// Bytes per second over what the drive gives.
    pub(crate) duty: Option<f64>,
    /// Time that computing stood still for the drive.
    pub(crate) waited_share: f64,
    pub(crate) read_ahead: u64,
    pub(crate) read_ahead_used: u64,
}

impl std::fmt::Display for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} MB/token from disk at {:.2} GB/s", self.bytes_per_token / 1e6, self.gb_per_s)?;
        if let Some(duty) = self.duty {
            write!(f, " ({:.0} % of the drive)", 100.0 * duty)?;
        }
        write!(f, ", {:.0} % of experts in memory", 100.0 * self.hit_rate)
    }
}

/// Prefill and decode of one answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    pub(crate) prefill: PhaseMeter,
    pub(crate) decode: PhaseMeter,
    /// Tokens that were guessed ahead, and those of them that came.
    pub(crate) drafted: usize,
    pub(crate) accepted: usize,
    /// How much faster that made it, if it is known.
    pub(crate) draft_gain: Option<f64>,
}

impl Meter {
    /// Counts a step to the phase that most of its tokens are of.
    pub(crate) fn add(&mut self, report: &StepReport, time: Duration) {
        self.drafted += report.drafted;
        self.accepted += report.accepted;
        if report.prefill_tokens > 0 {
            self.prefill.add(report.prefill_tokens, time, report);
        } else {
            self.decode.add(report.decode_tokens, time, report);
        }
    }

    /// One line: speeds, bytes per token from memory and from disk, and the share of what the machine allows.
    pub(crate) fn line(&self, rates: &Rates) -> String {
        let mut parts = Vec::new();
        let with_bound = |text: String, phase: &PhaseMeter| match phase.bound(rates) {
            Some(bound) => format!("{text}, {bound}"),
            None => text,
        };
        let Self { prefill, decode, .. } = self;
        if prefill.tokens > 0 {
            let text = format!("prompt {} tokens at {:.1} tokens/s", prefill.tokens, prefill.tokens_per_s());
            parts.push(with_bound(text, prefill));
        }
        if decode.tokens > 0 {
            parts.push(format!("answer at {:.1} tokens/s", decode.tokens_per_s()));
            let text =
                format!("{:.1} MB/token at {:.1} GB/s", decode.bytes_per_token() / 1e6, decode.gb_per_s());
            parts.push(with_bound(text, decode));
            parts.extend(
                decode.disk(rates).filter(|disk| disk.bytes_per_token > 0.0).map(|disk| disk.to_string()),
            );
        }
        if self.drafted > 0 {
            let share = 100.0 * self.accepted as f64 / self.drafted as f64;
            let gain = self.draft_gain.map(|gain| format!(", {gain:.2} times the speed"));
            parts.push(format!("{share:.0} % of {} guesses right{}", self.drafted, gain.unwrap_or_default()));
        }
        parts.join(" · ")
    }

    /// The same numbers for machines.
    pub(crate) fn timings(&self, rates: &Rates) -> Timings {
        let (prefill_bound, decode_bound) = (self.prefill.bound(rates), self.decode.bound(rates));
        Timings {
            prefill_tokens: self.prefill.tokens,
            prefill_tokens_per_s: self.prefill.tokens_per_s(),
            prefill_bound_share: prefill_bound.as_ref().map(|bound| bound.share),
            prefill_bound: prefill_bound.map(|bound| bound.limit),
            prefill_disk: self.prefill.disk(rates),
            decode_tokens: self.decode.tokens,
            decode_tokens_per_s: self.decode.tokens_per_s(),
            decode_bound_share: decode_bound.as_ref().map(|bound| bound.share),
            decode_bound: decode_bound.map(|bound| bound.limit),
            decode_disk: self.decode.disk(rates),
            bytes_per_token: self.decode.bytes_per_token(),
            gb_per_s: self.decode.gb_per_s(),
            bandwidth_gb_per_s: rates.bounds.read_bytes_per_s / 1e9,
            drive_gb_per_s: rates.drive_bytes_per_s.map(|rate| rate / 1e9),
            drafted: self.drafted,
            accepted: self.accepted,
            draft_gain: self.draft_gain,
        }
    }
}

/// [`Meter`] as JSON. Bytes are those of decoding.
#[derive(Debug, Serialize)]
pub(crate) struct Timings {
    prefill_tokens: usize,
    prefill_tokens_per_s: f64,
    prefill_bound: Option<String>,
    prefill_bound_share: Option<f64>,
    prefill_disk: Option<Disk>,
    decode_tokens: usize,
    decode_tokens_per_s: f64,
    decode_bound: Option<String>,
    decode_bound_share: Option<f64>,
    decode_disk: Option<Disk>,
    bytes_per_token: f64,
    gb_per_s: f64,
    bandwidth_gb_per_s: f64,
    drive_gb_per_s: Option<f64>,
    drafted: usize,
    accepted: usize,
    draft_gain: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds =
        Bounds { threads: 1, read_bytes_per_s: 4e9, int8_macs_per_s: 8e9, bf16_macs_per_s: 1e9 };

    #[test]
    fn steps_count_to_their_phase_and_the_line_divides_rightly() {
        let mut meter = Meter::default();
        let report = |prefill_tokens, decode_tokens, weight_bytes| {
            let int8_macs = 10_000_000 * (prefill_tokens + decode_tokens) as u64;
            let work = Work { weight_bytes, int8_macs, float_macs: 0 };
            StepReport { prefill_tokens, decode_tokens, work, ..StepReport::default() }
        };
        meter.add(&report(100, 0, 5_000_000), Duration::from_millis(500));
        meter.add(&report(0, 1, 10_000_000), Duration::from_millis(10));
        meter.add(&report(0, 1, 10_000_000), Duration::from_millis(10));
        let rates = Rates::from(BOUNDS);
        let guessed = Meter { drafted: 8, accepted: 6, draft_gain: Some(1.25), ..meter };
        assert!(guessed.line(&rates).ends_with(" · 75 % of 8 guesses right, 1.25 times the speed"));
        assert_eq!(
            meter.line(&rates),
            "prompt 100 tokens at 200.0 tokens/s, 25 % of the int8 arithmetic bound · \
             answer at 100.0 tokens/s · 10.0 MB/token at 1.0 GB/s, 25 % of the memory bound"
        );
        assert_eq!(Meter::default().line(&rates), "", "nothing ran");
    }

    #[test]
    fn a_drive_binds_when_it_takes_longest() {
        let traffic = Traffic { hits: 3, misses: 1, read_bytes: 40_000_000, ..Traffic::default() };
        let work = Work { weight_bytes: 100_000_000, ..Work::default() };
        let report = StepReport { decode_tokens: 2, work, traffic, ..StepReport::default() };
        let mut meter = Meter::default();
        meter.add(&report, Duration::from_millis(50));
        let rates = Rates { drive_bytes_per_s: Some(1e9), ..BOUNDS.into() };
        assert_eq!(
            meter.line(&rates),
            "answer at 40.0 tokens/s · 50.0 MB/token at 2.0 GB/s, 80 % of the disk bound · \
             20.0 MB/token from disk at 0.80 GB/s (80 % of the drive), 75 % of experts in memory"
        );
        let fast = Rates { drive_bytes_per_s: Some(1e12), ..BOUNDS.into() };
        assert!(meter.line(&fast).contains("50 % of the memory bound"));
    }
}
