//! What is owed to each saving, in 80 columns.

use std::io::Write;

use serde::Serialize;
use shoal_base::Bytes;
use shoal_plan::machine::Machine;
use shoal_plan::model::Model;
use shoal_plan::why::{Account, Credit, Measure, Setting, Why};

use crate::planner::table::short;

/// The accounts of one model on one machine.
#[derive(Debug, Serialize)]
pub(crate) struct Accounts {
    pub(crate) model: String,
    pub(crate) machine: String,
    pub(crate) accounts: Vec<Account>,
    #[serde(skip)]
    setting: Setting,
}

impl Accounts {
    pub(crate) fn new(model: &Model, machine: &Machine, setting: Setting) -> Self {
        let why = Why { model, machine, setting };
        let accounts = [Measure::Speed, Measure::Memory, Measure::Cost].map(|measure| why.account(measure));
        let name = format!("{} {}", model.name, model.quantisation).trim_end().to_owned();
        Self { model: name, machine: machine.name.clone(), accounts: accounts.into(), setting }
    }

    pub(crate) fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let Setting { ask, per_s, known_share, input_ratio } = &self.setting;
        writeln!(out, "What {} on {} owes to each saving", self.model, self.machine)?;
        writeln!(out)?;
        writeln!(out, "{:<26} {:>14} {:>14} {:>14}", "", "speed", "memory", "cost")?;
        let [speed, memory, cost] = self.accounts.as_slice() else { return Ok(()) };
        for (at, (feature, _)) in speed.credits.iter().enumerate() {
            let cell = |account: &Account| match account.credits[at].1 {
                Credit::Factor(factor) => format!("x {factor:.2}"),
                Credit::Enables => "enables".to_owned(),
            };
            let (name, cells) = (feature.name(), [speed, memory, cost].map(cell));
            writeln!(out, "{name:<26} {:>14} {:>14} {:>14}", cells[0], cells[1], cells[2])?;
        }
        let show = |account: &Account, value: Option<f64>| match (value, account.measure) {
            (None, _) => "does not run".to_owned(),
            (Some(value), Measure::Speed) => format!("{} t/s", short(value)),
            (Some(value), Measure::Memory) => Bytes(value as u64).to_string(),
            (Some(value), Measure::Cost) => format!("{} h", short(value * 1e6 / 3600.0)),
        };
        for (name, of) in [
            ("without those with a factor", (|account| account.without) as fn(&Account) -> Option<f64>),
            ("as it is", |account| account.with_all),
        ] {
            let cells = [speed, memory, cost].map(|account| show(account, of(account)));
            writeln!(out, "{name:<26} {:>14} {:>14} {:>14}", cells[0], cells[1], cells[2])?;
        }
        writeln!(out)?;
        writeln!(
            out,
            "Factors multiply to the whole; they are means over all orders in which savings can be"
        )?;
        writeln!(
            out,
            "added (log-Shapley) to a dense model of the same size with grouped-query attention over"
        )?;
        writeln!(
            out,
            "8 heads, in BF16. `enables`: it does not run there without. Speed is of one answer with"
        )?;
        writeln!(
            out,
            "{:.0} tokens before it, memory of weights and a context of {:.0}, cost the hours of the",
            ask.position, ask.context
        )?;
        let service = per_s.map_or_else(
            || "one conversation at a time".to_owned(),
            |per_s| format!("as many conversations as get {} tokens/s each", short(per_s)),
        );
        writeln!(
            out,
            "machine for a million tokens of answers and {input_ratio:.1} million of prompts, {:.0} % of them known,",
            100.0 * known_share
        )?;
        writeln!(out, "{service}. Guesses: one a step, right {:.0} times in 100.", 100.0 * ask.acceptance)
    }
}
