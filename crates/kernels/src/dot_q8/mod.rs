//! Dot products of unpacked quantised weights with activations in 15 bits: the inner loop of every matrix product.
//!
//! Shapes    panel codes [4, K] i8 with scales and minima [4, K / sub] f32, sub = 16 or 32 · activations of T
//!           tokens: codes and fine [K] i8 with scales [K / 32] f32 · out [T, 4] f32
//! Meaning   out = sum over sub-blocks of  w_scale * x_scale * (w . (128 codes + fine))  -  w_min * x_sum
//! Numerics  The product of codes is an exact integer; it is converted to f32 (a lane of
//!           four products stays below 2^24, where that is exact) and scaled in f32. Variants differ only in the number of lanes over which the f32
//!           sums run. Within a variant the sum of one row and one token runs in one order, whatever the tile.
//!           |y - y_f64| <= (K / 8) * f32::EPSILON * sum |terms|, checked in `tests`.
//! Cost      one pass over the codes of 4 rows for up to 4 tokens; see `matmul` for who reads memory when.
//! Why signed and unsigned: the x86 instructions multiply unsigned by signed bytes. AVX2 moves the weight's sign to
//!           the activation; AVX-512 adds 128 to the activation and takes 128 * sum(w) off again, in integers.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;
#[cfg(test)]
mod tests;

use crate::isa::Isa;
use crate::panel::{Panel, TILE_ROWS};
use crate::quantize::QuantRow;

/// What a tile yields for one token: one value for each row of the panel.
pub(crate) type TileRow = [f32; TILE_ROWS];

/// Multiplies the panel with every token of `tokens`; calls `emit(i, values)` for the `i`-th.
pub(crate) fn dot_tile<'a>(
    isa: Isa,
    panel: &Panel,
    tokens: impl ExactSizeIterator<Item = QuantRow<'a>>,
    emit: impl FnMut(usize, TileRow),
) {
    match isa {
        Isa::Scalar => one_by_one(tokens, emit, |x| scalar::tile(panel, x)),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(proof) => match panel.sub {
            16 => one_by_one(tokens, emit, |x| avx2::tile::<1, 16>(proof, panel, x)),
            _ => one_by_one(tokens, emit, |x| avx2::tile::<1, 32>(proof, panel, x)),
        },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(proof) => match panel.sub {
            16 => in_groups_then_single(
                tokens,
                emit,
                |x| avx512::tile::<4, 4>(proof, panel, x),
                |x| avx512::tile::<1, 4>(proof, panel, x),
            ),
            _ => in_groups_then_single(
                tokens,
                emit,
                |x| avx512::tile::<4, 2>(proof, panel, x),
                |x| avx512::tile::<1, 2>(proof, panel, x),
            ),
        },
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2(_) | Isa::Avx512(_) => unreachable!("no proof of these exists on this machine"),
    }
}

fn one_by_one<'a>(
    tokens: impl Iterator<Item = QuantRow<'a>>,
    mut emit: impl FnMut(usize, TileRow),
    tile: impl Fn([QuantRow<'a>; 1]) -> [TileRow; 1],
) {
    for (i, x) in tokens.enumerate() {
        let [values] = tile([x]);
        emit(i, values);
    }
}

/// Four tokens at a time, the rest one by one: the same sums either way.
fn in_groups_then_single<'a>(
    mut tokens: impl ExactSizeIterator<Item = QuantRow<'a>>,
    mut emit: impl FnMut(usize, TileRow),
    tile_of_four: impl Fn([QuantRow<'a>; 4]) -> [TileRow; 4],
    tile_of_one: impl Fn([QuantRow<'a>; 1]) -> [TileRow; 1],
) {
    let mut i = 0;
    while tokens.len() >= 4 {
        let mut next = || tokens.next().expect("four are left");
        for values in tile_of_four([next(), next(), next(), next()]) {
            emit(i, values);
            i += 1;
        }
    }
    for x in tokens {
        let [values] = tile_of_one([x]);
        emit(i, values);
        i += 1;
    }
}
