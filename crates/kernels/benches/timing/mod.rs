//! How the benchmarks of this folder take time: the median of a few runs after an uncounted one.

use std::time::Instant;

/// Runs that count.
pub(crate) const ROUNDS: usize = 7;

/// The median of the seconds that `run` takes.
pub(crate) fn median_seconds(mut run: impl FnMut()) -> f64 {
    run();
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}
