//! `shoal bench`: tokens per second of prompts and of decoding, and what binds them.
//!
//! Tokens are a fixed pseudo-random sequence, so that experts are chosen as widely as in varied text. Each test runs
//! once uncounted, then `--runs` times; the median is the number to quote.

use std::io::Write;
use std::time::{Duration, Instant};

use serde::Serialize;
use shoal_base::{Prng, TokenId};
use shoal_engine::Scorer;
use shoal_engine::scorer::Want;
use shoal_kernels::bandwidth::measure_read_bandwidth;
use shoal_model::{Model, Phase};

use crate::args::BenchArgs;
use crate::environment::Environment;
use crate::loaded::{Runtime, load};
use crate::resolve::open_model;

const SEED: u64 = 20_26;

/// Share of the read bandwidth from which on memory is what binds; below, arithmetic is.
const MEMORY_BOUND_SHARE: f64 = 0.6;

struct Test {
    name: &'static str,
    tokens: usize,
    phase: Phase,
}

const TESTS: [Test; 3] = [
    Test { name: "pp128", tokens: 128, phase: Phase::Prefill },
    Test { name: "pp512", tokens: 512, phase: Phase::Prefill },
    Test { name: "tg32", tokens: 32, phase: Phase::Decode },
];

#[derive(Serialize)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

#[derive(Serialize)]
struct Outcome {
    name: &'static str,
    model: String,
    isa: &'static str,
    threads: usize,
    runs: usize,
    tokens_per_s: Spread,
    bytes_per_token: f64,
    gb_per_s: f64,
    bandwidth_gb_per_s: f64,
    bandwidth_share: f64,
    bound: &'static str,
}

pub(crate) fn run(args: &BenchArgs, environment: &Environment) -> anyhow::Result<()> {
    let runtime = Runtime::new(&args.runtime)?;
    let loaded = load(open_model(Some(&args.model), environment)?, &runtime)?;
    let bandwidth = measure_read_bandwidth(loaded.isa, loaded.model.pool());
    let mut out = std::io::stdout().lock();
    if !args.json {
        let threads = loaded.model.pool().thread_count();
        writeln!(
            out,
            "{} · {} · {threads} threads · memory reads {:.1} GB/s",
            loaded.name,
            loaded.isa,
            bandwidth / 1e9
        )?;
        writeln!(
            out,
            "{:<6} {:>10} {:>21} {:>10} {:>8}  bound",
            "test", "tokens/s", "min .. max", "MB/token", "GB/s"
        )?;
    }
    for test in TESTS.iter().filter(|test| test.tokens <= loaded.context_len) {
        let timed = measure(&loaded.model, test, args, loaded.context_len.min(512), loaded.prefill_chunk)?;
        let outcome = outcome(test, &timed, &loaded, bandwidth);
        if args.json {
            serde_json::to_writer(&mut out, &outcome)?;
            writeln!(out)?;
        } else {
            writeln!(
                out,
                "{:<6} {:>10.1} {:>10.1} .. {:>7.1} {:>10.2} {:>8.2}  {} ({:.0} % of memory bandwidth)",
                outcome.name,
                outcome.tokens_per_s.median,
                outcome.tokens_per_s.min,
                outcome.tokens_per_s.max,
                outcome.bytes_per_token / 1e6,
                outcome.gb_per_s,
                outcome.bound,
                100.0 * outcome.bandwidth_share
            )?;
        }
        out.flush()?;
    }
    Ok(())
}

struct Timed {
    /// Sorted.
    runs: Vec<Duration>,
    weight_bytes: u64,
}

fn measure(
    model: &Model,
    test: &Test,
    args: &BenchArgs,
    context: usize,
    chunk: usize,
) -> anyhow::Result<Timed> {
    let vocab_size = model.config().common().vocab_size as u64;
    let mut prng = Prng::new(SEED);
    let tokens: Vec<TokenId> = (0..test.tokens).map(|_| TokenId(prng.below(vocab_size) as u32)).collect();
    let mut scorer = Scorer::new(model, context);
    let mut runs = Vec::new();
    let mut weight_bytes = 0;
    for run in 0..=args.runs {
        scorer.clear();
        let bytes_before = model.weight_bytes_read();
        let start = Instant::now();
        let step_len = if test.phase == Phase::Decode { 1 } else { chunk };
        for tokens in tokens.chunks(step_len) {
            scorer.push(tokens, test.phase, Want::Last)?;
        }
        if run > 0 {
            runs.push(start.elapsed());
        }
        weight_bytes = model.weight_bytes_read() - bytes_before;
    }
    runs.sort_unstable();
    Ok(Timed { runs, weight_bytes })
}

fn outcome(test: &Test, timed: &Timed, loaded: &crate::loaded::Loaded, bandwidth: f64) -> Outcome {
    let speed = |time: Duration| test.tokens as f64 / time.as_secs_f64();
    let median = timed.runs[timed.runs.len() / 2];
    let gb_per_s = timed.weight_bytes as f64 / median.as_secs_f64() / 1e9;
    let bandwidth_share = gb_per_s * 1e9 / bandwidth;
    Outcome {
        name: test.name,
        model: loaded.name.clone(),
        isa: loaded.isa.name(),
        threads: loaded.model.pool().thread_count(),
        runs: timed.runs.len(),
        tokens_per_s: Spread {
            median: speed(median),
            min: speed(timed.runs[timed.runs.len() - 1]),
            max: speed(timed.runs[0]),
        },
        bytes_per_token: timed.weight_bytes as f64 / test.tokens as f64,
        gb_per_s,
        bandwidth_gb_per_s: bandwidth / 1e9,
        bandwidth_share,
        bound: if bandwidth_share >= MEMORY_BOUND_SHARE { "memory" } else { "compute" },
    }
}
