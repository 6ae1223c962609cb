//! How fast memory is read: the bound that decoding is held against.

use std::time::Instant;

use shoal_base::{Blob, BlobBuf};

use crate::isa::{Isa, per_isa};
use crate::pool::Pool;

/// Bytes of all caches together, where the system does not say.
const CACHE_BYTES: usize = 64 << 20;
/// The least that is read in one pass, and the most.
const BUFFER_BYTES_MIN: usize = 16 << 20;
const BUFFER_BYTES_MAX: usize = 2 << 30;
const PASSES: usize = 5;

per_isa! {
    /// Adds all words: loads and little else.
    fn sum_words(words: &[[u8; 8]]) -> u64 = sum_words_body
}

#[inline(always)]
fn sum_words_body<const FUSED: bool>(words: &[[u8; 8]]) -> u64 {
    words.iter().fold(0, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

/// Bytes that have to be read in one pass so that caches hold little of them when the next begins: twice the largest cache. Virtual
/// machines see that of their host, which may hold hundreds of megabytes.
#[must_use]
pub fn buffer_bytes() -> usize {
    let sizes = (0..8).filter_map(|index| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        kibibytes(&std::fs::read_to_string(path).ok()?)
    });
    let largest = sizes.max().map_or(CACHE_BYTES, |kibibytes| kibibytes << 10);
    (2 * largest.max(CACHE_BYTES)).min(BUFFER_BYTES_MAX)
}

/// The same within `memory` bytes; with less than [`buffer_bytes`] what is measured is a cache.
pub(super) fn buffer_bytes_within(memory: u64) -> usize {
    let memory = usize::try_from(memory).unwrap_or(usize::MAX).max(BUFFER_BYTES_MIN);
    buffer_bytes().min(memory) / 8 * 8
}

/// `480K` and `32768K`.
fn kibibytes(text: &str) -> Option<usize> {
    text.trim().strip_suffix('K')?.parse().ok()
}

/// `len` bytes that are read, in memory of the kind that weights have. Written once: pages that nobody wrote are all one page.
pub(super) fn buffer(len: usize) -> Blob {
    let mut buffer = BlobBuf::zeroed(len);
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
    fn the_buffer_is_larger_than_the_caches_and_bounded() {
        assert!((2 * CACHE_BYTES..=BUFFER_BYTES_MAX).contains(&buffer_bytes()));
        assert_eq!(buffer_bytes_within(u64::MAX), buffer_bytes());
        assert_eq!(buffer_bytes_within(0), BUFFER_BYTES_MIN);
        assert_eq!(kibibytes("491520K\n"), Some(491_520));
        assert_eq!(kibibytes("48"), None);
    }

    #[test]
    fn every_variant_adds_all_words() {
        let words: Vec<[u8; 8]> = (0..96u64).map(u64::to_le_bytes).collect();
        for isa in Isa::available() {
            assert_eq!(sum_words(isa, &words), 95 * 96 / 2);
        }
    }
}
