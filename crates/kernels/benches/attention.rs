//! Attention by shape: G multiply-adds a second, and for one query GB/s of keys and values, with one thread.
//!
//! `cargo bench -p shoal-kernels --bench attention [-- ISA]`.

mod timing;

use std::hint::black_box;
use std::sync::Arc;

use shoal_base::{BlockId, Prng};
use shoal_kernels::attention::{AttendSpan, AttentionShape, BlockRows};
use shoal_kernels::{Act, Cpu, Isa, Pool};

use timing::{ROUNDS, median_seconds};

const BLOCK_LEN: usize = 64;

struct Case {
    name: &'static str,
    heads: usize,
    kv_heads: usize,
    key_dim: usize,
    value_dim: usize,
    /// Values are the beginnings of the keys.
    is_latent: bool,
}

const CASES: [Case; 4] = [
    Case { name: "grouped", heads: 12, kv_heads: 2, key_dim: 128, value_dim: 128, is_latent: false },
    Case { name: "mla, expanded", heads: 16, kv_heads: 16, key_dim: 192, value_dim: 128, is_latent: false },
    Case { name: "mla, absorbed", heads: 16, kv_heads: 1, key_dim: 576, value_dim: 512, is_latent: true },
    Case { name: "mla, V3 heads", heads: 128, kv_heads: 1, key_dim: 576, value_dim: 512, is_latent: true },
];

fn main() {
    // Cargo itself passes `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let isa = args
        .first()
        .map_or(Isa::best(), |name| Isa::by_name(name).expect("an instruction set of this machine"));
    let cpu = Cpu::new(isa, Arc::new(Pool::new(1)));
    println!("{isa}, one thread, medians of {ROUNDS}");
    println!("{:<14} {:>8} {:>10} {:>8} {:>8}", "heads", "queries", "positions", "GMAC/s", "GB/s");
    for case in &CASES {
        for (queries, positions) in [(256, 512), (1, 512), (1, 4096)] {
            run(&cpu, case, queries, positions);
        }
    }
}

/// The last `queries` of `positions` positions attend to all before them.
fn run(cpu: &Cpu, case: &Case, queries: usize, positions: usize) {
    let blocks: Vec<BlockId> = (0..positions.div_ceil(BLOCK_LEN) as u32).map(BlockId).collect();
    let rows = blocks.len() * BLOCK_LEN;
    let (key_width, value_width) = (case.kv_heads * case.key_dim, case.kv_heads * case.value_dim);
    let keys = numbers(rows * key_width);
    let values = numbers(if case.is_latent { 0 } else { rows * value_width });
    let keys = BlockRows { data: &keys, block_len: BLOCK_LEN, width: key_width };
    let values = if case.is_latent {
        keys
    } else {
        BlockRows { data: &values, block_len: BLOCK_LEN, width: value_width }
    };
    let shape = AttentionShape {
        heads: case.heads,
        kv_heads: case.kv_heads,
        key_dim: case.key_dim,
        value_dim: case.value_dim,
        scale: 0.1,
    };
    let first_pos = positions - queries;
    let q = Act::from_vec(queries, case.heads * case.key_dim, numbers(queries * case.heads * case.key_dim));
    let seconds = median_seconds(|| {
        let span = AttendSpan { rows: 0..queries, first_pos, blocks: &blocks };
        black_box(cpu.attention(&q, keys, values, &[span], shape));
    });
    let pairs: usize = (first_pos + 1..=positions).sum();
    let macs = pairs * case.heads * (case.key_dim + case.value_dim);
    let bytes = 4 * positions * (key_width + if case.is_latent { 0 } else { value_width });
    let gb_per_s = if queries == 1 { format!("{:.1}", bytes as f64 / seconds / 1e9) } else { "-".to_owned() };
    println!(
        "{:<14} {queries:>8} {positions:>10} {:>8.1} {gb_per_s:>8}",
        case.name,
        macs as f64 / seconds / 1e9
    );
}

fn numbers(len: usize) -> Vec<f32> {
    let mut prng = Prng::new(9);
    (0..len).map(|_| (prng.next_u64() % 2001) as f32 / 1000.0 - 1.0).collect()
}
