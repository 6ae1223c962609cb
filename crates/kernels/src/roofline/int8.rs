//! How fast bytes are multiplied and added: the bound of products of quantised weights with many tokens.
//!
//! With SIMD it is the peak: registers multiplied one after the other with nothing between, with codes as small as those of formats
//! of four and five bits, which no kernel reaches, since it has scales to apply. The reference has no peak of its own, so there it is the speed of its product on data in the
//! cache.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use shoal_quant::Dtype;

use super::product;
use crate::isa::Isa;
use crate::lanes::Vector;
use crate::pool::Pool;
use crate::quant_dot::add_column;

/// Sums that are added to in turn: more than an addition takes to finish, and no more than registers.
const SUMS: usize = 12;
/// Registers multiplied in a round, [`SUMS`] a time: few enough for the first cache.
const REGISTERS: usize = 16 * SUMS;
/// Registers of small codes whose products are added up before they are widened, where that is faster.
const RUN: usize = 4;
/// Rounds of an item: some tenths of a millisecond.
const ROUNDS: usize = 4000;
/// Items for each thread, so that threads finish together.
const ITEMS_PER_THREAD: usize = 8;
/// Passes: enough of them that something else on the machine does not sit through all.
const PASSES: usize = 10;

/// Multiply-adds of bytes per second by all threads of `pool` together, the best of a few passes.
pub(super) fn macs_per_s(isa: Isa, pool: &Arc<Pool>) -> f64 {
    if isa == Isa::Scalar {
        return product::macs_per_s(isa, pool, Dtype::Q8_0);
    }
    let items = pool.thread_count() * ITEMS_PER_THREAD;
    let mut best = 0.0f64;
    for _ in 0..PASSES {
        let start = Instant::now();
        pool.run(items, &|_| {
            black_box(run(isa, ROUNDS));
        });
        let macs = items as u64 * macs(isa, ROUNDS);
        best = best.max(macs as f64 / start.elapsed().as_secs_f64());
    }
    best
}

/// Multiply-adds of `rounds` rounds.
const fn macs(isa: Isa, rounds: usize) -> u64 {
    let register_bytes = match isa {
        Isa::Scalar => 1,
        Isa::Avx2(_) | Isa::AvxVnni(_) => 32,
        Isa::Avx512(_) => 64,
    };
    (rounds * REGISTERS * register_bytes) as u64
}

/// Multiplies with the instructions of `isa`; yields the sum of all products.
fn run(isa: Isa, rounds: usize) -> u64 {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(proof) => super::x86::avx2::multiply_adds(proof, rounds),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni(proof) => super::x86::avx_vnni::multiply_adds(proof, rounds),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(proof) => super::x86::avx512::multiply_adds(proof, rounds),
        _ => macs(isa, rounds),
    }
}

/// No register lies across two cache lines.
#[repr(align(64))]
struct Aligned([[u8; 64]; REGISTERS]);

/// Multiplies registers of ones with registers of ones: the sum of all products is how many there were.
#[inline(always)]
pub(super) fn multiply_adds<V: Vector>(v: V, rounds: usize) -> u64 {
    let mut memory = Aligned([[1u8; 64]; REGISTERS]);
    let x = &V::as_bytes_mut(&mut memory.0)[..REGISTERS];
    let w = v.splat_8(black_box(1));
    let mut sums = [v.zero(); SUMS];
    for _ in 0..rounds {
        // Not looked through, so that no product is kept from round to round.
        for x in black_box(x).as_chunks::<SUMS>().0.as_chunks::<RUN>().0 {
            for i in 0..SUMS {
                let mut run = v.zero();
                for k in 0..RUN {
                    sums[i] = add_column::<V, RUN>(v, sums[i], &mut run, k, w, v.load(&x[k][i]));
                }
            }
        }
    }
    let mut total = 0;
    for sum in sums {
        let mut values = V::zero_singles();
        v.store_f(&mut values, v.to_floats(sum));
        for value in values.as_ref() {
            total += *value as u64;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_multiplies_as_often_as_it_counts() {
        for isa in Isa::available() {
            for rounds in [1, 7] {
                assert_eq!(run(isa, rounds), macs(isa, rounds), "{isa}");
            }
        }
    }
}
