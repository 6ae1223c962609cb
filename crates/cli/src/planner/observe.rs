//! From a bench to what a planner learns from it.

use shoal_base::Bytes;
use shoal_model::Phase;
use shoal_plan::calibration::Observation;
use shoal_plan::machine::Constants;
use shoal_plan::model::Model;
use shoal_plan::place::Placement;
use shoal_plan::step::{self, Load, step_time};

use crate::environment::Environment;
use crate::loaded::{Loaded, Runtime};
use crate::meter::{PhaseMeter, Rates};
use crate::planner::here::{formats, machine};
use crate::planner::learned::{Row, learn};
use crate::planner::probe::{Probe, Wanted};

/// One test that was run.
pub(crate) struct Test<'a> {
    pub(crate) name: &'a str,
    pub(crate) phase: Phase,
    /// Tokens of one run.
    pub(crate) tokens: usize,
    /// Counted runs.
    pub(crate) runs: usize,
    /// All of them.
    pub(crate) meter: PhaseMeter,
}

/// Measures what a bench of `model` needs to be learned from, as far as it is not kept.
pub(crate) fn prepare(model: &Model, runtime: &Runtime, environment: &Environment) {
    let memory = runtime.memory().map_or(u64::MAX, |memory| memory.0);
    let (cache_dir, isa, threads) = (&environment.cache_dir, runtime.isa, runtime.threads);
    Probe::new(
        &Wanted { cache_dir, isa, threads, anew: false, memory, drive: false },
        &formats([model].into_iter()),
    );
}

/// What a bench is of.
pub(crate) struct Bench<'a> {
    pub(crate) model: &'a Model,
    pub(crate) loaded: &'a Loaded,
    pub(crate) rates: Rates,
    /// Random weights ask for experts evenly, which says nothing of texts.
    pub(crate) is_random: bool,
}

impl Bench<'_> {
    /// Keeps what `tests` have shown for later plans.
    pub(crate) fn learn(&self, tests: &[Test<'_>], environment: &Environment) {
        let (loaded, cache_dir) = (self.loaded, &environment.cache_dir);
        let threads = self.rates.bounds.threads;
        let wanted = Wanted { cache_dir, isa: loaded.isa, threads, anew: false, memory: 0, drive: false };
        // Nothing is measured here, where the memory is the model's.
        let Some(probe) = Probe::kept(&wanted, &formats([self.model].into_iter())) else { return };
        let rows = tests.iter().map(|test| Row {
            model: loaded.name.clone(),
            test: test.name.to_owned(),
            threads,
            memory: loaded.division.total,
            observation: self.observation(test, &probe),
        });
        learn(cache_dir, loaded.isa, rows.collect());
    }

    fn observation(&self, test: &Test<'_>, probe: &Probe) -> Observation {
        /// Products and attention alone.
        const NONE: Constants = Constants {
            layer_s: 0.0,
            element_s: 0.0,
            decode_expert_factor: 1.0,
            prefill_expert_factor: 1.0,
            decode_factor: 1.0,
            prefill_factor: 1.0,
            wait_share: 0.0,
            reuse: 1.0,
        };
        let division = &self.loaded.division;
        let (slots, experts) = (division.expert_slots as f64, division.expert_count as f64);
        let in_memory = if experts > 0.0 { slots / experts } else { 1.0 };
        let chunk = self.loaded.prefill_chunk.min(test.tokens).max(1);
        let (phase, tokens, context) = match test.phase {
            Phase::Prefill => (step::Phase::Prefill, chunk, test.tokens as f64),
            Phase::Decode => (step::Phase::Decode, 1, test.tokens as f64 / 2.0),
        };
        let steps = (test.tokens.div_ceil(tokens) * test.runs) as f64;
        let machine = machine(probe, Bytes(0), NONE, 1.0);
        let on_drive = if in_memory < 1.0 { self.model.bytes() } else { 0.0 };
        let placement =
            Placement { dense: vec![1.0], experts: vec![in_memory], copies: 1.0, memory: 0.0, on_drive };
        let load = Load { phase, streams: 1.0, tokens: tokens as f64, context };
        let time = step_time(self.model, &machine, &placement, load);
        let read = test.meter.traffic.read_bytes as f64 / steps;
        let needed =
            self.model.bytes_of(shoal_plan::model::Role::Experts) * self.model.routed_share(tokens as f64);
        Observation {
            is_prefill: test.phase == Phase::Prefill,
            dense_s: time.dense,
            experts_s: time.experts,
            layers: self.model.layers as f64,
            elements: tokens as f64 * self.model.hidden as f64,
            attention_s: time.attention,
            drive_s: self.rates.drive_bytes_per_s.map_or(0.0, |rate| read / rate),
            in_memory: if self.is_random { 1.0 } else { in_memory },
            missing: if needed > 0.0 { (read / needed).min(1.5) } else { 0.0 },
            measured_s: test.meter.time.as_secs_f64() / steps,
        }
    }
}
