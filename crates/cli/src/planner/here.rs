//! This machine as a planner sees it, and what a model needs on it.
//!
//! Memory is divided by the same code that divides it when a model is loaded, so that the plan and the run agree; what
//! it leaves to experts is what the planner counts with.

use anyhow::{Context, bail};
use shoal_base::Bytes;
use shoal_checkpoint::Checkpoint;
use shoal_kernels::roofline::buffer_bytes;
use shoal_model::ModelConfig;
use shoal_plan::attention::KvFormat;
use shoal_plan::forecast::Ask;
use shoal_plan::machine::{Constants, Drive, Machine, Speed, Tier};
use shoal_plan::model::{Model, Role};
use shoal_quant::Dtype;

use crate::division::{Division, Wish};
use crate::environment::Environment;
use crate::loaded::Runtime;
use crate::machine::processor_name;
use crate::planner::learned;
use crate::planner::probe::{Probe, Wanted};
use crate::planner::question::{Candidate, Source};
use crate::synthetic::Scratch;

/// The share of the rate of products from the cache that attention reaches.
const ATTENTION_SHARE: f64 = 0.7;
/// Of what is read to see past the caches, the share that they surely hold: half of the largest.
const CACHE_SHARE: f64 = 0.25;
/// Tokens of a chunk when memory is as short as can be.
const SHORT_CHUNK: usize = 32;

/// This machine with a budget.
pub(crate) struct Here {
    pub(crate) probe: Probe,
    pub(crate) machine: Machine,
    pub(crate) memory: Bytes,
    threads: usize,
}

/// What one model meets here.
pub(crate) struct Local {
    pub(crate) machine: Machine,
    pub(crate) ask: Ask,
    /// Bytes without which it does not run here, if there are not as many.
    pub(crate) lacks: Option<f64>,
}

impl Here {
    /// This machine, measured for all formats of `models`.
    pub(crate) fn new(
        runtime: &Runtime,
        environment: &Environment,
        formats: &[Dtype],
        anew: bool,
    ) -> anyhow::Result<Self> {
        let memory =
            runtime.memory().context("the system does not say how much memory is free; give --memory")?;
        let cache_dir = &environment.cache_dir;
        let wanted = Wanted {
            cache_dir,
            isa: runtime.isa,
            threads: runtime.threads,
            anew,
            memory: memory.0,
            drive: true,
        };
        let probe = Probe::new(&wanted, formats);
        let (constants, spread) = learned::constants(cache_dir, runtime.isa, runtime.threads);
        let machine = machine(&probe, memory, constants, spread);
        Ok(Self { probe, machine, memory, threads: runtime.threads })
    }

    /// This machine, if it was measured for all formats of `models` before.
    pub(crate) fn kept(runtime: &Runtime, environment: &Environment, formats: &[Dtype]) -> Option<Self> {
        let cache_dir = &environment.cache_dir;
        let (isa, threads, memory) = (runtime.isa, runtime.threads, runtime.memory()?);
        let probe = Probe::kept(
            &Wanted { cache_dir, isa, threads, anew: false, memory: memory.0, drive: false },
            formats,
        )?;
        let (constants, spread) = learned::constants(cache_dir, isa, threads);
        let machine = machine(&probe, memory, constants, spread);
        Some(Self { probe, machine, memory, threads })
    }

    /// One line on what was found.
    pub(crate) fn line(&self) -> String {
        let bounds = &self.probe.bounds;
        let threads =
            if self.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", self.threads) };
        let mut parts = vec![
            processor_name(),
            format!("{threads}, {}", self.probe.isa.name()),
            format!("{} at {:.1} GB/s", self.memory, bounds.read_bytes_per_s / 1e9),
        ];
        let free = Bytes(self.probe.drive_free);
        parts.push(match self.probe.drive_bytes_per_s {
            Some(rate) => format!("drive {:.2} GB/s, {free} free", rate / 1e9),
            None => format!("drive not measured, {free} free"),
        });
        parts.extend(self.probe.graphics.iter().map(|name| format!("{name} (not used)")));
        parts.join(" · ")
    }

    /// What `candidate` meets here.
    pub(crate) fn meet(
        &self,
        candidate: &Candidate,
        runtime: &Runtime,
        ask: Ask,
        environment: &Environment,
    ) -> anyhow::Result<Local> {
        let folder = &environment.cache_dir;
        let model = &candidate.model;
        match &candidate.source {
            Source::Here(checkpoint) => self.with_header(model, checkpoint, true, runtime, ask),
            Source::Remote(checkpoint) => self.with_header(model, checkpoint, false, runtime, ask),
            Source::Shape(shape, mix) => {
                let scratch = Scratch::of_holes(shape, *mix, folder)?;
                self.with_header(model, &scratch.checkpoint, false, runtime, ask)
            }
            Source::Elsewhere => bail!(
                "{}: what is published of it suffices to plan with, not to run it here; name another machine with --on",
                model.name
            ),
        }
    }

    /// What the model meets here whose header is in `checkpoint`.
    pub(crate) fn with_header(
        &self,
        model: &Model,
        checkpoint: &Checkpoint,
        is_here: bool,
        runtime: &Runtime,
        ask: Ask,
    ) -> anyhow::Result<Local> {
        let config = ModelConfig::read(checkpoint)?;
        let wish = runtime.wish(config.common().max_position_embeddings);
        let wish = Wish { memory: Some(self.memory), sequences: ask.streams as usize, ..wish };
        let division = Division::new(&model.name, checkpoint, &config, wish);
        let least = || {
            let wish = Wish { memory: None, chunk: Some(SHORT_CHUNK), ..wish };
            Division::new(&model.name, checkpoint, &config, wish)
        };
        let (division, lacks) = match division {
            Ok(division) => (division, None),
            Err(_) => {
                let least = least()?;
                let slot = model.expert_bytes() * model.moe.map_or(0.0, |moe| moe.per_token as f64);
                (least, Some(least.beside_experts() as f64 + slot))
            }
        };
        let mut machine = self.machine.clone();
        machine.prefill_chunk = division.prefill_chunk as f64;
        if is_here {
            // What it needs of the drive it has already.
            machine.drive = machine.drive.map(|drive| Drive { free: f64::INFINITY, ..drive });
        }
        let context = wish.context_len as f64;
        let ask =
            Ask { context, position: ask.position.min(context), prompt: ask.prompt.min(context), ..ask };
        let rows = ask.streams
            * (context * model.attention.bytes_per_token(machine.kv_format)
                + model.attention.bytes_per_sequence(machine.kv_format));
        let counted = model.bytes_of(Role::EveryToken) + model.bytes_of(Role::Lookup) + rows;
        let working = division.beside_experts() as f64 - counted;
        Ok(Local { machine, ask: Ask { working, ..ask }, lacks })
    }
}

/// This machine.
pub(crate) fn machine(probe: &Probe, memory: Bytes, constants: Constants, spread: f64) -> Machine {
    let bounds = &probe.bounds;
    let speed = Speed::Measured {
        curves: probe.curves.clone(),
        bytes_per_s: bounds.read_bytes_per_s,
        flops: 2.0 * ATTENTION_SHARE * bounds.bf16_macs_per_s,
        cache_bytes: CACHE_SHARE * buffer_bytes() as f64,
    };
    let tier = Tier { name: "memory", capacity: memory.0 as f64, reserved: 0.0, speed, to_first: None };
    let drive = |bytes_per_s| Drive { bytes_per_s, free: probe.drive_free as f64 };
    Machine {
        name: "this machine".to_owned(),
        tiers: vec![tier],
        drive: probe.drive_bytes_per_s.map(drive),
        link: None,
        constants,
        kv_format: KvFormat::F32,
        prefill_chunk: 512.0,
        usd_per_hour: None,
        is_rented: false,
        watts: None,
        spread,
    }
}

/// The formats of all weights of `candidates` that products are made with.
pub(crate) fn formats<'a>(models: impl Iterator<Item = &'a Model>) -> Vec<Dtype> {
    let parts = models.flat_map(|model| &model.parts).filter(|part| part.role != Role::Lookup);
    // What is small is not worth a measurement.
    let large = parts.filter(|part| part.weights > 1e6);
    let mut formats: Vec<Dtype> =
        large.filter_map(|part| part.format).filter(|format| format.is_weight()).collect();
    formats.sort_unstable_by_key(|format| format.name());
    formats.dedup();
    formats
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_kernels::Isa;
    use shoal_kernels::roofline::Bounds;
    use shoal_plan::place::{Need, Placement};
    use shoal_plan::{Mix, presets};

    use crate::args::RuntimeArgs;
    use crate::loaded::Measure;

    fn environment(folder: &std::path::Path) -> Environment {
        let cache_dir = folder.to_owned();
        Environment {
            cache_dir,
            home_dir: None,
            hf_endpoint: None,
            hf_token: None,
            api_key: None,
            no_color: true,
        }
    }

    fn runtime(memory: Bytes, environment: &Environment) -> Runtime {
        let args =
            RuntimeArgs { ctx: None, threads: Some(1), memory: Some(memory), isa: None, prefill_chunk: None };
        Runtime::new(&args, Measure::Never, environment).expect("a runtime")
    }

    fn here(memory: Bytes) -> Here {
        let bounds =
            Bounds { threads: 1, read_bytes_per_s: 1e10, int8_macs_per_s: 1e11, bf16_macs_per_s: 1e10 };
        let probe = Probe {
            isa: Isa::best(),
            bounds,
            curves: Vec::new(),
            drive_bytes_per_s: Some(1e9),
            drive_free: u64::MAX,
            graphics: Vec::new(),
        };
        let machine = machine(&probe, memory, learned::BEFORE, 1.35);
        Here { probe, machine, memory, threads: 1 }
    }

    #[test]
    fn a_plan_divides_memory_as_the_engine_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let environment = environment(folder.path());
        for (name, mix, gib) in [
            ("v2-lite", Mix::Q4KM, 4),
            ("v2-lite", Mix::Q4KM, 16),
            ("v3", Mix::Q2, 32),
            ("v3.2", Mix::Q4KM, 48),
            ("v4-flash", Mix::Q2, 16),
            ("v4-pro", Mix::Mxfp4, 64),
            ("r1-qwen-7b", Mix::Q8, 12),
            ("r1-llama-8b", Mix::Q4KM, 16),
        ] {
            let memory = Bytes(gib << 30);
            let (here, runtime) = (here(memory), runtime(memory, &environment));
            let shape = presets::shape(name, None).expect("a preset");
            let model = Model::of_shape(&shape, mix).expect("a model");
            let scratch = Scratch::of_holes(&shape, mix, folder.path()).expect("a header");
            let config = ModelConfig::read(&scratch.checkpoint).expect("a configuration");
            let wish = Wish { memory: Some(memory), ..runtime.wish(usize::MAX) };
            let division = Division::new(name, &scratch.checkpoint, &config, wish).expect("it fits");
            let candidate = Candidate { asked: name.to_owned(), model, source: Source::Shape(shape, mix) };
            let local = here.meet(&candidate, &runtime, Ask::default(), &environment).expect("a plan");
            assert_eq!(local.lacks, None, "{name}");
            let need = Need { streams: 1.0, context: local.ask.context, working: local.ask.working };
            let placement = Placement::new(&candidate.model, &local.machine, need).expect("it fits");
            // What the process has by itself may grow between the two.
            assert!(placement.memory <= (memory.0 + (8 << 20)) as f64, "{name}: {}", placement.memory);
            if division.expert_count > 0 {
                let share = division.expert_slots as f64 / division.expert_count as f64;
                assert!(
                    (placement.in_memory() - share).abs() < 0.005,
                    "{name}: {} for {share}",
                    placement.in_memory()
                );
            }
            // What the planner does not count itself is the program, activations and copies, not weights or rows.
            assert!(local.ask.working > 0.0, "{name}: {}", local.ask.working);
            let rest = local.ask.working / placement.memory;
            assert!(rest < 0.35, "{name}: {rest} of the memory is neither weights nor rows");
        }
    }

    #[test]
    fn what_does_not_fit_says_what_would() {
        let folder = tempfile::tempdir().expect("a folder");
        let environment = environment(folder.path());
        let memory = Bytes(8 << 30);
        let (here, runtime) = (here(memory), runtime(memory, &environment));
        let shape = presets::shape("v4-flash", None).expect("a preset");
        let model = Model::of_shape(&shape, Mix::Q2).expect("a model");
        let candidate = Candidate { asked: String::new(), model, source: Source::Shape(shape, Mix::Q2) };
        let needed = here.meet(&candidate, &runtime, Ask::default(), &environment).expect("a plan").lacks;
        let needed = Bytes(needed.expect("it does not fit") as u64 + (64 << 20));
        let (here, runtime) = (self::here(needed), self::runtime(needed, &environment));
        let local = here.meet(&candidate, &runtime, Ask::default(), &environment).expect("a plan");
        assert_eq!(local.lacks, None, "{needed} are enough");
    }
}
