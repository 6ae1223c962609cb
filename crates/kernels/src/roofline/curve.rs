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

/// Tokens of the products that are timed.
pub const TOKENS: [usize; 7] = [1, 2, 4, 8, 16, 64, 256];

const COLS: usize = 2048;
/// Bytes of weights for one token: more than caches of ordinary machines hold.
const BYTES_ONE: usize = 96 << 20;
/// Bytes of weights for several tokens.
const BYTES_MANY: usize = 12 << 20;
const PASSES: usize = 5;

/// Seconds for each weight in a product with [`TOKENS`] tokens, by all of `threads` threads together: medians of a few passes over
/// weights that lie in memory. Takes about a second and 100 MiB.
///
/// # Panics
/// If `threads` is 0.
#[must_use]
pub fn seconds_per_weight(isa: Isa, threads: usize, dtype: Dtype) -> [f64; TOKENS.len()] {
    let pool = Arc::new(Pool::new(threads));
    let _seat = pool.take_seat();
    let cpu = Cpu::new(isa, Arc::clone(&pool));
    let weights = matrix(dtype);
    // The smaller weights of more tokens may lie in a cache, but more tokens never take less than fewer.
    let mut longest = 0.0f64;
    TOKENS.map(|tokens| {
        let rows = if tokens == 1 { weights.rows() } else { weights.rows() * BYTES_MANY / BYTES_ONE };
        let weights = weights.row_range(0, rows);
        let x =
            Act::from_vec(tokens, COLS, (0..tokens * COLS).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect());
        let mut seconds: Vec<f64> = (0..PASSES)
            .map(|_| {
                let start = Instant::now();
                black_box(cpu.matmul(&x, &weights));
                start.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_unstable_by(f64::total_cmp);
        longest = longest.max(seconds[PASSES / 2] / (rows * COLS) as f64);
        longest
    })
}

fn matrix(dtype: Dtype) -> Matrix {
    let row_bytes = dtype.row_bytes(COLS).expect("whole blocks of every format");
    // Whole tiles of rows, so that none is measured that no model has.
    let rows = (BYTES_ONE / row_bytes).next_multiple_of(64);
    let mut bytes = BlobBuf::zeroed(rows * row_bytes);
    let (first, rest) = bytes.as_mut_slice().split_at_mut(64 * row_bytes);
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
        let seconds = seconds_per_weight(Isa::best(), 1, Dtype::Q4_K);
        assert!(seconds.iter().all(|seconds| *seconds > 0.0 && seconds.is_finite()), "{seconds:?}");
        let (one, many) = (seconds[0], seconds[TOKENS.len() - 1]);
        // 256 times the arithmetic, once the weights.
        assert!(many > one && many < 256.0 * one && seconds.is_sorted(), "{seconds:?}");
    }
}
