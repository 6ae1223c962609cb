//! What a product costs by format and number of tokens: what a planner counts with.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use shoal_base::{BlobBuf, Prng};
use shoal_quant::Dtype;
use shoal_quant::synthetic::random_blocks;

use crate::act::Act;
use crate::isa::Isa;
use crate::matmul::Matrix;
use crate::ops::Cpu;
use crate::pool::Pool;
use crate::roofline::read::buffer_bytes_within;

/// Tokens of the products that are timed.
pub const TOKENS: [usize; 7] = [1, 2, 4, 8, 16, 64, 256];

const COLS: usize = 2048;
/// Bytes of weights in a product of one token, and of several.
const BYTES_ONE: usize = 24 << 20;
const BYTES_MANY: usize = 8 << 20;
const PASSES: usize = 7;

/// Seconds for each weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seconds {
    /// In a product with [`TOKENS`] tokens, with weights from memory.
    pub from_memory: [f64; TOKENS.len()],
    /// With one token and weights that caches hold.
    pub from_cache: f64,
}

/// Seconds for each weight in a product with [`TOKENS`] tokens, by all of `threads` threads together: medians of a few passes, each over
/// weights that caches have had time to forget. Takes about a second, and [`super::buffer_bytes`] of memory, or `memory` if that is less,
/// but 48 MiB at the least.
///
/// # Panics
/// If `threads` is 0.
#[must_use]
pub fn seconds_per_weight(isa: Isa, threads: usize, dtype: Dtype, memory: u64) -> Seconds {
    let pool = Arc::new(Pool::new(threads));
    let _seat = pool.take_seat();
    let cpu = Cpu::new(isa, Arc::clone(&pool));
    let all = buffer_bytes_within(memory).max(2 * BYTES_ONE);
    let weights = matrix(dtype, all);
    let mut first = 0;
    let mut median = |tokens: usize, rows: usize, moves_on: bool| {
        let values = (0..tokens * COLS).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect();
        let x = Act::from_vec(tokens, COLS, values);
        let mut seconds: Vec<f64> = (0..PASSES)
            .map(|_| {
                if first + rows > weights.rows() {
                    first = 0;
                }
                let weights = weights.row_range(first, rows);
                first += if moves_on { rows } else { 0 };
                let start = Instant::now();
                black_box(cpu.matmul(&x, &weights));
                start.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_unstable_by(f64::total_cmp);
        seconds[PASSES / 2] / (rows * COLS) as f64
    };
    let rows = |bytes: usize| (bytes / (weights.byte_len() / weights.rows())).next_multiple_of(ROWS);
    // More tokens never take less than fewer: where they seem to, something else disturbed the fewer.
    let mut longest = 0.0f64;
    let from_memory = TOKENS.map(|tokens| {
        let bytes = if tokens == 1 { BYTES_ONE } else { BYTES_MANY };
        longest = longest.max(median(tokens, rows(bytes), true));
        longest
    });
    Seconds { from_memory, from_cache: median(1, rows(BYTES_ONE), false) }
}

/// Rows that are made once: whole tiles of every kernel.
const ROWS: usize = 64;

fn matrix(dtype: Dtype, bytes: usize) -> Matrix {
    let row_bytes = dtype.row_bytes(COLS).expect("whole blocks of every format");
    let rows = (bytes / row_bytes).next_multiple_of(ROWS);
    let mut bytes = BlobBuf::zeroed(rows * row_bytes);
    let (first, rest) = bytes.as_mut_slice().split_at_mut(ROWS * row_bytes);
    random_blocks(dtype, 1.0 / (COLS as f32).sqrt(), &mut Prng::new(1), first);
    for more in rest.chunks_mut(first.len()) {
        more.copy_from_slice(&first[..more.len()]);
    }
    Matrix::new(dtype, rows, COLS, bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_tokens_take_longer_and_less_for_each() {
        let Seconds { from_memory: seconds, from_cache } =
            seconds_per_weight(Isa::best(), 1, Dtype::Q4_K, 64 << 20);
        assert!(seconds.iter().all(|seconds| *seconds > 0.0 && seconds.is_finite()), "{seconds:?}");
        assert!(from_cache > 0.0 && from_cache.is_finite());
        let (one, many) = (seconds[0], seconds[TOKENS.len() - 1]);
        // 256 times the arithmetic, once the weights.
        assert!(many > one && many < 256.0 * one && seconds.is_sorted(), "{seconds:?}");
    }
}
