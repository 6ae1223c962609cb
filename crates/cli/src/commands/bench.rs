//! `shoal bench`: tokens per second of prompts and of decoding, and what binds them.
//!
//! Tokens are pseudo-random, so that experts are chosen as widely as in varied text, and others in every run, so that a
//! run does not find in memory what the run before it left there. Each test runs once uncounted, then `--runs` times; the median is
//! the number to quote. The bounds of the machine are measured in the same run. With `--profile` each test runs as often
//! again with a clock in every operation, which its number does not see.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use shoal_base::{Prng, TokenId};
use shoal_engine::Scorer;
use shoal_engine::scorer::Want;
use shoal_kernels::profile::Profile;
use shoal_model::Phase;
use shoal_plan::Model;

use crate::args::BenchArgs;
use crate::division::Division;
use crate::environment::Environment;
use crate::loaded::{Loaded, Measure, Runtime, load};
use crate::meter::{BoundShare, Disk, PhaseMeter, Rates};
use crate::planner::observe;
use crate::profile_table;
use crate::resolve::open_model;
use crate::synthetic::Slice;

const SEED: u64 = 20_26;
/// Of the runs that count.
const COUNTED_SEED: u64 = SEED + 1;

struct Test {
    name: String,
    tokens: usize,
    phase: Phase,
}

/// The tests that the arguments name; a test of 0 tokens is none.
fn tests(args: &BenchArgs) -> Vec<Test> {
    let prompt = |&tokens: &usize| Test { name: format!("pp{tokens}"), tokens, phase: Phase::Prefill };
    let decode = |&tokens: &usize| Test { name: format!("tg{tokens}"), tokens, phase: Phase::Decode };
    let all = args.prompt_tokens.iter().map(prompt).chain(args.decode_tokens.iter().map(decode));
    all.filter(|test| test.tokens > 0).collect()
}

#[derive(Serialize)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

/// What came of a test.
#[derive(Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    model: String,
    isa: &'static str,
    threads: usize,
    runs: usize,
    /// Of the run that does not count.
    first_tokens_per_s: f64,
    tokens_per_s: Spread,
    bytes_per_token: f64,
    gb_per_s: f64,
    bandwidth_gb_per_s: f64,
    int8_gmac_per_s: f64,
    bf16_gmac_per_s: f64,
    bound: Option<String>,
    bound_share: Option<f64>,
    drive_gb_per_s: Option<f64>,
    disk: Option<Disk>,
    memory: Division,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Vec<profile_table::Row>>,
    /// Of all layers, where some were measured.
    #[serde(flatten)]
    whole_model: Option<Whole>,
}

/// What some layers foretell of the whole model.
#[derive(Serialize)]
struct Whole {
    #[serde(rename = "whole_model_tokens_per_s")]
    tokens_per_s: f64,
    #[serde(rename = "whole_model_bound")]
    bound: Option<String>,
    #[serde(rename = "whole_model_bound_share")]
    bound_share: Option<f64>,
}

impl Outcome {
    /// Of the whole model, also where some layers were measured.
    pub(crate) fn whole_tokens_per_s(&self) -> f64 {
        self.whole_model.as_ref().map_or(self.tokens_per_s.median, |whole| whole.tokens_per_s)
    }
}

impl Whole {
    fn new(meter: &PhaseMeter, rates: &Rates) -> Self {
        let bound = meter.bound(rates);
        Self {
            tokens_per_s: meter.tokens_per_s(),
            bound_share: bound.as_ref().map(|bound| bound.share),
            bound: bound.map(|bound| bound.limit),
        }
    }
}

/// What happens while tests run.
pub(crate) enum Event<'a> {
    /// Everything is loaded and measured.
    Begin(&'a Loaded, &'a Rates),
    /// A test is done: what binds it, and what the whole model is if some layers stand for it.
    Done(&'a Outcome, Option<BoundShare>, Option<&'a Slice>),
}

pub(crate) fn run(args: &BenchArgs, environment: &Environment) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    outcomes(args, environment, &mut |event| {
        match event {
            Event::Begin(..) if args.json => {}
            Event::Begin(loaded, rates) => print_head(&mut out, loaded, rates)?,
            Event::Done(outcome, ..) if args.json => {
                serde_json::to_writer(&mut out, outcome)?;
                writeln!(out)?;
            }
            Event::Done(outcome, bound, slice) => print_outcome(&mut out, outcome, bound, slice)?,
        }
        Ok(out.flush()?)
    })?;
    Ok(())
}

/// Runs the tests that the arguments name. What they show is kept for later plans.
pub(crate) fn outcomes(
    args: &BenchArgs,
    environment: &Environment,
    tell: &mut dyn FnMut(Event<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Outcome>> {
    let runtime = Runtime::new(&args.runtime, Measure::Anew, environment)?;
    // Products are measured before a model takes the memory.
    let prepare = |model: &Model| observe::prepare(model, &runtime, environment);
    let (loaded, plan_model, slice) = match &args.synthetic {
        None => {
            let checkpoint = open_model(args.model.as_deref(), environment)?;
            let plan_model = Model::of_checkpoint(&checkpoint);
            plan_model.iter().for_each(prepare);
            // What is wrong with a file is said as everywhere.
            (load(checkpoint, &runtime)?, plan_model?, None)
        }
        Some(name) => {
            let folder = args.scratch_dir.as_ref().unwrap_or(&environment.cache_dir);
            let slice = Slice::new(name, args.layers.into(), args.mix)?;
            let plan_model = slice.part_to_plan()?;
            prepare(&plan_model);
            (slice.load(folder, runtime)?, plan_model, Some(slice))
        }
    };
    let rates = loaded.rates.context("the machine was measured")?;
    tell(Event::Begin(&loaded, &rates))?;
    let tests = tests(args);
    let (mut outcomes, mut seen) = (Vec::new(), Vec::new());
    for test in &tests {
        if test.tokens > loaded.context_len {
            eprintln!("{} is left out: the context is {} tokens", test.name, loaded.context_len);
            continue;
        }
        let mut bench = Bench::new(test, &loaded);
        let timed = bench.measure(args.runs)?;
        let profile = (args.profile || slice.is_some()).then(|| bench.profile(args.runs)).transpose()?;
        let whole = slice.as_ref().zip(profile.as_ref());
        let whole_model =
            whole.map(|(slice, profile)| Whole::new(&slice.of_whole(&timed.meter(), profile), &rates));
        let rows = profile.filter(|_| args.profile).map(|profile| {
            profile_table::rows(&profile, test.tokens * usize::from(args.runs), &rates.bounds)
        });
        let outcome = Outcome { whole_model, ..outcome(test, &timed, &loaded, &rates, rows) };
        tell(Event::Done(&outcome, timed.meter().bound(&rates), slice.as_ref()))?;
        outcomes.push(outcome);
        seen.push(observe::Test {
            name: &test.name,
            phase: test.phase,
            tokens: test.tokens,
            runs: args.runs.into(),
            meter: timed.meter(),
        });
    }
    let bench = observe::Bench { model: &plan_model, loaded: &loaded, rates, is_random: slice.is_some() };
    bench.learn(&seen, environment);
    Ok(outcomes)
}

fn print_outcome(
    out: &mut impl Write,
    outcome: &Outcome,
    bound: Option<BoundShare>,
    slice: Option<&Slice>,
) -> std::io::Result<()> {
    print_line(out, outcome, bound)?;
    if let Some((slice, whole)) = slice.zip(outcome.whole_model.as_ref()) {
        write!(out, "       {:.2} tokens/s with {}", whole.tokens_per_s, slice.whole())?;
        match (&whole.bound, whole.bound_share) {
            (Some(limit), Some(share)) => writeln!(out, ", {}", BoundShare { limit: limit.clone(), share })?,
            _ => writeln!(out)?,
        }
    }
    match &outcome.profile {
        Some(rows) => profile_table::print(out, rows),
        None => Ok(()),
    }
}

fn print_head(out: &mut impl Write, loaded: &Loaded, rates: &Rates) -> std::io::Result<()> {
    let bounds = &rates.bounds;
    let drive = rates.drive_bytes_per_s.map(|rate| format!(" · drive {:.2} GB/s", rate / 1e9));
    writeln!(out, "{}", loaded.division.line())?;
    writeln!(
        out,
        "{} · {} · {} threads · memory reads {:.1} GB/s · int8 {:.1} GMAC/s · bf16 {:.1} GMAC/s{}",
        loaded.name,
        loaded.isa,
        bounds.threads,
        bounds.read_bytes_per_s / 1e9,
        bounds.int8_macs_per_s / 1e9,
        bounds.bf16_macs_per_s / 1e9,
        drive.unwrap_or_default()
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
    )?;
    match &outcome.disk {
        Some(disk) if disk.bytes_per_token > 0.0 => writeln!(out, "       {disk}"),
        _ => Ok(()),
    }
}

struct Timed {
    /// The one that does not count.
    first: Duration,
    /// Sorted by time.
    runs: Vec<PhaseMeter>,
}

impl Timed {
    /// All runs, as if each had taken as long as the median one: what they did differs a little, for their tokens do.
    fn meter(&self) -> PhaseMeter {
        let median = self.runs[self.runs.len() / 2].time;
        let mut all = PhaseMeter::default();
        for run in &self.runs {
            all.tokens += run.tokens;
            all.time += median;
            all.work = all.work + run.work;
            all.traffic = all.traffic + run.traffic;
        }
        all
    }
}

/// A test made ready to run.
struct Bench<'a> {
    loaded: &'a Loaded,
    scorer: Scorer<'a>,
    prng: Prng,
    tokens: usize,
    phase: Phase,
}

impl<'a> Bench<'a> {
    fn new(test: &Test, loaded: &'a Loaded) -> Self {
        let scorer = Scorer::new(&loaded.model, test.tokens);
        Self { loaded, scorer, prng: Prng::new(SEED), tokens: test.tokens, phase: test.phase }
    }

    fn run(&mut self) -> anyhow::Result<PhaseMeter> {
        let model = &self.loaded.model;
        let vocab_size = model.config().common().vocab_size as u64;
        let tokens: Vec<TokenId> =
            (0..self.tokens).map(|_| TokenId(self.prng.below(vocab_size) as u32)).collect();
        self.scorer.clear();
        let step_len = if self.phase == Phase::Decode { 1 } else { self.loaded.prefill_chunk };
        let (work_before, traffic_before, start) = (model.work(), model.traffic(), Instant::now());
        for tokens in tokens.chunks(step_len) {
            self.scorer.push(tokens, self.phase, Want::Last)?;
        }
        Ok(PhaseMeter {
            tokens: self.tokens,
            time: start.elapsed(),
            work: model.work() - work_before,
            traffic: model.traffic() - traffic_before,
        })
    }

    fn measure(&mut self, runs: u16) -> anyhow::Result<Timed> {
        let first = self.run()?.time;
        self.prng = Prng::new(COUNTED_SEED);
        let mut runs = (0..runs).map(|_| self.run()).collect::<anyhow::Result<Vec<_>>>()?;
        runs.sort_unstable_by_key(|run| run.time);
        Ok(Timed { first, runs })
    }

    fn profile(&mut self, runs: u16) -> anyhow::Result<Profile> {
        // The tokens of the counted runs.
        self.prng = Prng::new(COUNTED_SEED);
        let model = &self.loaded.model;
        let (result, profile) = model.profile(|| (0..runs).try_for_each(|_| self.run().map(|_| ())));
        result.map(|()| profile)
    }
}

fn outcome(
    test: &Test,
    timed: &Timed,
    loaded: &Loaded,
    rates: &Rates,
    profile: Option<Vec<profile_table::Row>>,
) -> Outcome {
    let meter = timed.meter();
    let bound = meter.bound(rates);
    let bounds = &rates.bounds;
    Outcome {
        name: test.name.clone(),
        model: loaded.name.clone(),
        isa: loaded.isa.name(),
        threads: loaded.model.pool().thread_count(),
        runs: timed.runs.len(),
        first_tokens_per_s: test.tokens as f64 / timed.first.as_secs_f64(),
        tokens_per_s: Spread {
            median: meter.tokens_per_s(),
            min: timed.runs[timed.runs.len() - 1].tokens_per_s(),
            max: timed.runs[0].tokens_per_s(),
        },
        bytes_per_token: meter.bytes_per_token(),
        gb_per_s: meter.gb_per_s(),
        bandwidth_gb_per_s: bounds.read_bytes_per_s / 1e9,
        int8_gmac_per_s: bounds.int8_macs_per_s / 1e9,
        bf16_gmac_per_s: bounds.bf16_macs_per_s / 1e9,
        bound_share: bound.as_ref().map(|bound| bound.share),
        bound: bound.map(|bound| bound.limit),
        drive_gb_per_s: rates.drive_bytes_per_s.map(|rate| rate / 1e9),
        disk: meter.disk(rates),
        memory: loaded.division,
        profile,
        whole_model: None,
    }
}
