//! `shoal bench`: tokens per second of prompts and of decoding, and what binds them.
//!
//! Tokens are a fixed pseudo-random sequence, so that experts are chosen as widely as in varied text. Each test runs
//! once uncounted, then `--runs` times; the median is the number to quote. The bounds of the machine are measured in the same run.
//! With `--profile` each test runs as often again with a clock in every operation, which its number does not see.

use std::io::Write;
use std::time::{Duration, Instant};

use serde::Serialize;
use shoal_base::{Prng, TokenId};
use shoal_engine::Scorer;
use shoal_engine::scorer::Want;
use shoal_kernels::profile::Profile;
use shoal_kernels::roofline::Bounds;
use shoal_model::{Phase, Work};

use crate::args::BenchArgs;
use crate::environment::Environment;
use crate::loaded::{Loaded, Runtime, load};
use crate::meter::{BoundShare, PhaseMeter};
use crate::profile_table;
use crate::resolve::open_model;
use crate::roofline::bounds_anew;

const SEED: u64 = 20_26;

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
    int8_gmac_per_s: f64,
    bf16_gmac_per_s: f64,
    bound: Option<String>,
    bound_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Vec<profile_table::Row>>,
}

pub(crate) fn run(args: &BenchArgs, environment: &Environment) -> anyhow::Result<()> {
    let runtime = Runtime::new(&args.runtime)?;
    let loaded = load(open_model(Some(&args.model), environment)?, &runtime)?;
    let bounds = bounds_anew(&environment.cache_dir, loaded.isa, loaded.model.pool().thread_count());
    let mut out = std::io::stdout().lock();
    if !args.json {
        print_head(&mut out, &loaded, &bounds)?;
    }
    for test in TESTS.iter().filter(|test| test.tokens <= loaded.context_len) {
        let mut bench = Bench::new(test, &loaded);
        let timed = bench.measure(args.runs)?;
        let profile = args.profile.then(|| bench.profile(args.runs)).transpose()?;
        let rows = profile
            .map(|profile| profile_table::rows(&profile, test.tokens * usize::from(args.runs), &bounds));
        let outcome = outcome(test, &timed, &loaded, &bounds, rows);
        if args.json {
            serde_json::to_writer(&mut out, &outcome)?;
            writeln!(out)?;
        } else {
            print_line(&mut out, &outcome, timed.bound(test, &bounds))?;
            if let Some(rows) = &outcome.profile {
                profile_table::print(&mut out, rows)?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

fn print_head(out: &mut impl Write, loaded: &Loaded, bounds: &Bounds) -> std::io::Result<()> {
    writeln!(
        out,
        "{} · {} · {} threads · memory reads {:.1} GB/s · int8 {:.1} GMAC/s · bf16 {:.1} GMAC/s",
        loaded.name,
        loaded.isa,
        bounds.threads,
        bounds.read_bytes_per_s / 1e9,
        bounds.int8_macs_per_s / 1e9,
        bounds.bf16_macs_per_s / 1e9
    )?;
    writeln!(
        out,
        "{:<6} {:>10} {:>21} {:>10} {:>8}  bound",
        "test", "tokens/s", "min .. max", "MB/token", "GB/s"
    )
}

fn print_line(out: &mut impl Write, outcome: &Outcome, bound: Option<BoundShare>) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<6} {:>10.1} {:>10.1} .. {:>7.1} {:>10.2} {:>8.2}  {}",
        outcome.name,
        outcome.tokens_per_s.median,
        outcome.tokens_per_s.min,
        outcome.tokens_per_s.max,
        outcome.bytes_per_token / 1e6,
        outcome.gb_per_s,
        bound.map_or_else(String::new, |bound| bound.to_string())
    )
}

struct Timed {
    /// Sorted.
    runs: Vec<Duration>,
    /// Of one run.
    work: Work,
}

impl Timed {
    /// The median run.
    fn meter(&self, test: &Test) -> PhaseMeter {
        PhaseMeter { tokens: test.tokens, time: self.runs[self.runs.len() / 2], work: self.work }
    }

    fn bound(&self, test: &Test, bounds: &Bounds) -> Option<BoundShare> {
        self.meter(test).bound(bounds)
    }
}

/// A test made ready to run.
struct Bench<'a> {
    loaded: &'a Loaded,
    scorer: Scorer<'a>,
    tokens: Vec<TokenId>,
    phase: Phase,
}

impl<'a> Bench<'a> {
    fn new(test: &Test, loaded: &'a Loaded) -> Self {
        let vocab_size = loaded.model.config().common().vocab_size as u64;
        let mut prng = Prng::new(SEED);
        let tokens = (0..test.tokens).map(|_| TokenId(prng.below(vocab_size) as u32)).collect();
        let scorer = Scorer::new(&loaded.model, loaded.context_len.min(512));
        Self { loaded, scorer, tokens, phase: test.phase }
    }

    fn run(&mut self) -> anyhow::Result<()> {
        self.scorer.clear();
        let step_len = if self.phase == Phase::Decode { 1 } else { self.loaded.prefill_chunk };
        for tokens in self.tokens.chunks(step_len) {
            self.scorer.push(tokens, self.phase, Want::Last)?;
        }
        Ok(())
    }

    fn measure(&mut self, runs: u16) -> anyhow::Result<Timed> {
        self.run()?;
        let work_before = self.loaded.model.work();
        let mut times = Vec::new();
        let mut work = Work::default();
        for run in 0..runs {
            let start = Instant::now();
            self.run()?;
            times.push(start.elapsed());
            if run == 0 {
                work = self.loaded.model.work() - work_before;
            }
        }
        times.sort_unstable();
        Ok(Timed { runs: times, work })
    }

    fn profile(&mut self, runs: u16) -> anyhow::Result<Profile> {
        let (result, profile) = self.loaded.model.profile(|| (0..runs).try_for_each(|_| self.run()));
        result.map(|()| profile)
    }
}

fn outcome(
    test: &Test,
    timed: &Timed,
    loaded: &Loaded,
    bounds: &Bounds,
    profile: Option<Vec<profile_table::Row>>,
) -> Outcome {
    let speed = |time: Duration| test.tokens as f64 / time.as_secs_f64();
    let meter = timed.meter(test);
    let bound = timed.bound(test, bounds);
    Outcome {
        name: test.name,
        model: loaded.name.clone(),
        isa: loaded.isa.name(),
        threads: loaded.model.pool().thread_count(),
        runs: timed.runs.len(),
        tokens_per_s: Spread {
            median: meter.tokens_per_s(),
            min: speed(timed.runs[timed.runs.len() - 1]),
            max: speed(timed.runs[0]),
        },
        bytes_per_token: meter.bytes_per_token(),
        gb_per_s: meter.gb_per_s(),
        bandwidth_gb_per_s: bounds.read_bytes_per_s / 1e9,
        int8_gmac_per_s: bounds.int8_macs_per_s / 1e9,
        bf16_gmac_per_s: bounds.bf16_macs_per_s / 1e9,
        bound: bound.map(|bound| bound.name()),
        bound_share: bound.map(|bound| bound.share),
        profile,
    }
}
