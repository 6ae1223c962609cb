//! What follows from the runs that count: medians, ratios of medians, and where memory sets the limit.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::engine::TESTS;
use super::record::Run;
use super::stats::{median, rounded};

/// The engine that the others are compared with.
const SUBJECT: &str = "shoal";

/// All that may be quoted.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    /// Median of the rooflines of the runs that count.
    pub(super) memory_reads_gb_per_s: Option<f64>,
    /// Bytes of weights that shoal reads for a token, by test.
    pub(super) bytes_per_token: BTreeMap<String, f64>,
    pub(super) results: Vec<TestResult>,
}

/// One engine in one test.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct TestResult {
    pub(super) test: String,
    pub(super) engine: String,
    pub(super) runs_counted: usize,
    pub(super) tokens_per_s_median: Option<f64>,
    pub(super) tokens_per_s_min: Option<f64>,
    pub(super) tokens_per_s_max: Option<f64>,
    /// Median of shoal over the median of this engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shoal_is_times: Option<f64>,
    /// Decoding only: tokens per second over what reading the weights once for each token would allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) roofline_share: Option<f64>,
}

impl Summary {
    /// Summarises the runs of `engines`, in that order.
    pub(super) fn of(runs: &[Run], engines: &[String], bytes_per_token: &BTreeMap<String, f64>) -> Self {
        let counted: Vec<&Run> = runs.iter().filter(|run| run.thrown_away.is_none()).collect();
        let reads: Vec<f64> = counted.iter().filter_map(|run| run.memory_reads_gb_per_s).collect();
        let speeds = |engine: &str, test: &str| -> Vec<f64> {
            let own = counted.iter().filter(|run| run.engine == engine);
            own.filter_map(|run| run.tokens_per_s.get(test).copied()).collect()
        };
        let read = median(&reads);
        let mut results = Vec::new();
        for test in TESTS {
            let subject = median(&speeds(SUBJECT, test));
            let limit = read.zip(bytes_per_token.get(test)).filter(|_| test.starts_with("tg"));
            let limit = limit.map(|(read, bytes)| read * 1e9 / bytes);
            for engine in engines {
                let speeds = speeds(engine, test);
                let middle = median(&speeds);
                let ratio = subject.zip(middle).filter(|_| engine != SUBJECT);
                results.push(TestResult {
                    test: test.to_owned(),
                    engine: engine.clone(),
                    runs_counted: speeds.len(),
                    tokens_per_s_median: middle.map(rounded),
                    tokens_per_s_min: speeds.iter().copied().reduce(f64::min).map(rounded),
                    tokens_per_s_max: speeds.iter().copied().reduce(f64::max).map(rounded),
                    shoal_is_times: ratio.map(|(subject, peer)| rounded(subject / peer)),
                    roofline_share: middle.zip(limit).map(|(speed, limit)| rounded(speed / limit)),
                });
            }
        }
        Self { memory_reads_gb_per_s: read.map(rounded), bytes_per_token: bytes_per_token.clone(), results }
    }

    /// The table for the screen.
    pub(super) fn table(&self) -> String {
        let width = self.results.iter().map(|result| result.engine.len()).max().unwrap_or(0).max(6);
        let number = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let mut table = format!(
            "{:<6} {:<width$} {:>10} {:>21} {:>5} {:>12} {:>9}\n",
            "test", "engine", "tokens/s", "min .. max", "runs", "shoal is", "roofline"
        );
        for result in &self.results {
            let spread =
                format!("{} .. {}", number(result.tokens_per_s_min, 1), number(result.tokens_per_s_max, 1));
            let times = result.shoal_is_times.map(|times| format!("{times:.2} times"));
            let share = result.roofline_share.map(|share| format!("{:.0} %", 100.0 * share));
            // Writing to a text does not fail.
            let _ = writeln!(
                table,
                "{:<6} {:<width$} {:>10} {:>21} {:>5} {:>12} {:>9}",
                result.test,
                result.engine,
                number(result.tokens_per_s_median, 1),
                spread,
                result.runs_counted,
                times.unwrap_or_default(),
                share.unwrap_or_default()
            );
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::Noise;
    use super::*;

    fn run(engine: &str, speed: f64, thrown_away: Option<&str>) -> Run {
        Run {
            round: 1,
            engine: engine.to_owned(),
            attempt: 1,
            tokens_per_s: TESTS.iter().map(|&test| (test.to_owned(), speed)).collect(),
            memory_reads_gb_per_s: (engine == SUBJECT).then_some(20.0),
            seconds: 1.0,
            noise: Noise { wait_share: 0.0, steal_share: 0.0, others_share: 0.0 },
            thrown_away: thrown_away.map(str::to_owned),
        }
    }

    fn summary(runs: &[Run]) -> Summary {
        let bytes = TESTS.iter().map(|&test| (test.to_owned(), 1e8)).collect();
        Summary::of(runs, &["shoal".to_owned(), "peer".to_owned()], &bytes)
    }

    #[test]
    fn noisy_runs_change_nothing_and_ratios_are_of_medians() {
        let runs = [
            run("shoal", 100.0, None),
            run("shoal", 120.0, None),
            run("shoal", 900.0, None),
            run("peer", 40.0, None),
            run("peer", 7.0, Some("it waited")),
            run("peer", 80.0, None),
        ];
        let summary = summary(&runs);
        let [subject, peer] = [4, 5].map(|i| &summary.results[i]);
        assert_eq!((subject.test.as_str(), subject.engine.as_str()), ("tg32", "shoal"));
        assert_eq!((subject.tokens_per_s_median, subject.shoal_is_times), (Some(120.0), None));
        assert_eq!((peer.tokens_per_s_median, peer.shoal_is_times), (Some(60.0), Some(2.0)));
        assert_eq!(
            (peer.runs_counted, peer.tokens_per_s_min, peer.tokens_per_s_max),
            (2, Some(40.0), Some(80.0))
        );
        // 20 GB/s allow 200 tokens of 100 MB.
        assert_eq!((subject.roofline_share, peer.roofline_share), (Some(0.6), Some(0.3)));
        assert_eq!(summary.results[0].roofline_share, None, "a prompt reads weights once for many tokens");
    }

    #[test]
    fn an_engine_without_a_quiet_run_has_no_number() {
        let summary = summary(&[run("shoal", 100.0, None), run("peer", 50.0, Some("it waited"))]);
        let peer = &summary.results[1];
        assert_eq!((peer.runs_counted, peer.tokens_per_s_median, peer.shoal_is_times), (0, None, None));
        let table = summary.table();
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[2], ["pp128", "peer", "-", "-", "..", "-", "0"]);
        assert_eq!(lines[5], ["tg32", "shoal", "100.0", "100.0", "..", "100.0", "1", "50", "%"]);
    }
}
