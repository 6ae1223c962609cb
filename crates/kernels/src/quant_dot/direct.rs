//! A few tokens: weights decoded in registers from their stored layout.
//!
//! A tile is 8 or 16 rows, an element of a register each. Block by block, their scales and then, group of 32 codes by
//! group, their codes are decoded and multiplied with the token's, four codes at a time; blocks of activations with a
//! second byte are multiplied with that as well while the codes are in registers. While a tile is worked on, the bytes
//! of the next one, or of one further on if rows are short, are asked for, in their own order, so that memory is read in one
//! stream however rows alternate.

use std::ops::Range;

use super::{TileRows, add_column, four_codes, offset_log2};
use crate::lanes::{LINE, Vector, written_out};
use crate::matmul::Matrix;
use crate::pool::Stripe;
use crate::quantize::{Block, Fine, QuantRow};
use crate::stored::{Codes, Raw, Scales, Stored};

/// How far ahead of their use bytes are asked for at the least. Reading alone, one core gets 17 GB/s where it asks 8 to 16 KiB ahead, 16
/// with half a KiB to 4, and 13 with the prefetcher alone (decision 0006).
const AHEAD_BYTES: usize = 8 << 10;

/// A tile of rows.
struct Tile<'a> {
    rows: TileRows<'a>,
    cols: usize,
    /// From its bytes to those that are asked for meanwhile.
    distance: usize,
}

/// What is asked for while a span is worked on: as many bytes some tiles further on. What lies behind a matrix is asked for as well;
/// it is most often the next of a list.
#[derive(Clone, Copy)]
struct Ahead<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Ahead<'a> {
    /// For span `span` of block `b` of `rows`, `distance` bytes further on: a number of tiles.
    #[inline(always)]
    fn new<V: Vector, F: Stored<B>, const B: usize>(
        rows: &'a TileRows<'_>,
        distance: usize,
        b: usize,
        span: usize,
    ) -> Self {
        let at = (b * F::GROUPS + span * F::SPAN) * (V::ROWS * B) / F::GROUPS;
        Self { bytes: &rows.bytes, at: distance + at }
    }

    /// Asks for eighth `k` of the span's lines once `amid` is known, and returns that as it is. A core has but a few dozen requests
    /// under way and does nothing else while it waits for room for one, so they are spread among the arithmetic.
    #[inline(always)]
    fn ask<V: Vector, F: Stored<B>, const B: usize>(self, v: V, k: usize, mut amid: V::Ints) -> V::Ints {
        let lines = (V::ROWS * B * F::SPAN / F::GROUPS).div_ceil(LINE);
        for line in k * lines / 8..(k + 1) * lines / 8 {
            amid = v.prefetch_amid(self.bytes, self.at + line * LINE, amid);
        }
        amid
    }
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
    let tile_bytes = V::ROWS * w.byte_len() / w.rows();
    let distance = AHEAD_BYTES.div_ceil(tile_bytes) * tile_bytes;
    for first in rows.clone().step_by(V::ROWS) {
        let tile = Tile { rows: TileRows::new::<V>(w, first), cols: w.cols(), distance };
        let kept = V::ROWS.min(rows.end - first);
        for (t, x) in x.iter().enumerate() {
            let sums = tile_sums::<V, F, B>(v, &tile, x);
            let out = &mut out.row_mut(t)[first - rows.start..][..kept];
            if kept == V::ROWS {
                v.store_floats(out, sums);
            } else {
                let mut values = V::zero_singles();
                v.store_f(&mut values, sums);
                out.copy_from_slice(&values.as_ref()[..kept]);
            }
        }
    }
}

/// The formula for one token.
#[inline(always)]
fn tile_sums<V: Vector, F: Stored<B>, const B: usize>(v: V, tile: &Tile<'_>, x: &QuantRow<'_>) -> V::Floats {
    let (mut sums, mut fine_sums) = (v.splat_f(0.0), v.splat_f(0.0));
    let mut fine = x.fine;
    for b in 0..tile.cols / (32 * F::GROUPS) {
        let blocks = tile.rows.blocks::<V, B>(b);
        let x_blocks = &x.blocks[b * F::GROUPS..][..F::GROUPS];
        let scales = F::scales(v, &blocks);
        written_out!(span in 0..F::GROUPS / F::SPAN => {
            let raw = F::raw(v, &blocks, span);
            let ahead = Ahead::new::<V, F, B>(&tile.rows, tile.distance, b, span);
            let dots = span_dots::<V, F, B>(v, &raw, span, &x_blocks[span * F::SPAN..][..F::SPAN], ahead);
            for s in 0..F::SPAN {
                let group = span * F::SPAN + s;
                let x = &x_blocks[group];
                let dots = sub_dots::<V, F, B>(v, dots[s], x.code_sums);
                for half in 0..32 / F::SUB {
                    let j = group * (32 / F::SUB) + half;
                    let scale = v.mul(F::scale(v, &scales, j), v.splat_f(x.scale));
                    sums = v.fma(v.to_floats(dots[half]), scale, sums);
                    if F::CODES == Codes::WithMins {
                        let x_sum = if F::SUB == 32 { x.sum } else { x.half_sums[half] };
                        sums = v.fnma(F::min(v, &scales, j), v.splat_f(x_sum), sums);
                    }
                }
            }
            let end = b * F::GROUPS + (span + 1) * F::SPAN;
            while let Some((first, rest)) = fine.split_first() && first.block < end {
                fine_sums = add_fine::<V, F, B>(v, fine_sums, &raw, &scales, span, first);
                fine = rest;
            }
        });
    }
    v.add_f(sums, fine_sums)
}

/// Adds the second byte of a block of activations to the sums.
#[inline(always)]
fn add_fine<V: Vector, F: Stored<B>, const B: usize>(
    v: V,
    sums: V::Floats,
    raw: &Raw<V>,
    scales: &Scales<V>,
    span: usize,
    fine: &Fine,
) -> V::Floats {
    match fine.block % F::SPAN {
        0 => add_fine_group::<V, F, B, 0>(v, sums, raw, scales, span, fine),
        1 => add_fine_group::<V, F, B, 1>(v, sums, raw, scales, span, fine),
        2 => add_fine_group::<V, F, B, 2>(v, sums, raw, scales, span, fine),
        _ => add_fine_group::<V, F, B, 3>(v, sums, raw, scales, span, fine),
    }
}

/// The same where the block is that of group `S` of the span.
#[inline(always)]
fn add_fine_group<V: Vector, F: Stored<B>, const B: usize, const S: usize>(
    v: V,
    mut sums: V::Floats,
    raw: &Raw<V>,
    scales: &Scales<V>,
    span: usize,
    fine: &Fine,
) -> V::Floats {
    let (mut dots, mut run) = ([v.zero(); 2], v.zero());
    written_out!(k in 0..8 => {
        let w = F::codes(v, raw, span, k)[S];
        let x = v.splat_32(four_codes(&fine.codes, k));
        dots[k / 4] = add_dot::<V, F, B>(v, dots[k / 4], &mut run, k, w, x);
    });
    let dots = sub_dots::<V, F, B>(v, dots, fine.sums);
    for half in 0..32 / F::SUB {
        let j = (span * F::SPAN + S) * (32 / F::SUB) + half;
        let scale = v.mul(F::scale(v, scales, j), v.splat_f(fine.scale));
        sums = v.fma(v.to_floats(dots[half]), scale, sums);
    }
    sums
}

/// The products of all groups of a span with codes for each, apart for the halves of each group.
#[inline(always)]
fn span_dots<V: Vector, F: Stored<B>, const B: usize>(
    v: V,
    raw: &Raw<V>,
    span: usize,
    x: &[Block],
    ahead: Ahead<'_>,
) -> [[V::Ints; 2]; 4] {
    let mut dots = [[v.zero(); 2]; 4];
    let mut runs = [v.zero(); 4];
    written_out!(k in 0..8 => {
        let w = F::codes(v, raw, span, k);
        for s in 0..F::SPAN {
            let x = v.splat_32(four_codes(&x[s].codes, k));
            dots[s][k / 4] = add_dot::<V, F, B>(v, dots[s][k / 4], &mut runs[s], k, w[s], x);
        }
        let has_run = const { F::CODES.run() > 1 } && v.narrow().is_some();
        let amid = if has_run { &mut runs[F::SPAN - 1] } else { &mut dots[F::SPAN - 1][k / 4] };
        *amid = ahead.ask::<V, F, B>(v, k, *amid);
    });
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

/// Adds the products of column `k`; see `add_column`.
#[inline(always)]
fn add_dot<V: Vector, F: Stored<B>, const B: usize>(
    v: V,
    sums: V::Ints,
    run: &mut V::Ints,
    k: usize,
    w: V::Ints,
    x: V::Ints,
) -> V::Ints {
    match const { (F::CODES.run(), matches!(F::CODES, Codes::Signed)) } {
        (_, true) => v.dot_biased(sums, w, x),
        (4, _) => add_column::<V, 4>(v, sums, run, k, w, x),
        (2, _) => add_column::<V, 2>(v, sums, run, k, w, x),
        _ => add_column::<V, 1>(v, sums, run, k, w, x),
    }
}

#[inline(always)]
fn without_offset<V: Vector>(v: V, sums: V::Ints, codes: Codes, code_sum: i32) -> V::Ints {
    match offset_log2::<V>(codes) {
        Some(log2) => v.sub_32(sums, v.splat_32(code_sum << log2)),
        None => sums,
    }
}
