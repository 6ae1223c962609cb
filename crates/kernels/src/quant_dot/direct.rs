//! A few tokens: weights decoded in registers from their stored layout.
//!
//! A tile is 8 or 16 rows, an element of a register each. Block by block, their scales and then, group of 32 codes by
//! group, their codes are decoded and multiplied with the token's, four codes at a time; blocks of activations with a
//! second byte are multiplied with that as well while the codes are in registers. While a tile is worked on, the bytes
//! of the next one are asked for, in their own order, so that memory is read in one stream however rows alternate.

use std::ops::Range;

use super::{TileRows, four_codes, offset_log2};
use crate::lanes::Vector;
use crate::matmul::Matrix;
use crate::pool::Stripe;
use crate::quantize::QuantRow;
use crate::stored::{Codes, Raw, Scales, Stored};

/// A tile of rows.
struct Tile<'a> {
    rows: TileRows<'a>,
    cols: usize,
    /// What follows in memory: the next tile.
    next: &'a [u8],
}

/// Multiplies rows `rows` of `w` with every token.
#[inline(always)]
pub(super) fn multiply<V: Vector, F: Stored<B>, const B: usize>(
    v: V,
    w: &Matrix,
    rows: Range<usize>,
    x: &[QuantRow<'_>],
    out: &mut Stripe<'_, f32>,
) {
    for first in rows.clone().step_by(V::ROWS) {
        let next = w.bytes_of_rows(first + V::ROWS, V::ROWS);
        let tile = Tile { rows: TileRows::new(w, first, rows.end), cols: w.cols(), next };
        let kept = V::ROWS.min(rows.end - first);
        for (t, x) in x.iter().enumerate() {
            let sums = tile_sums::<V, F, B>(v, &tile, x);
            let mut values = V::zero_singles();
            v.store_f(&mut values, sums);
            out.row_mut(t)[first - rows.start..][..kept].copy_from_slice(&values.as_ref()[..kept]);
        }
    }
}

/// The formula for one token.
#[inline(always)]
fn tile_sums<V: Vector, F: Stored<B>, const B: usize>(v: V, tile: &Tile<'_>, x: &QuantRow<'_>) -> V::Floats {
    let (mut sums, mut fine_sums) = (v.splat_f(0.0), v.splat_f(0.0));
    let mut fine = x.fine.iter().peekable();
    let block_count = tile.cols / (32 * F::GROUPS);
    let groups = block_count * F::GROUPS;
    let (codes, scales, code_sums) = (&x.codes[..groups], &x.scales[..groups], &x.code_sums[..groups]);
    let (sums_16, sums_32) = (&x.sums_16[..groups], &x.sums_32[..groups]);
    for b in 0..block_count {
        let ahead = (V::ROWS * B * b).min(tile.next.len());
        v.prefetch(&tile.next[ahead..(ahead + V::ROWS * B).min(tile.next.len())]);
        let blocks = tile.rows.blocks::<B>(b);
        let Scales { scales: w_scales, mins } = F::scales(v, &blocks);
        for span in 0..F::GROUPS / F::SPAN {
            let raw = F::raw(v, &blocks, span);
            let first = b * F::GROUPS + span * F::SPAN;
            let dots = span_dots::<V, F, B>(v, &raw, span, &codes[first..][..F::SPAN]);
            for s in 0..F::SPAN {
                let (group, at) = (span * F::SPAN + s, first + s);
                let dots = sub_dots::<V, F, B>(v, dots[s], code_sums[at]);
                for half in 0..32 / F::SUB {
                    let j = group * (32 / F::SUB) + half;
                    let scale = v.mul(w_scales[j], v.splat_f(scales[at]));
                    sums = v.fma(v.to_floats(dots[half]), scale, sums);
                    if F::CODES == Codes::WithMins {
                        let x_sum = if F::SUB == 32 { sums_32[at] } else { sums_16[at][half] };
                        sums = v.fnma(mins[j], v.splat_f(x_sum), sums);
                    }
                }
            }
            while let Some(fine) = fine.next_if(|fine| fine.block < first + F::SPAN) {
                let group = fine.block % F::GROUPS;
                let x = &fine.codes;
                let dots = match fine.block - first {
                    0 => group_dots::<V, F, B, 0>(v, &raw, span, x),
                    1 => group_dots::<V, F, B, 1>(v, &raw, span, x),
                    2 => group_dots::<V, F, B, 2>(v, &raw, span, x),
                    _ => group_dots::<V, F, B, 3>(v, &raw, span, x),
                };
                let dots = sub_dots::<V, F, B>(v, dots, fine.sums);
                for half in 0..32 / F::SUB {
                    let scale = v.mul(w_scales[group * (32 / F::SUB) + half], v.splat_f(fine.scale));
                    fine_sums = v.fma(v.to_floats(dots[half]), scale, fine_sums);
                }
            }
        }
    }
    v.add_f(sums, fine_sums)
}

/// The products of all groups of a span with codes for each, apart for the halves of each group.
#[inline(always)]
fn span_dots<V: Vector, F: Stored<B>, const B: usize>(
    v: V,
    raw: &Raw<V>,
    span: usize,
    x: &[[i8; 32]],
) -> [[V::Ints; 2]; 4] {
    let mut dots = [[v.zero(); 2]; 4];
    // The number of turns is known to the compiler, and the registers of `raw` have no index at run time.
    for k in 0..8 {
        let w = F::codes(v, raw, span, k);
        for s in 0..F::SPAN {
            dots[s][k / 4] = dot::<V, F, B>(v, dots[s][k / 4], w[s], v.splat_32(four_codes(&x[s], k)));
        }
    }
    dots
}

/// The same for one group of the span.
#[inline(always)]
fn group_dots<V: Vector, F: Stored<B>, const B: usize, const S: usize>(
    v: V,
    raw: &Raw<V>,
    span: usize,
    x: &[i8; 32],
) -> [V::Ints; 2] {
    let mut dots = [v.zero(); 2];
    for k in 0..8 {
        let w = F::codes(v, raw, span, k)[S];
        dots[k / 4] = dot::<V, F, B>(v, dots[k / 4], w, v.splat_32(four_codes(x, k)));
    }
    dots
}

/// The products of one group, offsets taken off: of the whole group twice, or of each half of it.
#[inline(always)]
fn sub_dots<V: Vector, F: Stored<B>, const B: usize>(
    v: V,
    [lower, upper]: [V::Ints; 2],
    code_sums: [i32; 2],
) -> [V::Ints; 2] {
    if F::SUB == 32 {
        let whole = without_offset::<V>(v, v.add_32(lower, upper), F::CODES, code_sums[0] + code_sums[1]);
        [whole, whole]
    } else {
        [
            without_offset::<V>(v, lower, F::CODES, code_sums[0]),
            without_offset::<V>(v, upper, F::CODES, code_sums[1]),
        ]
    }
}

#[inline(always)]
fn dot<V: Vector, F: Stored<B>, const B: usize>(v: V, sums: V::Ints, w: V::Ints, x: V::Ints) -> V::Ints {
    if F::CODES == Codes::Signed { v.dot_biased(sums, w, x) } else { v.dot(sums, w, x) }
}

#[inline(always)]
fn without_offset<V: Vector>(v: V, sums: V::Ints, codes: Codes, code_sum: i32) -> V::Ints {
    match offset_log2::<V>(codes) {
        Some(log2) => v.sub_32(sums, v.splat_32(code_sum << log2)),
        None => sums,
    }
}
