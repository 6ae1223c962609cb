//! Plans as pictures: speed against memory for one machine, cost for several.

use std::path::Path;

use anyhow::Context;
use plotters::prelude::*;
use shoal_plan::forecast::{Ask, forecast};
use shoal_plan::machine::Machine;
use shoal_plan::model::Model;

use crate::planner::table::Plan;

const SIZE: (u32, u32) = (900, 560);
/// Gigabytes of memory that are drawn.
const MEMORY: [f64; 15] =
    [4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0, 192.0, 256.0, 384.0, 512.0];
/// More lines than these nobody tells apart.
const LINES_MAX: usize = 8;

/// One model's speed by gigabytes of memory.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Tokens per second against memory, for each of `models` on machines that are as `machine` but for its memory.
pub(crate) fn speed(path: &Path, machine: &Machine, models: &[(&Model, Ask)]) -> anyhow::Result<()> {
    let lines: Vec<Line> = models.iter().map(|(model, ask)| line(machine, model, ask)).collect();
    let lines: Vec<Line> = lines.into_iter().filter(|line| !line.points.is_empty()).take(LINES_MAX).collect();
    let top = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(1.0, f64::max);
    let low = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(top, f64::min);
    draw(path, |root| {
        let title = format!("tokens/s of an answer against memory ({})", machine.name);
        let memory = (MEMORY[0]..MEMORY[MEMORY.len() - 1]).log_scale();
        let mut chart = ChartBuilder::on(root)
            .caption(title, ("sans-serif", 20))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(memory, (low / 1.5..top * 1.5).log_scale())?;
        chart.configure_mesh().x_desc("memory, GB").y_desc("tokens/s").light_line_style(WHITE).draw()?;
        for (at, line) in lines.iter().enumerate() {
            let color = Palette99::pick(at).to_rgba();
            let series = LineSeries::new(line.points.iter().copied(), color.stroke_width(2));
            let sample = move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], color.stroke_width(2));
            chart.draw_series(series)?.label(&line.name).legend(sample);
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        Ok(())
    })
}

fn line(machine: &Machine, model: &Model, ask: &Ask) -> Line {
    let at = |&gigabytes: &f64| {
        let mut machine = machine.clone();
        let last = machine.tiers.len().checked_sub(1)?;
        machine.tiers[last].capacity = gigabytes * 1e9;
        Some((gigabytes, forecast(model, &machine, ask).decode?.expected))
    };
    let name = format!("{} {}", model.name, model.quantisation);
    Line { name, points: MEMORY.iter().filter_map(at).collect() }
}

/// Dollars for a million tokens of answers on each machine, of the first model that has a price there.
pub(crate) fn cost(path: &Path, plans: &[Plan]) -> anyhow::Result<()> {
    let bars = plans.iter().filter_map(|plan| {
        let row = plan.rows.iter().find(|row| row.cost.is_some())?;
        Some((plan.machine.clone(), row.forecast.model.clone(), row.cost?.output_usd))
    });
    let bars: Vec<(String, String, f64)> = bars.collect();
    anyhow::ensure!(
        !bars.is_empty(),
        "--plot: none of these machines has a price; give one with --usd-per-hour"
    );
    let top = bars.iter().map(|bar| bar.2).fold(0.0, f64::max);
    draw(path, |root| {
        let mut chart = ChartBuilder::on(root)
            .caption("dollars for a million tokens of answers", ("sans-serif", 20))
            .margin(16)
            .x_label_area_size(60)
            .y_label_area_size(56)
            .build_cartesian_2d((0..bars.len() as i32 - 1).into_segmented(), 0.0..top * 1.15)?;
        let name = |at: &SegmentValue<i32>| match at {
            SegmentValue::CenterOf(at) => {
                bars.get(*at as usize).map_or_else(String::new, |bar| bar.0.clone())
            }
            _ => String::new(),
        };
        chart.configure_mesh().disable_x_mesh().y_desc("$").x_label_formatter(&name).draw()?;
        let values = bars.iter().enumerate().map(|(at, bar)| (at as i32, bar.2));
        let style = Palette99::pick(0).filled();
        chart.draw_series(Histogram::vertical(&chart).style(style).margin(30).data(values))?;
        Ok(())
    })
}

type Root<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(path: &Path, picture: impl FnOnce(&Root<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        picture(&root)?;
        root.present()?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
