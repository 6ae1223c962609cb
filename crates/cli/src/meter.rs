//! How fast it went, and against what bound.

use std::time::Duration;

use serde::Serialize;
use shoal_engine::StepReport;

/// Tokens, time and bytes of one phase.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PhaseMeter {
    pub(crate) tokens: usize,
    pub(crate) time: Duration,
    pub(crate) weight_bytes: u64,
}

impl PhaseMeter {
    pub(crate) fn tokens_per_s(&self) -> f64 {
        self.tokens as f64 / self.time.as_secs_f64().max(1e-9)
    }

    pub(crate) fn bytes_per_token(&self) -> f64 {
        self.weight_bytes as f64 / (self.tokens.max(1) as f64)
    }

    pub(crate) fn gb_per_s(&self) -> f64 {
        self.weight_bytes as f64 / self.time.as_secs_f64().max(1e-9) / 1e9
    }

    fn add(&mut self, tokens: usize, time: Duration, weight_bytes: u64) {
        self.tokens += tokens;
        self.time += time;
        self.weight_bytes += weight_bytes;
    }
}

/// Prefill and decode of one answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    pub(crate) prefill: PhaseMeter,
    pub(crate) decode: PhaseMeter,
}

impl Meter {
    /// Counts a step to the phase that most of its tokens are of.
    pub(crate) fn add(&mut self, report: &StepReport, time: Duration) {
        if report.prefill_tokens > 0 {
            self.prefill.add(report.prefill_tokens, time, report.weight_bytes);
        } else {
            self.decode.add(report.decode_tokens, time, report.weight_bytes);
        }
    }

    /// One line: speeds, bytes per token, and the share of the memory bandwidth `bandwidth` (bytes per second).
    pub(crate) fn line(&self, bandwidth: f64) -> String {
        let mut parts = Vec::new();
        if self.prefill.tokens > 0 {
            parts.push(format!(
                "prompt {} tokens at {:.1} tokens/s",
                self.prefill.tokens,
                self.prefill.tokens_per_s()
            ));
        }
        if self.decode.tokens > 0 {
            let decode = &self.decode;
            parts.push(format!("answer at {:.1} tokens/s", decode.tokens_per_s()));
            parts.push(format!(
                "{:.1} MB/token, {:.1} of {:.1} GB/s ({:.0} % of memory bandwidth)",
                decode.bytes_per_token() / 1e6,
                decode.gb_per_s(),
                bandwidth / 1e9,
                100.0 * decode.gb_per_s() * 1e9 / bandwidth
            ));
        }
        parts.join(" · ")
    }

    /// The same numbers for machines.
    pub(crate) fn timings(&self, bandwidth: f64) -> Timings {
        Timings {
            prefill_tokens: self.prefill.tokens,
            prefill_tokens_per_s: self.prefill.tokens_per_s(),
            decode_tokens: self.decode.tokens,
            decode_tokens_per_s: self.decode.tokens_per_s(),
            bytes_per_token: self.decode.bytes_per_token(),
            gb_per_s: self.decode.gb_per_s(),
            bandwidth_gb_per_s: bandwidth / 1e9,
            bandwidth_share: self.decode.gb_per_s() * 1e9 / bandwidth,
        }
    }
}

/// [`Meter`] as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Timings {
    prefill_tokens: usize,
    prefill_tokens_per_s: f64,
    decode_tokens: usize,
    decode_tokens_per_s: f64,
    bytes_per_token: f64,
    gb_per_s: f64,
    bandwidth_gb_per_s: f64,
    bandwidth_share: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_to_their_phase_and_the_line_divides_rightly() {
        let mut meter = Meter::default();
        let report = |prefill_tokens, decode_tokens, weight_bytes| StepReport {
            prefill_tokens,
            decode_tokens,
            weight_bytes,
        };
        meter.add(&report(100, 0, 5_000_000), Duration::from_millis(500));
        meter.add(&report(0, 1, 10_000_000), Duration::from_millis(10));
        meter.add(&report(0, 1, 10_000_000), Duration::from_millis(10));
        let line = meter.line(4e9);
        assert_eq!(
            line,
            "prompt 100 tokens at 200.0 tokens/s · answer at 100.0 tokens/s · \
             10.0 MB/token, 1.0 of 4.0 GB/s (25 % of memory bandwidth)"
        );
    }
}
