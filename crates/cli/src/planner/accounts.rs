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
        writeln!(out, "{}", self.assumptions())
    }

    /// What the numbers rest on, in lines of 80 columns.
    fn assumptions(&self) -> String {
        let Setting { ask, per_s, known_share, input_ratio } = &self.setting;
        let service = per_s.map_or_else(
            || "one conversation at a time".to_owned(),
            |per_s| format!("as many conversations as get {} tokens/s each", short(per_s)),
        );
        let text = format!(
            "Factors multiply to the whole: they are means over all orders in which savings can be added (log-Shapley) to a dense \
             model of the same size with grouped-query attention over 8 heads, in BF16. `enables`: it does not run there without. \
             Speed is of one answer with {:.0} tokens before it; memory is of weights and a context of {:.0}; cost is hours of the machine for a \
             million tokens of answers and {input_ratio:.1} million of prompts, {:.0} % of them known, with {service}. Guesses: one a step, right \
             {:.0} times in 100.",
            ask.position,
            ask.context,
            100.0 * known_share,
            100.0 * ask.acceptance
        );
        wrapped(&text)
    }
}

/// `text` in lines of at most 80 columns.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is one");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= 80 {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_plan::forecast::Ask;
    use shoal_plan::{Mix, hardware, presets};

    #[test]
    fn factors_multiply_to_the_whole_and_lines_fit() {
        let model =
            Model::of_shape(&presets::shape("v3", None).expect("a preset"), Mix::Q4KM).expect("a model");
        let machine = hardware::parse("8x h200").expect("a machine");
        let ask = Ask { context: 8192.0, position: 8192.0, ..Ask::default() };
        let accounts =
            Accounts::new(&model, &machine, Setting { ask, per_s: Some(20.0), ..Setting::default() });
        for account in &accounts.accounts {
            let factors = account.credits.iter().filter_map(|(_, credit)| match credit {
                Credit::Factor(factor) => Some(*factor),
                Credit::Enables => None,
            });
            let product: f64 = factors.product();
            let (with, without) = (account.with_all.expect("it runs"), account.without.expect("it runs"));
            let whole = if account.measure == Measure::Speed { with / without } else { without / with };
            assert!((product / whole - 1.0).abs() < 1e-9, "{account:?}");
        }
        let mut out = Vec::new();
        accounts.print(&mut out).expect("memory");
        let text = String::from_utf8(out).expect("text");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("sparse experts") && text.contains("x "), "{text}");
    }
}
