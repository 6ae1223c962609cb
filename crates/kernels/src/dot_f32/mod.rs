//! Dot products of float weights (f32, f16, bf16, e4m3 under scales, decoded to f32) with f32 activations.
//!
//! Shapes    W: rows of K · x: T tokens [K] · y [T, rows]
//! Numerics  f32 products and sums in 16 lanes, added in one tree; the same lanes in every variant, which differ
//!           only in whether a multiply-add is fused. |y - y_f64| <= (K / 16 + 8) * f32::EPSILON * sum |w x|.
//! Cost      up to two tokens read each weight from memory and turn it into f32 in registers (`direct`); for more, four
//!           rows are decoded to f32 in the nearest cache, then each four of them meet four tokens

mod direct;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::cell::RefCell;
use std::ops::Range;

use shoal_quant::Dtype;

use crate::isa::{Isa, fma, per_isa};
use crate::lanes::prefetch;
use crate::math::{LANES, sum_lanes};
use crate::matmul::Matrix;
use crate::pool::Stripe;

/// Rows and tokens that meet in registers.
const TILE: usize = 4;

/// Most tokens for which weights are turned into f32 anew for each.
const DIRECT_TOKENS_MAX: usize = 2;

/// Multiplies rows `rows` of `w` with every token: `out` is `[tokens, rows]`.
pub(crate) fn multiply(isa: Isa, w: &Matrix, rows: Range<usize>, x: &[&[f32]], out: &mut Stripe<'_, f32>) {
    #[cfg(target_arch = "x86_64")]
    if x.len() <= DIRECT_TOKENS_MAX {
        match isa {
            Isa::Scalar => {}
            Isa::Avx2(proof) => return x86::avx2(proof, w, rows, x, out),
            Isa::AvxVnni(proof) => return x86::avx_vnni(proof, w, rows, x, out),
            Isa::Avx512(proof) => return x86::avx512(proof, w, rows, x, out),
        }
    }
    tiles(isa, w, rows, x, out);
}

/// Four rows decoded, then multiplied with four tokens at a time.
fn tiles(isa: Isa, w: &Matrix, rows: Range<usize>, x: &[&[f32]], out: &mut Stripe<'_, f32>) {
    thread_local! {
        static FLOATS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    let cols = w.cols();
    FLOATS.with_borrow_mut(|floats| {
        floats.resize(floats.len().max(TILE * cols), 0.0);
        let floats = &mut floats[..TILE * cols];
        for first in rows.clone().step_by(TILE) {
            let kept = TILE.min(rows.end - first);
            prefetch(isa, w.bytes_of_rows(first + TILE, TILE));
            for (r, out) in floats.chunks_exact_mut(cols).take(kept).enumerate() {
                decode(isa, w.dtype(), w.row_bytes(first + r), out);
            }
            let mut emit = |t: usize, values: [f32; TILE]| {
                out.row_mut(t)[first - rows.start..][..kept].copy_from_slice(&values[..kept]);
            };
            let (fours, rest) = x.as_chunks::<TILE>();
            for (i, x) in fours.iter().enumerate() {
                for (t, values) in dot_four(isa, floats, *x).into_iter().enumerate() {
                    emit(TILE * i + t, values);
                }
            }
            for (t, x) in rest.iter().enumerate() {
                emit(TILE * fours.len() + t, dot_one(isa, floats, [x])[0]);
            }
        }
    });
}

per_isa! {
    /// Decodes one row.
    fn decode(dtype: Dtype, bytes: &[u8], out: &mut [f32]) = decode_body
}

#[inline(always)]
fn decode_body<const FUSED: bool>(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    shoal_quant::decode_row(dtype, bytes, out);
}

per_isa! {
    /// Multiplies four rows with four tokens.
    fn dot_four(rows: &[f32], x: [&[f32]; TILE]) -> [[f32; TILE]; TILE] = dot_four_body
}

per_isa! {
    /// Multiplies four rows with one token.
    fn dot_one(rows: &[f32], x: [&[f32]; 1]) -> [[f32; TILE]; 1] = dot_one_body
}

#[inline(always)]
fn dot_one_body<const FUSED: bool>(rows: &[f32], x: [&[f32]; 1]) -> [[f32; TILE]; 1] {
    dot_body::<FUSED, 1>(rows, x)
}

#[inline(always)]
fn dot_four_body<const FUSED: bool>(rows: &[f32], x: [&[f32]; TILE]) -> [[f32; TILE]; TILE] {
    dot_body::<FUSED, TILE>(rows, x)
}

#[inline(always)]
fn dot_body<const FUSED: bool, const T: usize>(rows: &[f32], x: [&[f32]; T]) -> [[f32; TILE]; T] {
    let cols = x[0].len();
    let whole = cols / LANES;
    let mut w_lanes: [&[[f32; LANES]]; TILE] = [&[]; TILE];
    for r in 0..TILE {
        w_lanes[r] = &rows[r * cols..][..cols].as_chunks().0[..whole];
    }
    let mut x_lanes: [&[[f32; LANES]]; T] = [&[]; T];
    for t in 0..T {
        x_lanes[t] = &x[t][..cols].as_chunks().0[..whole];
    }
    let mut lanes = [[[0.0; LANES]; TILE]; T];
    for i in 0..whole {
        for t in 0..T {
            for r in 0..TILE {
                for l in 0..LANES {
                    lanes[t][r][l] = fma::<FUSED>(w_lanes[r][i][l], x_lanes[t][i][l], lanes[t][r][l]);
                }
            }
        }
    }
    // Kept apart from the trees of sums below: together the compiler turns both into narrow vectors.
    let lanes = std::hint::black_box(lanes);
    let mut out = [[0.0; TILE]; T];
    for t in 0..T {
        for r in 0..TILE {
            let mut sum = sum_lanes(lanes[t][r]);
            for c in whole * LANES..cols {
                sum = fma::<FUSED>(rows[r * cols + c], x[t][c], sum);
            }
            out[t][r] = sum;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shoal_testkit::{oracle, seeded};

    proptest! {
        #[test]
        fn every_variant_meets_the_bound(cols in 1..300usize, seed in any::<u64>()) {
            let w = seeded::normal_f32(seed, TILE * cols);
            let x = seeded::normal_f32(seed ^ 1, TILE * cols);
            let x: [&[f32]; TILE] = std::array::from_fn(|t| &x[t * cols..][..cols]);
            for isa in Isa::available() {
                for (t, got) in dot_four(isa, &w, x).into_iter().enumerate() {
                    prop_assert_eq!(got, dot_one(isa, &w, [x[t]])[0], "a token alone or in company");
                    for (row, got) in w.chunks(cols).zip(got) {
                        let (want, magnitude) = oracle::dot_f64(row, x[t]);
                        let bound = (cols as f64 / 16.0 + 20.0) * f64::from(f32::EPSILON) * magnitude;
                        prop_assert!((f64::from(got) - want).abs() <= bound, "{isa} {got} {want}");
                    }
                }
            }
        }
    }
}
