//! How fast memory is read: the bound that decoding is held against.

use std::time::Instant;

use shoal_base::{Blob, BlobBuf};

use crate::isa::{Isa, per_isa};
use crate::pool::Pool;

/// Bytes read in one pass: larger than the caches of ordinary machines, small enough for a tight budget.
pub const BUFFER_BYTES: usize = 128 << 20;
const PASSES: usize = 5;

per_isa! {
    /// Adds all words: loads and little else.
    fn sum_words(words: &[[u8; 8]]) -> u64 = sum_words_body
}

#[inline(always)]
fn sum_words_body<const FUSED: bool>(words: &[[u8; 8]]) -> u64 {
    words.iter().fold(0, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

/// What is read, in memory of the kind that weights have. Written once: pages that nobody wrote are all one page.
pub(super) fn buffer() -> Blob {
    let mut buffer = BlobBuf::zeroed(BUFFER_BYTES);
    buffer.as_mut_slice().fill(1);
    buffer.freeze()
}

/// Reads `bytes` with all threads of `pool` together: bytes per second, the best of a few passes.
pub(super) fn bytes_per_s(isa: Isa, pool: &Pool, bytes: &[u8]) -> f64 {
    let words = bytes.as_chunks().0;
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
    bytes.len() as f64 / seconds_best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_adds_all_words() {
        let words: Vec<[u8; 8]> = (0..96u64).map(u64::to_le_bytes).collect();
        for isa in Isa::available() {
            assert_eq!(sum_words(isa, &words), 95 * 96 / 2);
        }
    }
}
