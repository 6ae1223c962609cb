//! Many tokens: four rows, decoded to f32, with several tokens at a time.
//!
//! All tokens meet a chunk of the columns before the next one's turn, so that rows and tokens stay in the first cache; the lanes of their
//! sums wait in memory. A register holds 16 lanes or 8. Where it holds 8 a chunk is gone through twice, for either half of the lanes:
//! with both at once the sums of four rows and three tokens would not stay in registers.

use std::ops::Range;

use super::TILE;
use crate::lanes::Vector;
use crate::math::LANES;
use crate::pool::Stripe;

/// Columns that are gone through at a time: four rows of them are 8 KiB.
const CHUNK_COLS: usize = 512;

/// The lanes of the sums of four rows with one token.
pub(super) type Lanes = [[f32; LANES]; TILE];

/// Multiplies the decoded `rows` with every token, `T` at a time; `columns` of `out` take what comes of them. `sums` are as many as tokens,
/// whatever they hold.
#[inline(always)]
pub(super) fn multiply<V: Vector, const T: usize>(
    v: V,
    rows: [&[f32]; TILE],
    x: &[&[f32]],
    sums: &mut [Lanes],
    columns: Range<usize>,
    out: &mut Stripe<'_, f32>,
) {
    let whole = rows[0].len() / LANES * LANES;
    sums.fill([[0.0; LANES]; TILE]);
    for first in (0..whole).step_by(CHUNK_COLS) {
        let chunk = first..(first + CHUNK_COLS).min(whole);
        let ((x, x_rest), (own, rest)) = (x.as_chunks::<T>(), sums.as_chunks_mut::<T>());
        for (x, sums) in x.iter().zip(own) {
            add_products::<V, T>(v, rows, x, chunk.clone(), sums);
        }
        let ((x, x_rest), (own, rest)) = (x_rest.as_chunks::<2>(), rest.as_chunks_mut::<2>());
        for (x, sums) in x.iter().zip(own) {
            add_products::<V, 2>(v, rows, x, chunk.clone(), sums);
        }
        if let (Some(x), Some(sums)) = (x_rest.first_chunk(), rest.first_chunk_mut()) {
            add_products::<V, 1>(v, rows, x, chunk, sums);
        }
    }
    for (t, (x, sums)) in x.iter().zip(sums).enumerate() {
        let out = &mut out.row_mut(t)[columns.clone()];
        for r in 0..out.len() {
            let mut lanes = [v.splat_f(0.0); 2];
            for part in 0..LANES / V::ROWS {
                lanes[part] = v.load_floats(&sums[r][part * V::ROWS..]);
            }
            out[r] = v.sum_16(lanes);
            for c in whole..x.len() {
                out[r] = rows[r][c].mul_add(x[c], out[r]);
            }
        }
    }
}

/// Adds the products of a chunk of columns to the lanes.
#[inline(always)]
fn add_products<V: Vector, const T: usize>(
    v: V,
    rows: [&[f32]; TILE],
    x: &[&[f32]; T],
    chunk: Range<usize>,
    lanes: &mut [Lanes; T],
) {
    let count = chunk.len() / LANES;
    let mut w_lanes: [&[[f32; LANES]]; TILE] = [&[]; TILE];
    for r in 0..TILE {
        w_lanes[r] = &rows[r][chunk.clone()].as_chunks().0[..count];
    }
    let mut x_lanes: [&[[f32; LANES]]; T] = [&[]; T];
    for t in 0..T {
        x_lanes[t] = &x[t][chunk.clone()].as_chunks().0[..count];
    }
    for at in (0..LANES).step_by(V::ROWS) {
        let mut sums = [[v.splat_f(0.0); TILE]; T];
        for t in 0..T {
            for r in 0..TILE {
                sums[t][r] = v.load_floats(&lanes[t][r][at..]);
            }
        }
        for i in 0..count {
            let mut x = [v.splat_f(0.0); T];
            for t in 0..T {
                x[t] = v.load_floats(&x_lanes[t][i][at..]);
            }
            for r in 0..TILE {
                let w = v.load_floats(&w_lanes[r][i][at..]);
                for t in 0..T {
                    sums[t][r] = v.fma(w, x[t], sums[t][r]);
                }
            }
        }
        for t in 0..T {
            for r in 0..TILE {
                v.store_floats(&mut lanes[t][r][at..], sums[t][r]);
            }
        }
    }
}
