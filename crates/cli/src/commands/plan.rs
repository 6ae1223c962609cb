//! `shoal plan`: what runs here or elsewhere, how fast, in how much memory and at what cost, before anything is fetched.

use std::io::Write;

use anyhow::bail;
use shoal_plan::chips::{self, Chip, Kind};
use shoal_plan::forecast::{Ask, Verdict, changes, forecast, streams_at};
use shoal_plan::hardware;
use shoal_plan::machine::Machine;
use shoal_plan::model::Model;
use shoal_plan::money::{Power, cost};
use shoal_plan::why::Setting;

use crate::args::PlanArgs;
use crate::environment::Environment;
use crate::loaded::{Measure, Runtime};
use crate::planner::accounts::Accounts;
use crate::planner::here::{Here, formats};
use crate::planner::plot;
use crate::planner::question::{Candidate, candidates};
use crate::planner::table::{Plan, Row, official};
use crate::terminal::Dress;

/// Contexts that memory is given for.
const CONTEXTS: [f64; 4] = [4096.0, 32_768.0, 131_072.0, 1_048_576.0];
/// Tokens per second of each conversation for which `--why` counts the cost of a machine that serves many.
const SERVED_PER_S: f64 = 20.0;

pub(crate) fn run(args: &PlanArgs, environment: &Environment) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.chips {
        return print_chips(&mut out, args.json);
    }
    let candidates = candidates(&args.model, environment)?;
    if args.check {
        return crate::planner::check::run(args, &candidates, environment);
    }
    let question = Question { args, candidates: &candidates, environment };
    if args.why {
        return question.why(&mut out);
    }
    let (plans, picture) = if args.on.is_empty() { question.here()? } else { question.elsewhere()? };
    if let Some(path) = &args.plot {
        match (plans.as_slice(), picture) {
            ([_], Some((machine, models))) => plot::speed(path, &machine, &models)?,
            _ => plot::cost(path, &plans)?,
        }
    }
    if args.json {
        serde_json::to_writer_pretty(&mut out, &plans)?;
        writeln!(out)?;
        return Ok(());
    }
    let dress = Dress::new(args.color, environment, &std::io::stdout());
    for (at, plan) in plans.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        plan.print(&mut out, dress)?;
    }
    Ok(())
}

/// What is drawn: a machine, and models with what is asked of them.
type Picture<'a> = Option<(Machine, Vec<(&'a Model, Ask)>)>;

struct Question<'a> {
    args: &'a PlanArgs,
    candidates: &'a [Candidate],
    environment: &'a Environment,
}

impl<'a> Question<'a> {
    fn ask(&self) -> Ask {
        let args = self.args;
        let context = match args.runtime.ctx {
            None => 4096.0,
            // As long as a model's own, which each row knows.
            Some(0) => f64::INFINITY,
            Some(context) => context as f64,
        };
        let prompt = f64::from(args.prompt).min(context);
        Ask {
            streams: f64::from(args.streams),
            context,
            prompt,
            position: prompt,
            drafts: f64::from(args.draft),
            ..Ask::default()
        }
    }

    fn here(&self) -> anyhow::Result<(Vec<Plan>, Picture<'a>)> {
        let args = self.args;
        let runtime = Runtime::new(&args.runtime, Measure::Never, self.environment)?;
        let formats = formats(self.candidates.iter().map(|candidate| &candidate.model));
        let mut here = Here::new(&runtime, self.environment, &formats, args.probe)?;
        if args.even_routing {
            here.machine.constants.reuse = 1.0;
        }
        let (mut rows, mut models) = (Vec::new(), Vec::new());
        for candidate in self.candidates {
            let local = here.meet(candidate, &runtime, self.ask(), self.environment)?;
            let mut row = self.row(&candidate.model, &self.priced(local.machine), local.ask);
            if let Some(needed) = local.lacks {
                row.forecast.verdict = Verdict::No;
                (row.forecast.decode, row.forecast.prefill, row.forecast.first_token_s) = (None, None, None);
                row.forecast.memory_bytes = needed;
            }
            rows.push(row);
            models.push((&candidate.model, local.ask));
        }
        let picture = Some((here.machine.clone(), models));
        Ok((vec![Plan::new(here.line(), "here", Some(here.probe.drive_free as f64), rows)], picture))
    }

    fn elsewhere(&self) -> anyhow::Result<(Vec<Plan>, Picture<'a>)> {
        let machines = self.args.on.iter().map(|spec| hardware::parse(spec));
        let machines = machines.collect::<Result<Vec<Machine>, _>>()?;
        let (mut plans, mut picture) = (Vec::new(), None);
        for machine in machines {
            let mut machine = self.priced(machine);
            if self.args.even_routing {
                machine.constants.reuse = 1.0;
            }
            let rows =
                self.candidates.iter().map(|candidate| self.row(&candidate.model, &machine, self.ask()));
            plans.push(Plan::new(
                machine.name.clone(),
                &format!("on {}", machine.name),
                None,
                rows.collect(),
            ));
            let models = self.candidates.iter().map(|candidate| &candidate.model);
            let models = models.map(|model| (model, within(self.ask(), model)));
            picture = Some((machine, models.collect()));
        }
        Ok((plans, picture))
    }

    fn priced(&self, machine: Machine) -> Machine {
        match self.args.usd_per_hour {
            None => machine,
            usd_per_hour => Machine { usd_per_hour, is_rented: true, ..machine },
        }
    }

    fn row(&self, model: &Model, machine: &Machine, ask: Ask) -> Row {
        let args = self.args;
        let drafts = if model.drafts { ask.drafts } else { 0.0 };
        let ask = Ask { drafts, ..within(ask, model) };
        let streams = args.min_tps.and_then(|per_s| streams_at(model, machine, &ask, per_s));
        let missed_per_s = args.min_tps.filter(|_| streams.is_none());
        let ask = Ask { streams: streams.unwrap_or(ask.streams), ..ask };
        let forecast = forecast(model, machine, &ask);
        let rates = forecast.decode_together.zip(forecast.prefill);
        let cost = rates.and_then(|(decode, prefill)| {
            cost(machine, prefill.expected, decode, args.utilisation, Power::default())
        });
        let contexts = CONTEXTS.into_iter().filter(|&context| context <= model.context_max as f64);
        let memory = |context: f64| {
            let longer = Ask { context, ..ask };
            (context, self::forecast(model, machine, &longer).memory_bytes)
        };
        Row {
            streams: ask.streams,
            missed_per_s,
            context: ask.context,
            memory_at: contexts.map(memory).collect(),
            changes: changes(model, machine, &ask),
            cost,
            official: official(&model.name),
            forecast,
        }
    }

    fn why(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let mut all = Vec::new();
        for candidate in self.candidates {
            let machines: Vec<(Machine, Ask)> = if self.args.on.is_empty() {
                let runtime = Runtime::new(&self.args.runtime, Measure::Never, self.environment)?;
                let formats = formats([&candidate.model, &candidate.model.as_bf16()].into_iter());
                let here = Here::new(&runtime, self.environment, &formats, self.args.probe)?;
                let local = here.meet(candidate, &runtime, self.ask(), self.environment)?;
                if local.lacks.is_some() {
                    bail!("{} {} does not run here", candidate.model.name, candidate.model.quantisation);
                }
                vec![(local.machine, local.ask)]
            } else {
                let ask = within(self.ask(), &candidate.model);
                let parsed = self.args.on.iter().map(|spec| Ok((hardware::parse(spec)?, ask)));
                parsed.collect::<anyhow::Result<_>>()?
            };
            for (mut machine, ask) in machines {
                if self.args.even_routing {
                    machine.constants.reuse = 1.0;
                }
                // One person talks to a computer, many to a machine with several devices.
                let per_s = self.args.min_tps.or_else(|| machine.link.map(|_| SERVED_PER_S));
                let accounts =
                    Accounts::new(&candidate.model, &machine, Setting { ask, per_s, ..Setting::default() });
                if accounts.accounts.iter().all(|account| account.with_all.is_none()) {
                    bail!("{} does not run on {}", accounts.model, accounts.machine);
                }
                all.push(accounts);
            }
        }
        if self.args.json {
            serde_json::to_writer_pretty(&mut *out, &all)?;
            writeln!(out)?;
            return Ok(());
        }
        for (at, accounts) in all.iter().enumerate() {
            if at > 0 {
                writeln!(out)?;
            }
            accounts.print(out)?;
        }
        Ok(())
    }
}

/// What is asked, with no longer a context than the model was made for.
fn within(ask: Ask, model: &Model) -> Ask {
    let context = ask.context.min(model.context_max as f64);
    Ask { context, prompt: ask.prompt.min(context), position: ask.position.min(context), ..ask }
}

fn print_chips(out: &mut impl Write, json: bool) -> anyhow::Result<()> {
    if json {
        serde_json::to_writer_pretty(&mut *out, chips::all())?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(
        out,
        "{:<21} {:>7} {:>7} {:>8} {:>8} {:>7} {:>6} {:>8}",
        "chip", "GB", "GB/s", "16-bit", "8-bit", "TPP", "W", "$/h or $"
    )?;
    for chip in chips::all() {
        print_chip(out, chip)?;
    }
    writeln!(out)?;
    writeln!(out, "16 and 8 bit: dense tera-operations per second. TPP: total processing")?;
    writeln!(out, "performance, the largest of these and of 4 bit times the bits. A star marks a")?;
    writeln!(out, "guess; --json has the sources.")?;
    Ok(())
}

fn print_chip(out: &mut impl Write, chip: &Chip) -> std::io::Result<()> {
    let show = |figure: &Option<chips::Figure>| match figure {
        None => "-".to_owned(),
        Some(figure) if figure.tag == chips::Tag::Guessed => format!("{:.0}*", figure.value),
        Some(figure) => format!("{:.0}", figure.value),
    };
    let price = match (&chip.usd_per_hour, &chip.price_usd) {
        (Some(rent), _) => format!("{:.2}/h", rent.value),
        (None, Some(price)) => format!("{:.0}", price.value),
        (None, None) => "-".to_owned(),
    };
    let eight = if chip.fp8_tflops.is_some() { &chip.fp8_tflops } else { &chip.int8_tops };
    let performance = chip.total_processing_performance();
    let performance = performance
        .filter(|_| chip.kind != Kind::Cpu)
        .map_or_else(|| "-".to_owned(), |it| format!("{it:.0}"));
    writeln!(
        out,
        "{:<21} {:>7} {:>7} {:>8} {:>8} {performance:>7} {:>6} {price:>8}",
        chip.id,
        show(&chip.memory_gb),
        show(&Some(chip.bandwidth_gb_s.clone())),
        show(&chip.fp16_tflops),
        show(eight),
        show(&chip.watts),
    )
}
