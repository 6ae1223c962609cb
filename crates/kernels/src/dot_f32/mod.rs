//! Dot products of float weights (f32, f16, bf16, e4m3 under scales, decoded to f32) with f32 activations.
//!
//! Shapes    W: rows of K · x: T tokens [K] · y [T, rows]
//! Numerics  f32 products and sums in 16 lanes, added in one tree; the same lanes in every variant, which differ
//!           only in whether a multiply-add is fused. |y - y_f64| <= (K / 16 + 8) * f32::EPSILON * sum |w x|.
//! Cost      up to four tokens read each weight from memory and turn it into f32 in registers (`direct`); for more, four
//!           rows are decoded to f32 in the nearest cache, where all tokens meet them (`panel`)

mod direct;
mod panel;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::cell::RefCell;
use std::ops::Range;

use shoal_quant::Dtype;

use crate::isa::{Isa, fma, per_isa};
use crate::lanes::prefetch;
use crate::lines::Lines;
use crate::math::{LANES, sum_lanes};
use crate::matmul::Matrix;
use crate::pool::Stripe;

/// Rows that go together.
const TILE: usize = 4;

/// Most tokens for which weights are turned into f32 anew for each.
const DIRECT_TOKENS_MAX: usize = 4;

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

/// Four rows decoded, then multiplied with all tokens.
fn tiles(isa: Isa, w: &Matrix, rows: Range<usize>, x: &[&[f32]], out: &mut Stripe<'_, f32>) {
    thread_local! {
        static SCRATCH: RefCell<[Lines<f32>; 2]> = RefCell::default();
    }
    let (cols, lines) = (w.cols(), w.cols().div_ceil(LANES));
    SCRATCH.with_borrow_mut(|[floats, sums]| {
        let floats = floats.get::<LANES>(TILE * lines).as_flattened_mut();
        let sums = sums.get::<LANES>(TILE * x.len()).as_chunks_mut::<TILE>().0;
        for first in rows.clone().step_by(TILE) {
            let kept = TILE.min(rows.end - first);
            prefetch(isa, w.bytes_of_rows(first + TILE, TILE));
            for (r, out) in floats.chunks_exact_mut(lines * LANES).take(kept).enumerate() {
                decode(isa, w.dtype(), w.row_bytes(first + r), &mut out[..cols]);
            }
            let mut decoded: [&[f32]; TILE] = [&[]; TILE];
            for (r, row) in floats.chunks_exact(lines * LANES).enumerate() {
                decoded[r] = &row[..cols];
            }
            let columns = first - rows.start..first - rows.start + kept;
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2(proof) => x86::avx2_panel(proof, decoded, x, sums, columns, out),
                #[cfg(target_arch = "x86_64")]
                Isa::AvxVnni(proof) => x86::avx_vnni_panel(proof, decoded, x, sums, columns, out),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512(proof) => x86::avx512_panel(proof, decoded, x, sums, columns, out),
                _ => {
                    for (t, x) in x.iter().enumerate() {
                        let out = &mut out.row_mut(t)[columns.clone()];
                        out.iter_mut().zip(decoded).for_each(|(out, row)| *out = dot(row, x));
                    }
                }
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

/// The reference: one row and one token.
fn dot(row: &[f32], x: &[f32]) -> f32 {
    let ((w_lanes, w_tail), (x_lanes, x_tail)) = (row.as_chunks::<LANES>(), x.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (w, x) in w_lanes.iter().zip(x_lanes) {
        for l in 0..LANES {
            lanes[l] = fma::<false>(w[l], x[l], lanes[l]);
        }
    }
    let tail = w_tail.iter().zip(x_tail);
    tail.fold(sum_lanes(lanes), |sum, (w, x)| fma::<false>(*w, *x, sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Pool, Striped};
    use proptest::prelude::*;
    use shoal_base::Blob;
    use shoal_testkit::{oracle, seeded};

    fn products(isa: Isa, w: &Matrix, x: &[&[f32]]) -> Vec<f32> {
        let mut out = vec![f32::NAN; x.len() * w.rows()];
        let mut stripes = [Striped::new(&mut out, w.rows(), w.rows())];
        Pool::new(1).for_each_stripe_of(&mut stripes, |_, first, out| {
            multiply(isa, w, first..first + out.width(), x, out);
        });
        out
    }

    proptest! {
        // Wider than two chunks of columns.
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_variant_meets_the_bound(rows in 1..9usize, cols in 1..1300usize, tokens in 1..17usize, seed in any::<u64>()) {
            let floats = seeded::normal_f32(seed, rows * cols);
            let bytes: Vec<u8> = floats.iter().flat_map(|w| w.to_le_bytes()).collect();
            let w = Matrix::new(Dtype::F32, rows, cols, Blob::copy_of(&bytes));
            let x = seeded::normal_f32(seed ^ 1, tokens * cols);
            let x: Vec<&[f32]> = x.chunks(cols).collect();
            for isa in Isa::available() {
                let all = products(isa, &w, &x);
                for (x, got) in x.iter().zip(all.chunks(rows)) {
                    prop_assert_eq!(got, &products(isa, &w, &[*x])[..], "a token alone or in company");
                    for (row, got) in floats.chunks(cols).zip(got) {
                        let (want, magnitude) = oracle::dot_f64(row, x);
                        let bound = (cols as f64 / 16.0 + 20.0) * f64::from(f32::EPSILON) * magnitude;
                        prop_assert!((f64::from(*got) - want).abs() <= bound, "{isa} {got} {want}");
                    }
                }
            }
        }
    }
}
