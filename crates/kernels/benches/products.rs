//! Products by format: GB/s of weights for one token (from memory and from the second cache) and G multiply-adds a second
//! for many tokens, with one thread.
//!
//! `cargo bench -p shoal-kernels --bench products [-- FORMAT ISA]`. The read bandwidth of one thread, measured in the same run, is the
//! bound of the first column; its multiply-adds of bytes are the bound of the last.

mod timing;

use std::hint::black_box;
use std::sync::Arc;

use shoal_base::{Blob, BlobBuf, Prng};
use shoal_kernels::{Act, Cpu, Isa, Matrix, Pool, roofline};
use shoal_quant::Dtype;

use timing::{ROUNDS, median_seconds};

const COLS: usize = 2048;
/// Weights larger than the caches, and smaller than the second of them.
const MEMORY_BYTES: usize = 192 << 20;
const CACHE_BYTES: usize = 256 << 10;
const TOKENS: usize = 96;

fn main() {
    // Cargo itself passes `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let isa = args
        .get(1)
        .map_or(Isa::best(), |name| Isa::by_name(name).expect("an instruction set of this machine"));
    let pool = Arc::new(Pool::new(1));
    let bounds = roofline::measure(isa, 1, u64::MAX).at(1);
    let bandwidth = bounds.read_bytes_per_s / 1e9;
    println!(
        "{isa}, one thread, memory reads {bandwidth:.1} GB/s, int8 {:.1} GMAC/s, rows of {COLS}, medians of {ROUNDS}",
        bounds.int8_macs_per_s / 1e9
    );
    println!(
        "{:<8} {:>12} {:>8} {:>12} {:>14}",
        "format", "memory GB/s", "share", "cache GB/s", "96 tok GMAC/s"
    );
    let cpu = Cpu::new(isa, pool);
    for &dtype in Dtype::ALL.iter().filter(|dtype| dtype.is_weight()) {
        if args.first().is_some_and(|name| name != dtype.name()) {
            continue;
        }
        let from_memory = gb_per_s(&cpu, &matrix(dtype, MEMORY_BYTES), 1);
        let from_cache = gb_per_s(&cpu, &matrix(dtype, CACHE_BYTES), 200);
        let gmac = gmac_per_s(&cpu, &matrix(dtype, 4 << 20));
        println!(
            "{:<8} {from_memory:>12.1} {:>6.0} % {from_cache:>12.1} {gmac:>14.1}",
            dtype.name(),
            100.0 * from_memory / bandwidth
        );
    }
}

/// About `bytes` of random blocks, with scales that are neither infinite nor subnormal: cores are slow with those.
fn matrix(dtype: Dtype, bytes: usize) -> Matrix {
    let row_bytes = dtype.row_bytes(COLS).expect("whole blocks");
    let rows = (bytes / row_bytes).next_multiple_of(32);
    let mut prng = Prng::new(7);
    let mut buf = BlobBuf::zeroed(rows * row_bytes);
    for word in buf.as_mut_slice().chunks_mut(8) {
        let random = (prng.next_u64() & 0x3F3F_3F3F_3F3F_3F3F).to_le_bytes();
        word.copy_from_slice(&random[..word.len()]);
    }
    if let Some(float_bytes) = match dtype {
        Dtype::F32 => Some(4),
        Dtype::BF16 => Some(2),
        _ => None,
    } {
        // The last byte of a plain float is most of its exponent.
        for float in buf.as_mut_slice().chunks_exact_mut(float_bytes) {
            float[float_bytes - 1] |= 0x30;
        }
    }
    if dtype == Dtype::MXFP4 {
        for block in buf.as_mut_slice().chunks_mut(dtype.block_bytes()) {
            block[0] = 120 + block[0] % 8;
        }
    }
    let blob: Blob = buf.freeze();
    Matrix::new(dtype, rows, COLS, blob)
}

fn activations(tokens: usize) -> Act {
    let mut prng = Prng::new(9);
    let values = (0..tokens * COLS).map(|_| (prng.next_u64() % 2001) as f32 / 1000.0 - 1.0).collect();
    Act::from_vec(tokens, COLS, values)
}

fn gb_per_s(cpu: &Cpu, w: &Matrix, repeats: usize) -> f64 {
    let x = activations(1);
    let seconds = median_seconds(|| {
        for _ in 0..repeats {
            black_box(cpu.matmul(&x, w));
        }
    });
    (repeats * w.byte_len()) as f64 / seconds / 1e9
}

fn gmac_per_s(cpu: &Cpu, w: &Matrix) -> f64 {
    let x = activations(TOKENS);
    let seconds = median_seconds(|| {
        black_box(cpu.matmul(&x, w));
    });
    (TOKENS * w.rows() * w.cols()) as f64 / seconds / 1e9
}
