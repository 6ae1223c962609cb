//! A few tokens: float weights turned into f32 in registers as they are read.
//!
//! Four rows go together, 16 lanes of sums each, and the bytes of the next four are asked for line by line on the way.
//! Lanes, order and roundings are those of the tiles in the module above, so a token has one answer in any company.

use std::marker::PhantomData;
use std::ops::Range;

use shoal_quant::{Dtype, f8_e4m3};

use super::TILE;
use crate::lanes::{LINE, Vector};
use crate::math::LANES;
use crate::matmul::Matrix;
use crate::pool::Stripe;

/// A format of float weights.
pub(super) trait Format {
    /// The products of four rows with a token; the bytes of the next four are asked for.
    fn four_rows<V: Vector>(v: V, rows: [&[u8]; TILE], next: &[u8], x: &[f32]) -> [f32; TILE];
}

/// A plain format; `N` bytes hold 16 elements.
pub(super) trait Element<const N: usize> {
    /// Its name.
    const DTYPE: Dtype;
    /// The elements from `first` on, a register of them.
    fn load<V: Vector>(v: V, bytes: &[u8; N], first: usize) -> V::Floats;
}

pub(super) struct F32;
pub(super) struct F16;
pub(super) struct Bf16;

/// Rows of plain elements.
pub(super) struct Plain<E, const N: usize>(PhantomData<E>);

/// Rows of [`f8_e4m3`].
pub(super) struct F8;

impl Element<64> for F32 {
    const DTYPE: Dtype = Dtype::F32;

    #[inline(always)]
    fn load<V: Vector>(v: V, bytes: &[u8; 64], first: usize) -> V::Floats {
        v.load_f32(&bytes[4 * first..])
    }
}

impl Element<32> for F16 {
    const DTYPE: Dtype = Dtype::F16;

    #[inline(always)]
    fn load<V: Vector>(v: V, bytes: &[u8; 32], first: usize) -> V::Floats {
        v.load_f16(&bytes[2 * first..])
    }
}

impl Element<32> for Bf16 {
    const DTYPE: Dtype = Dtype::BF16;

    #[inline(always)]
    fn load<V: Vector>(v: V, bytes: &[u8; 32], first: usize) -> V::Floats {
        v.load_bf16(&bytes[2 * first..])
    }
}

/// Multiplies rows `rows` of `w` with every token.
#[inline(always)]
pub(super) fn multiply<V: Vector, F: Format>(
    v: V,
    w: &Matrix,
    rows: Range<usize>,
    x: &[&[f32]],
    out: &mut Stripe<'_, f32>,
) {
    for first in rows.clone().step_by(TILE) {
        let kept = TILE.min(rows.end - first);
        let (tile, row_bytes) = (w.bytes_of_rows(first, kept), w.byte_len() / w.rows());
        let mut w_rows: [&[u8]; TILE] = [&[]; TILE];
        for r in 0..TILE {
            // Past the end the last row again: what comes of it is not kept.
            w_rows[r] = &tile[r.min(kept - 1) * row_bytes..][..row_bytes];
        }
        let next = w.bytes_of_rows(first + TILE, TILE);
        for (t, x) in x.iter().enumerate() {
            let sums = F::four_rows(v, w_rows, next, x);
            out.row_mut(t)[first - rows.start..][..kept].copy_from_slice(&sums[..kept]);
        }
    }
}

impl<E: Element<N>, const N: usize> Format for Plain<E, N> {
    #[inline(always)]
    fn four_rows<V: Vector>(v: V, rows: [&[u8]; TILE], next: &[u8], x: &[f32]) -> [f32; TILE] {
        let (x_lanes, x_tail) = x.as_chunks::<LANES>();
        let mut w_lanes: [&[[u8; N]]; TILE] = [&[]; TILE];
        for r in 0..TILE {
            w_lanes[r] = &rows[r].as_chunks().0[..x_lanes.len()];
        }
        let mut lanes = [[v.splat_f(0.0); 2]; TILE];
        for (i, x) in x_lanes.iter().enumerate() {
            for line in 0..(TILE * N).div_ceil(LINE) {
                v.prefetch(next, i * TILE * N + line * LINE);
            }
            for part in 0..LANES / V::ROWS {
                let x = v.load_floats(&x[part * V::ROWS..]);
                for r in 0..TILE {
                    let w = E::load(v, &w_lanes[r][i], part * V::ROWS);
                    lanes[r][part] = v.fma(w, x, lanes[r][part]);
                }
            }
        }
        let mut sums = [0.0; TILE];
        for r in 0..TILE {
            sums[r] = v.sum_16(lanes[r]);
            let w_tail = &mut [0.0; LANES][..x_tail.len()];
            shoal_quant::decode_row(E::DTYPE, &rows[r][x_lanes.len() * N..], w_tail);
            for (w, x) in w_tail.iter().zip(x_tail) {
                sums[r] = w.mul_add(*x, sums[r]);
            }
        }
        sums
    }
}

impl Format for F8 {
    #[inline(always)]
    fn four_rows<V: Vector>(v: V, rows: [&[u8]; TILE], next: &[u8], x: &[f32]) -> [f32; TILE] {
        const BYTES: usize = f8_e4m3::BYTES;
        let x_blocks = x.as_chunks::<{ f8_e4m3::LEN }>().0;
        let mut w_blocks: [&[[u8; BYTES]]; TILE] = [&[]; TILE];
        for r in 0..TILE {
            w_blocks[r] = &rows[r].as_chunks().0[..x_blocks.len()];
        }
        let mut lanes = [[v.splat_f(0.0); 2]; TILE];
        for (i, x) in x_blocks.iter().enumerate() {
            for line in 0..(TILE * BYTES).div_ceil(LINE) {
                v.prefetch(next, i * TILE * BYTES + line * LINE);
            }
            let mut d = [v.splat_f(0.0); TILE];
            for r in 0..TILE {
                let [a, b, c, e, ..] = w_blocks[r][i];
                d[r] = v.splat_f(f32::from_le_bytes([a, b, c, e]));
            }
            for at in (0..x.len()).step_by(V::ROWS) {
                let part = at / V::ROWS % (LANES / V::ROWS);
                let x = v.load_floats(&x[at..]);
                for r in 0..TILE {
                    // Rounded to f32 before it meets the activation, as where rows are decoded first.
                    let w = v.mul(d[r], v.load_f8(&w_blocks[r][i][f8_e4m3::QS + at..]));
                    lanes[r][part] = v.fma(w, x, lanes[r][part]);
                }
            }
        }
        let mut sums = [0.0; TILE];
        for r in 0..TILE {
            sums[r] = v.sum_16(lanes[r]);
        }
        sums
    }
}
