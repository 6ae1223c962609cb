//! Where the time of a test went, as a table and as JSON.

use std::io::Write;

use serde::Serialize;
use shoal_kernels::profile::Profile;
use shoal_kernels::roofline::Bounds;

use crate::meter::{PhaseMeter, Rates};

/// One operation in one kind of layer.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    section: &'static str,
    operation: &'static str,
    calls: u64,
    /// Of the whole time: the shares of all rows add up to 1.
    share: f64,
    ms_per_token: f64,
    bytes_per_token: f64,
    gb_per_s: f64,
    /// Absent where an operation neither reads weights nor multiplies.
    bound: Option<String>,
    bound_share: Option<f64>,
}

/// The rows of `profile`, in which `tokens` tokens ran, the longest first.
pub(crate) fn rows(profile: &Profile, tokens: usize, bounds: &Bounds) -> Vec<Row> {
    let wall = profile.wall.as_secs_f64().max(1e-9);
    let row = |entry: &shoal_kernels::profile::Entry| {
        let meter = PhaseMeter { tokens, time: entry.time, work: entry.work, ..PhaseMeter::default() };
        let bound = meter.bound(&Rates::from(*bounds));
        Row {
            section: entry.section,
            operation: entry.operation,
            calls: entry.calls,
            share: entry.time.as_secs_f64() / wall,
            ms_per_token: 1e3 / meter.tokens_per_s(),
            bytes_per_token: meter.bytes_per_token(),
            gb_per_s: meter.gb_per_s(),
            bound_share: bound.as_ref().map(|bound| bound.share),
            bound: bound.map(|bound| bound.limit),
        }
    };
    profile.entries.iter().map(row).collect()
}

/// Prints the rows below the line of their test.
pub(crate) fn print(out: &mut impl Write, rows: &[Row]) -> std::io::Result<()> {
    writeln!(
        out,
        "  {:<10} {:<20} {:>7} {:>10} {:>9} {:>7}  bound",
        "section", "operation", "share", "ms/token", "MB/token", "GB/s"
    )?;
    for row in rows {
        let [bytes, speed] = if row.bytes_per_token > 0.0 {
            [format!("{:.2}", row.bytes_per_token / 1e6), format!("{:.2}", row.gb_per_s)]
        } else {
            [(); 2].map(|()| "-".to_owned())
        };
        let bound = match (&row.bound, row.bound_share) {
            (Some(bound), Some(share)) => format!("{bound} ({:.0} %)", 100.0 * share),
            _ => "-".to_owned(),
        };
        writeln!(
            out,
            "  {:<10} {:<20} {:>5.1} % {:>10.4} {bytes:>9} {speed:>7}  {bound}",
            row.section,
            row.operation,
            100.0 * row.share,
            row.ms_per_token
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use shoal_kernels::Work;
    use shoal_kernels::profile::Entry;

    #[test]
    fn rows_divide_by_the_wall_and_the_tokens() {
        let entry = |operation, ms, weight_bytes| Entry {
            section: "head",
            operation,
            calls: 1,
            time: Duration::from_millis(ms),
            work: Work { weight_bytes, ..Work::default() },
        };
        let entries = vec![entry("matmul", 30, 60_000_000), entry("rms_norm", 10, 0)];
        let profile = Profile { wall: Duration::from_millis(40), entries };
        let bounds = Bounds { threads: 1, read_bytes_per_s: 4e9, int8_macs_per_s: 8e9, bf16_macs_per_s: 1e9 };
        let mut text = Vec::new();
        print(&mut text, &rows(&profile, 10, &bounds)).expect("memory takes everything");
        let text = String::from_utf8(text).expect("text");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines[1],
            ["head", "matmul", "75.0", "%", "3.0000", "6.00", "2.00", "memory", "(50", "%)"]
        );
        assert_eq!(lines[2], ["head", "rms_norm", "25.0", "%", "1.0000", "-", "-", "-"]);
    }
}
