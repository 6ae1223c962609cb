//! How fast it went, and against what bound.

use std::time::Duration;

use serde::Serialize;
use shoal_engine::StepReport;
use shoal_kernels::Work;
use shoal_kernels::roofline::{Bound, Bounds};

/// Tokens, time and work of one phase.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PhaseMeter {
    pub(crate) tokens: usize,
    pub(crate) time: Duration,
    pub(crate) work: Work,
}

impl PhaseMeter {
    pub(crate) fn tokens_per_s(&self) -> f64 {
        self.tokens as f64 / self.time.as_secs_f64().max(1e-9)
    }

    pub(crate) fn bytes_per_token(&self) -> f64 {
        self.work.weight_bytes as f64 / (self.tokens.max(1) as f64)
    }

    pub(crate) fn gb_per_s(&self) -> f64 {
        self.work.weight_bytes as f64 / self.time.as_secs_f64().max(1e-9) / 1e9
    }

    /// What binds it, and the share of the bound that it reached.
    pub(crate) fn bound(&self, bounds: &Bounds) -> Option<BoundShare> {
        let bound = bounds.of(&self.work)?;
        Some(BoundShare { bound, share: bound.share_of(self.time) })
    }

    fn add(&mut self, tokens: usize, time: Duration, work: Work) {
        self.tokens += tokens;
        self.time += time;
        self.work = self.work + work;
    }
}

/// A bound and how near something came to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoundShare {
    pub(crate) bound: Bound,
    /// 1 is perfect.
    pub(crate) share: f64,
}

impl BoundShare {
    /// The name of what binds, for machines.
    pub(crate) fn name(&self) -> String {
        self.bound.limit.to_string()
    }
}

impl std::fmt::Display for BoundShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} % of the {} bound", 100.0 * self.share, self.bound.limit)
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
            self.prefill.add(report.prefill_tokens, time, report.work);
        } else {
            self.decode.add(report.decode_tokens, time, report.work);
        }
    }

    /// One line: speeds, bytes per token, and the share of what `bounds` allow.
    pub(crate) fn line(&self, bounds: &Bounds) -> String {
        let mut parts = Vec::new();
        let with_bound = |text: String, phase: &PhaseMeter| match phase.bound(bounds) {
            Some(bound) => format!("{text}, {bound}"),
            None => text,
        };
        let Self { prefill, decode } = self;
        if prefill.tokens > 0 {
            let text = format!("prompt {} tokens at {:.1} tokens/s", prefill.tokens, prefill.tokens_per_s());
            parts.push(with_bound(text, prefill));
        }
        if decode.tokens > 0 {
            parts.push(format!("answer at {:.1} tokens/s", decode.tokens_per_s()));
            let text =
                format!("{:.1} MB/token at {:.1} GB/s", decode.bytes_per_token() / 1e6, decode.gb_per_s());
            parts.push(with_bound(text, decode));
        }
        parts.join(" · ")
    }

    /// The same numbers for machines.
    pub(crate) fn timings(&self, bounds: &Bounds) -> Timings {
        let (prefill_bound, decode_bound) = (self.prefill.bound(bounds), self.decode.bound(bounds));
        Timings {
            prefill_tokens: self.prefill.tokens,
            prefill_tokens_per_s: self.prefill.tokens_per_s(),
            prefill_bound: prefill_bound.map(|bound| bound.name()),
            prefill_bound_share: prefill_bound.map(|bound| bound.share),
            decode_tokens: self.decode.tokens,
            decode_tokens_per_s: self.decode.tokens_per_s(),
            decode_bound: decode_bound.map(|bound| bound.name()),
            decode_bound_share: decode_bound.map(|bound| bound.share),
            bytes_per_token: self.decode.bytes_per_token(),
            gb_per_s: self.decode.gb_per_s(),
            bandwidth_gb_per_s: bounds.read_bytes_per_s / 1e9,
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
    decode_tokens: usize,
    decode_tokens_per_s: f64,
    decode_bound: Option<String>,
    decode_bound_share: Option<f64>,
    bytes_per_token: f64,
    gb_per_s: f64,
    bandwidth_gb_per_s: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_to_their_phase_and_the_line_divides_rightly() {
        let mut meter = Meter::default();
        let report = |prefill_tokens, decode_tokens, weight_bytes| {
            let int8_macs = 10_000_000 * (prefill_tokens + decode_tokens) as u64;
            let work = Work { weight_bytes, int8_macs, float_macs: 0 };
            StepReport { prefill_tokens, decode_tokens, work }
        };
        meter.add(&report(100, 0, 5_000_000), Duration::from_millis(500));
        meter.add(&report(0, 1, 10_000_000), Duration::from_millis(10));
        meter.add(&report(0, 1, 10_000_000), Duration::from_millis(10));
        let bounds = Bounds { threads: 1, read_bytes_per_s: 4e9, int8_macs_per_s: 8e9, bf16_macs_per_s: 1e9 };
        assert_eq!(
            meter.line(&bounds),
            "prompt 100 tokens at 200.0 tokens/s, 25 % of the int8 arithmetic bound · \
             answer at 100.0 tokens/s · 10.0 MB/token at 1.0 GB/s, 25 % of the memory bound"
        );
        assert_eq!(Meter::default().line(&bounds), "", "nothing ran");
    }
}
