//! `shoal plan --check`: what was predicted, and then what a run takes. Of models that are not here some layers run, with random weights.

use std::io::Write;

use anyhow::{Context, ensure};
use serde::Serialize;
use shoal_plan::Mix;
use shoal_plan::forecast::{Ask, Rate, forecast};
use shoal_plan::machine::Drive;

use crate::args::{BenchArgs, PlanArgs};
use crate::commands::bench;
use crate::environment::Environment;
use crate::loaded::{Measure, Runtime};
use crate::planner::here::{Here, formats};
use crate::planner::question::{Candidate, Source, candidates};
use crate::planner::table::short;

/// What is run where nothing is named: a mixture of experts and a dense model, both soon written.
const USUAL: [&str; 2] = ["v2-lite:q4_k_m", "r1-qwen-1.5b:q8_0"];
const LAYERS: u16 = 4;
const RUNS: u16 = 3;
const ANSWER: usize = 32;

/// One prediction and what came of it.
#[derive(Debug, Serialize)]
struct Checked {
    model: String,
    quantisation: String,
    test: String,
    predicted: Rate,
    measured: f64,
    /// Of the prediction, over what was measured.
    error: f64,
}

pub(crate) fn run(args: &PlanArgs, asked: &[Candidate], environment: &Environment) -> anyhow::Result<()> {
    let usual;
    let asked = if args.model.is_empty() {
        usual = candidates(&USUAL.map(str::to_owned), environment)?;
        &usual
    } else {
        asked
    };
    let runtime = Runtime::new(&args.runtime, Measure::Never, environment)?;
    let formats = formats(asked.iter().map(|candidate| &candidate.model));
    let here = Here::new(&runtime, environment, &formats, args.probe)?;
    let mut out = std::io::stdout().lock();
    for candidate in asked {
        // All of it was predicted before any of it is run.
        let predicted = predict(&here, candidate, &runtime, args.prompt as usize, environment)?;
        let outcomes = bench::outcomes(&bench_args(candidate, args)?, environment, &mut |_| Ok(()))?;
        for (outcome, predicted) in outcomes.iter().zip(predicted) {
            let checked = Checked {
                model: candidate.model.name.clone(),
                quantisation: candidate.model.quantisation.clone(),
                test: outcome.name.clone(),
                predicted,
                measured: outcome.whole_tokens_per_s(),
                error: predicted.expected / outcome.whole_tokens_per_s() - 1.0,
            };
            if args.json {
                serde_json::to_writer(&mut out, &checked)?;
                writeln!(out)?;
            } else {
                print(&mut out, &checked)?;
            }
            out.flush()?;
        }
    }
    Ok(())
}

/// Tokens per second of the prompt and of the answer that [`bench_args`] will measure.
fn predict(
    here: &Here,
    candidate: &Candidate,
    runtime: &Runtime,
    prompt: usize,
    environment: &Environment,
) -> anyhow::Result<[Rate; 2]> {
    let ask = Ask { prompt: prompt as f64, position: ANSWER as f64 / 2.0, ..Ask::default() };
    let mut local = here.meet(candidate, runtime, ask, environment)?;
    if matches!(candidate.source, Source::Shape(..)) {
        local.machine.constants.reuse = 1.0;
        // Some of its layers need less of the drive than all.
        local.machine.drive = local.machine.drive.map(|drive| Drive { free: f64::INFINITY, ..drive });
    }
    ensure!(local.lacks.is_none(), "{} does not run here", candidate.model.name);
    let forecast = forecast(&candidate.model, &local.machine, &local.ask);
    let rates = forecast
        .prefill
        .zip(forecast.decode)
        .with_context(|| format!("{} does not run here", candidate.model.name))?;
    Ok([rates.0, rates.1])
}

fn bench_args(candidate: &Candidate, args: &PlanArgs) -> anyhow::Result<BenchArgs> {
    let (model, synthetic, mix) = match &candidate.source {
        Source::Shape(shape, mix) => (None, Some(shape.name.to_owned()), *mix),
        Source::Here(_) => (Some(candidate.asked.clone()), None, Mix::Q8),
        Source::Remote(_) | Source::Elsewhere => {
            anyhow::bail!("{}: only what can run here can be checked", candidate.model.name)
        }
    };
    Ok(BenchArgs {
        model,
        synthetic,
        layers: LAYERS,
        mix,
        scratch_dir: None,
        prompt_tokens: vec![args.prompt as usize],
        decode_tokens: vec![ANSWER],
        runs: RUNS,
        profile: false,
        json: false,
        runtime: args.runtime.clone(),
    })
}

fn print(out: &mut impl Write, checked: &Checked) -> std::io::Result<()> {
    let Checked { model, quantisation, test, predicted, measured, error } = checked;
    let name = format!("{model} {quantisation}");
    let interval =
        format!("{} ({}-{})", short(predicted.expected), short(predicted.low), short(predicted.high));
    let inside = if (predicted.low..=predicted.high).contains(measured) { "within" } else { "outside" };
    writeln!(
        out,
        "{name:<24} {test:<6} predicted {interval:>16}  measured {:>6}  {:+.0} %, {inside}",
        short(*measured),
        100.0 * error
    )
}
