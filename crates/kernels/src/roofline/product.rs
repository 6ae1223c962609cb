//! How fast a product runs on data that the caches hold.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use shoal_base::BlobBuf;
use shoal_quant::Dtype;

use crate::act::Act;
use crate::isa::Isa;
use crate::matmul::Matrix;
use crate::ops::Cpu;
use crate::pool::Pool;

/// Rows for each thread, columns and tokens: with 2-byte weights 128 KiB a thread beside 400 KiB of activations.
const ROWS_PER_THREAD: usize = 64;
const COLS: usize = 1024;
const TOKENS: usize = 96;
/// Passes: the first brings the data into the caches, and something else on the machine should not sit through all.
const PASSES: usize = 24;

/// Multiply-adds per second of products of `dtype` weights with many tokens, by all threads of `pool` together: the
/// best of a few passes.
pub(super) fn macs_per_s(isa: Isa, pool: &Arc<Pool>, dtype: Dtype) -> f64 {
    let rows = ROWS_PER_THREAD * pool.thread_count();
    let row_bytes = dtype.row_bytes(COLS).expect("whole blocks of every format");
    let mut bytes = BlobBuf::zeroed(rows * row_bytes);
    bytes.as_mut_slice().fill(0x3F); // floats near 1 in the formats that are measured
    let w = Matrix::new(dtype, rows, COLS, bytes.freeze());
    let x = Act::from_vec(TOKENS, COLS, (0..TOKENS * COLS).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect());
    let cpu = Cpu::new(isa, Arc::clone(pool));
    let mut seconds_best = f64::INFINITY;
    for _ in 0..PASSES {
        let start = Instant::now();
        black_box(cpu.matmul(&x, &w));
        seconds_best = seconds_best.min(start.elapsed().as_secs_f64());
    }
    (rows * COLS * TOKENS) as f64 / seconds_best
}
