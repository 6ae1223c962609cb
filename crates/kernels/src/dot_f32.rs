//! Dot products of float weights (f32, f16, bf16, decoded to f32) with f32 activations.
//!
//! Shapes    panel floats [4, K] · x [K] · out [4]
//! Numerics  f32 products and sums in 16 lanes, added in one tree; the same lanes in every variant, which differ
//!           only in whether a multiply-add is fused. |y - y_f64| <= (K / 16 + 8) * f32::EPSILON * sum |w x|.

use crate::isa::{Isa, fma, per_isa};
use crate::math::{LANES, sum_lanes};
use crate::panel::TILE_ROWS;

per_isa! {
    /// Multiplies four rows of `x.len()` weights with `x`.
    fn dot_rows(rows: &[f32], x: &[f32]) -> [f32; TILE_ROWS] = dot_rows_body
}

#[inline(always)]
fn dot_rows_body<const FUSED: bool>(rows: &[f32], x: &[f32]) -> [f32; TILE_ROWS] {
    let cols = x.len();
    let rows: [&[f32]; TILE_ROWS] = std::array::from_fn(|r| &rows[r * cols..][..cols]);
    let (x16, x_tail) = x.as_chunks::<LANES>();
    let rows16 = rows.map(|row| &row.as_chunks::<LANES>().0[..x16.len()]);
    let mut lanes = [[0.0; LANES]; TILE_ROWS];
    for (i, x) in x16.iter().enumerate() {
        for r in 0..TILE_ROWS {
            let w = &rows16[r][i];
            for l in 0..LANES {
                lanes[r][l] = fma::<FUSED>(w[l], x[l], lanes[r][l]);
            }
        }
    }
    std::array::from_fn(|r| {
        let mut sum = sum_lanes(lanes[r]);
        for (w, x) in rows[r][cols - x_tail.len()..].iter().zip(x_tail) {
            sum = fma::<FUSED>(*w, *x, sum);
        }
        sum
    })
}

/// Multiplies the panel's rows with every token; calls `emit(i, values)` for the `i`-th.
pub(crate) fn dot_tile<'a>(
    isa: Isa,
    floats: &[f32],
    tokens: impl Iterator<Item = &'a [f32]>,
    mut emit: impl FnMut(usize, [f32; TILE_ROWS]),
) {
    for (i, x) in tokens.enumerate() {
        emit(i, dot_rows(isa, floats, x));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shoal_testkit::{oracle, seeded};

    proptest! {
        #[test]
        fn every_variant_meets_the_bound(cols in 1..300usize, seed in any::<u64>()) {
            let w = seeded::normal_f32(seed, TILE_ROWS * cols);
            let x = seeded::normal_f32(seed ^ 1, cols);
            for isa in Isa::available() {
                for (row, got) in w.chunks(cols).zip(dot_rows(isa, &w, &x)) {
                    let (want, magnitude) = oracle::dot_f64(row, &x);
                    let bound = (cols as f64 / 16.0 + 20.0) * f64::from(f32::EPSILON) * magnitude;
                    prop_assert!((f64::from(got) - want).abs() <= bound, "{isa} {got} {want}");
                }
            }
        }
    }
}
