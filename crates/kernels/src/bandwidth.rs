//! How fast this machine reads memory: the bound that decoding is held against.

use std::time::Instant;

use crate::isa::{Isa, per_isa};
use crate::pool::Pool;

/// Bytes read in one pass: larger than the caches of ordinary machines, small enough for a tight budget.
pub const BUFFER_BYTES: usize = 128 << 20;
const PASSES: usize = 5;

per_isa! {
    /// Adds all words: loads and little else.
    fn sum_words(words: &[u64]) -> u64 = sum_words_body
}

#[inline(always)]
fn sum_words_body<const FUSED: bool>(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, word| sum.wrapping_add(*word))
}

/// Measures the read bandwidth of all threads of `pool` together, in bytes per second: the best of a few passes
/// over memory that the caches do not hold. Takes about a tenth of a second and [`BUFFER_BYTES`] of memory.
#[must_use]
pub fn measure_read_bandwidth(isa: Isa, pool: &Pool) -> f64 {
    let words = vec![1u64; BUFFER_BYTES / 8];
    let part_len = 1 << 17; // 1 MiB a time: long runs, yet threads finish together
    let mut seconds_best = f64::INFINITY;
    for _ in 0..PASSES {
        let start = Instant::now();
        pool.run(words.len().div_ceil(part_len), &|part| {
            let end = ((part + 1) * part_len).min(words.len());
            std::hint::black_box(sum_words(isa, &words[part * part_len..end]));
        });
        seconds_best = seconds_best.min(start.elapsed().as_secs_f64());
    }
    BUFFER_BYTES as f64 / seconds_best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_adds_all_words() {
        let words: Vec<u64> = (0..96).collect();
        for isa in Isa::available() {
            assert_eq!(sum_words(isa, &words), 95 * 96 / 2);
        }
    }
}
