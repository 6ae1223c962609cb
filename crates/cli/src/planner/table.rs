//! A plan in 80 columns.

use std::io::Write;

use serde::Serialize;
use shoal_base::Bytes;
use shoal_plan::chips::{self, Price};
use shoal_plan::forecast::{Change, Forecast, Rate, Verdict};
use shoal_plan::money::Cost;

use crate::terminal::Dress;

/// An answer at this pace is read as it comes.
const COMFORTABLE: f64 = 5.0;

/// What is known of one model on one machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) forecast: Forecast,
    /// Conversations at a time.
    pub(crate) streams: f64,
    /// Tokens per second that were wished for each, where not even one conversation gets them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missed_per_s: Option<f64>,
    /// Positions of each.
    pub(crate) context: f64,
    /// Bytes of memory at several contexts.
    pub(crate) memory_at: Vec<(f64, f64)>,
    /// What one change would give.
    pub(crate) changes: Vec<Change>,
    pub(crate) cost: Option<Cost>,
    /// What the official service asks.
    pub(crate) official: Option<&'static Price>,
}

/// One machine and what runs on it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) machine: String,
    /// One sentence.
    pub(crate) summary: String,
    pub(crate) rows: Vec<Row>,
}

impl Plan {
    /// Sorts `rows`, best first: of those that answer comfortably the largest model, then the fastest, then those that do not run.
    pub(crate) fn new(machine: String, place: &str, drive_free: Option<f64>, mut rows: Vec<Row>) -> Self {
        let rank = |row: &Row| {
            let speed = row.forecast.decode.map_or(0.0, |rate| rate.expected);
            let size = if speed >= COMFORTABLE { row.forecast.file_bytes } else { 0.0 };
            (size, speed, -row.forecast.memory_bytes)
        };
        rows.sort_by(|a, b| rank(b).partial_cmp(&rank(a)).unwrap_or(std::cmp::Ordering::Equal));
        let summary = summary(&rows, place, drive_free);
        Self { machine, summary, rows }
    }

    pub(crate) fn print(&self, out: &mut impl Write, dress: Dress) -> std::io::Result<()> {
        writeln!(out, "{}", self.summary)?;
        writeln!(out, "{}{}{}", dress.dim(), self.machine, dress.plain())?;
        writeln!(out)?;
        writeln!(
            out,
            "{:<21} {:>7} {:>15} {:>6} {:>6} {:>7}  runs",
            "model", "GiB", "answer t/s", "prompt", "first", "memory"
        )?;
        for row in &self.rows {
            print_row(out, &row.forecast, dress)?;
        }
        if let [row] = self.rows.as_slice() {
            print_details(out, row)?;
        }
        Ok(())
    }
}

fn print_row(out: &mut impl Write, forecast: &Forecast, dress: Dress) -> std::io::Result<()> {
    let name = label(forecast);
    let gib = |bytes: f64| format!("{:.1}", bytes / f64::from(1 << 30));
    let (color, word) = match forecast.verdict {
        Verdict::Fits => (dress.good(), "in memory"),
        Verdict::Streams => (dress.middling(), "from drive"),
        Verdict::No => (dress.dim(), "no"),
    };
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
    let prompt = forecast.prefill.map(|rate| rate.expected);
    writeln!(
        out,
        "{color}{name:<21} {:>7} {:>15} {:>6} {:>6} {:>7}  {word}{}",
        gib(forecast.file_bytes),
        forecast.decode.map_or_else(|| "-".to_owned(), with_interval),
        number(prompt),
        number(forecast.first_token_s),
        gib(forecast.memory_bytes),
        dress.plain()
    )
}

fn print_details(out: &mut impl Write, row: &Row) -> std::io::Result<()> {
    let forecast = &row.forecast;
    writeln!(out)?;
    if forecast.verdict != Verdict::No {
        writeln!(out, "binds     answers: {}; prompts: {}", forecast.binds, forecast.prefill_binds)?;
    }
    if let Some(wished) = row.missed_per_s {
        writeln!(out, "at a time not even one conversation gets {} tokens/s", short(wished))?;
    }
    if row.streams > 1.0
        && let (Some(each), Some(all)) = (forecast.decode, forecast.decode_together)
    {
        let (streams, each, all) = (row.streams, short(each.expected), short(all));
        writeln!(out, "at a time {streams:.0} conversations, {each} tokens/s each, {all} together")?;
    }
    if !row.memory_at.is_empty() {
        let at = |&(context, bytes): &(f64, f64)| format!("{} {}", tokens(context), Bytes(bytes as u64));
        let all: Vec<String> = row.memory_at.iter().map(at).collect();
        writeln!(out, "memory    with a context of {}", all.join(" · "))?;
    }
    if forecast.verdict == Verdict::Streams {
        let (share, drive) = (100.0 * forecast.experts_in_memory, Bytes(forecast.drive_bytes as u64));
        writeln!(out, "drive     {drive} for the file; {share:.0} % of the experts are in memory")?;
    }
    for change in &row.changes {
        writeln!(out, "with      {}: {} tokens/s", change.what, short(change.decode_per_s))?;
    }
    if let Some(cost) = &row.cost {
        let (input, output) = (cost.input_usd, cost.output_usd);
        writeln!(out, "cost      ${input:.3} for a million tokens of prompts, ${output:.2} of answers")?;
        if let Some(energy) = cost.output_wh {
            writeln!(out, "energy    {} kWh for a million tokens of answers", short(energy / 1e3))?;
        }
    }
    if let Some(price) = row.official {
        writeln!(
            out,
            "official  ${:.3} for known and ${:.2} for new prompts, ${:.2} for answers ({})",
            price.input_hit_usd, price.input_miss_usd, price.output_usd, price.date
        )?;
    }
    Ok(())
}

/// One sentence for all.
fn summary(rows: &[Row], place: &str, drive_free: Option<f64>) -> String {
    let Some(best) = rows.first() else { return "There is nothing to plan.".to_owned() };
    let forecast = &best.forecast;
    let name = named(forecast);
    let Some(rate) = forecast.decode else {
        let (needs, drive) = (Bytes(forecast.memory_bytes as u64), Bytes(forecast.drive_bytes as u64));
        let free = drive_free.filter(|free| *free < forecast.drive_bytes);
        let free = free.map_or_else(String::new, |free| format!(", where {} are free", Bytes(free as u64)));
        let which =
            if rows.len() == 1 { format!("{name} does not run") } else { "None of these runs".to_owned() };
        let subject = if rows.len() == 1 { "it".to_owned() } else { name };
        return format!(
            "{which} {place}: {subject} needs {needs} of memory at the least, and {drive} of a drive unless all of it is in memory{free}."
        );
    };
    let change = best.changes.first().map_or_else(String::new, |change| {
        format!("; {} would give {}", change.what, short(change.decode_per_s))
    });
    let each = if best.streams > 1.0 {
        format!(" in each of {:.0} conversations", best.streams)
    } else {
        String::new()
    };
    format!(
        "{name} runs {place} at about {} tokens/s{each}, bound by {}{change}.",
        short(rate.expected),
        forecast.binds
    )
}

/// `v4-flash q2`.
fn label(forecast: &Forecast) -> String {
    let whole = format!("{} {}", forecast.model, forecast.quantisation);
    whole.trim_end().chars().take(21).collect()
}

fn named(forecast: &Forecast) -> String {
    match forecast.quantisation.as_str() {
        "" => forecast.model.clone(),
        formats => format!("{} in {formats}", forecast.model),
    }
}

fn with_interval(rate: Rate) -> String {
    format!("{} ({}-{})", short(rate.expected), short(rate.low), short(rate.high))
}

/// Two figures that count, or all before the point.
pub(crate) fn short(number: f64) -> String {
    match number {
        n if n >= 10.0 => format!("{n:.0}"),
        n if n >= 1.0 => format!("{n:.1}"),
        n => format!("{n:.2}"),
    }
}

fn tokens(count: f64) -> String {
    if count >= 1024.0 && count % 1024.0 == 0.0 {
        format!("{:.0}k", count / 1024.0)
    } else {
        format!("{count:.0}")
    }
}

/// What the official service asks for a model of this name; the newest price.
pub(crate) fn official(model: &str) -> Option<&'static Price> {
    let name = format!("deepseek-{model}");
    chips::prices().iter().find(|price| price.model == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_plan::forecast::{Ask, forecast};
    use shoal_plan::{Mix, Model, hardware, presets};

    fn row(name: &str, machine: &str) -> Row {
        let model =
            Model::of_shape(&presets::shape(name, None).expect("a preset"), Mix::Q2).expect("a model");
        let machine = hardware::parse(machine).expect("a machine");
        let ask = Ask::default();
        Row {
            forecast: forecast(&model, &machine, &ask),
            streams: 1.0,
            missed_per_s: None,
            context: ask.context,
            memory_at: vec![(4096.0, 1e9), (131_072.0, 2e9)],
            changes: shoal_plan::forecast::changes(&model, &machine, &ask),
            cost: None,
            official: official(name),
        }
    }

    #[test]
    fn every_line_fits_80_columns_and_the_best_stands_first() {
        let machine = "epyc-9654 16GB nvme:5GB/s";
        let rows = ["v4-pro", "r1-qwen-7b", "v4-flash", "r1-qwen-1.5b", "v3"].map(|name| row(name, machine));
        let plan = Plan::new(machine.to_owned(), "there", None, rows.to_vec());
        let mut out = Vec::new();
        plan.print(&mut out, Dress::none()).expect("memory");
        let text = String::from_utf8(out).expect("text");
        let mut lines = text.lines();
        assert!(lines.next().is_some_and(|line| line.contains("runs there at about")), "{text}");
        assert!(lines.all(|line| line.chars().count() <= 80), "{text}");
        let speeds: Vec<f64> =
            plan.rows.iter().map(|row| row.forecast.decode.map_or(0.0, |rate| rate.expected)).collect();
        let comfortable = speeds.iter().take_while(|&&speed| speed >= COMFORTABLE).count();
        assert!(comfortable > 0 && speeds[comfortable..].is_sorted_by(|a, b| a >= b), "{speeds:?}");
    }

    #[test]
    fn one_model_that_does_not_fit_is_said_in_a_sentence() {
        let plan = Plan::new(String::new(), "there", Some(1e9), vec![row("v3", "epyc-9654 8GB")]);
        assert!(plan.summary.starts_with("v3 in q2 does not run there: it needs "), "{}", plan.summary);
        assert!(plan.summary.ends_with(", where 953.7 MiB are free."), "{}", plan.summary);
    }

    #[test]
    fn the_official_price_is_the_newest() {
        let price = official("v4-flash").expect("a price");
        let dates =
            chips::prices().iter().filter(|other| other.model == price.model).map(|other| &other.date);
        assert!(dates.max().is_some_and(|newest| *newest == price.date));
    }
}
