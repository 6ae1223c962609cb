//! Elementary functions as branch-free polynomials, so that loops over them vectorise and every machine gives
//! the same bits, which the C library's do not promise.

use crate::isa::fma;

/// `e^x` with a relative error below 2e-7 on `[-87, 88]`; clamped outside.
///
/// Source: Cody and Waite's range reduction, `x = n ln 2 + r`, with the Taylor polynomial of `e^r` to degree 7 on
/// `|r| <= ln 2 / 2`.
#[inline(always)]
pub(crate) fn exp<const FUSED: bool>(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4; // 355/512: exact in few bits, so n * LN2_HIGH is exact
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // A number with this added and removed is rounded to the nearest integer: 1.5 * 2^23.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.3);
    let n = fma::<FUSED>(x, std::f32::consts::LOG2_E, ROUND) - ROUND;
    let r = fma::<FUSED>(n, -LN2_HIGH, x);
    let r = fma::<FUSED>(n, -LN2_LOW, r);
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = fma::<FUSED>(p, r, c);
    }
    let two_to_n = f32::from_bits(((n as i32 + 127) as u32) << 23);
    p * two_to_n
}

/// The logistic function `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FUSED>(-x))
}

/// `x * sigmoid(x)`.
#[inline(always)]
pub(crate) fn silu<const FUSED: bool>(x: f32) -> f32 {
    x * sigmoid::<FUSED>(x)
}

/// Lanes of a running sum: one AVX-512 register. A sum over a slice always runs in this many lanes, whatever the
/// instruction set, and ends in the same tree, so that its value depends on the numbers alone.
pub(crate) const LANES: usize = 16;

/// Adds the lanes pairwise, halves first.
#[inline(always)]
pub(crate) fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The dot product of two slices of one length.
#[inline(always)]
pub(crate) fn dot<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] = fma::<FUSED>(a[i], b[i], lanes[i]);
        }
    }
    // Kept apart from the tree of sums below: together the compiler turns both into pairs of narrow vectors.
    let mut sum = sum_lanes(std::hint::black_box(lanes));
    for (a, b) in a_tail.iter().zip(b_tail) {
        sum = fma::<FUSED>(*a, *b, sum);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_everywhere() {
        for i in -87_000..88_000 {
            let x = i as f32 / 1000.0;
            let want = f64::from(x).exp();
            for got in [exp::<true>(x), exp::<false>(x)] {
                assert!((f64::from(got) / want - 1.0).abs() < 2.5e-7, "exp({x}) = {got}, want {want}");
            }
        }
        assert_eq!(exp::<false>(0.0), 1.0);
        assert!(exp::<true>(f32::NEG_INFINITY) < 2e-38);
        assert!(sigmoid::<true>(-200.0) < 2e-38 && sigmoid::<true>(200.0) == 1.0);
    }
}
