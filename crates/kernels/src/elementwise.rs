//! Small operations on rows of activations: normalisation, activation functions, sums.
//!
//! Numerics  f32. A sum over a row runs in 16 lanes added in one tree (see `math`), so it depends on the row alone.

use crate::isa::{fma, per_isa};
use crate::math::{dot, silu};

per_isa! {
    /// `out = x / sqrt(mean(x^2) + eps) * weight`. Source: Zhang and Sennrich 2019, equation 4.
    fn rms_norm_row(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) = rms_norm_row_body
}

#[inline(always)]
fn rms_norm_row_body<const FUSED: bool>(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mean_square = dot::<FUSED>(x, x) / x.len() as f32;
    let scale = 1.0 / (mean_square + eps).sqrt();
    for ((x, weight), out) in x.iter().zip(weight).zip(out) {
        *out = x * scale * weight;
    }
}

per_isa! {
    /// `gate = silu(gate) * up`, the activation of SwiGLU, with `gate` at most `limit` and `up` within `limit` of 0. Source: Shazeer
    /// 2020, equation 5; the limit is DeepSeek-V4's.
    fn swiglu_slice(gate: &mut [f32], up: &[f32], limit: f32) = swiglu_slice_body
}

#[inline(always)]
fn swiglu_slice_body<const FUSED: bool>(gate: &mut [f32], up: &[f32], limit: f32) {
    for (gate, &up) in gate.iter_mut().zip(up) {
        // Written so that NaN stays NaN.
        let g = if *gate > limit { limit } else { *gate };
        let u = if up > limit { limit } else { up };
        let u = if u < -limit { -limit } else { u };
        *gate = silu::<FUSED>(g) * u;
    }
}

/// `out = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias`. Source: Ba et al. 2016.
pub(crate) fn layer_norm_row(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let mean = x.iter().sum::<f32>() / x.len() as f32;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / x.len() as f32;
    let scale = 1.0 / (variance + eps).sqrt();
    for (i, out) in out.iter_mut().enumerate() {
        *out = (x[i] - mean) * scale * weight[i] + bias[i];
    }
}

per_isa! {
    /// `out += factor * x`.
    fn add_scaled(out: &mut [f32], factor: f32, x: &[f32]) = add_scaled_body
}

#[inline(always)]
fn add_scaled_body<const FUSED: bool>(out: &mut [f32], factor: f32, x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = fma::<FUSED>(factor, *x, *out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use proptest::prelude::*;
    use shoal_testkit::seeded;

    #[test]
    fn a_layer_norm_has_the_mean_of_its_bias_and_unit_variance() {
        let x = seeded::normal_f32(1, 128);
        let mut out = vec![0.0; 128];
        layer_norm_row(&x, &[1.0; 128], &[3.0; 128], 0.0, &mut out);
        let mean = out.iter().sum::<f32>() / 128.0;
        let variance = out.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 128.0;
        assert!((mean - 3.0).abs() < 1e-5 && (variance - 1.0).abs() < 1e-4, "{mean} {variance}");
        layer_norm_row(&[1.0, 3.0], &[2.0, 2.0], &[0.0, 1.0], 3.0, &mut out[..2]);
        assert_eq!(out[..2], [-1.0, 2.0], "the eps is under the root");
    }

    #[test]
    fn what_is_not_a_number_stays_so_under_a_limit() {
        for isa in Isa::available() {
            let mut gate = [f32::NAN, 1.0];
            swiglu_slice(isa, &mut gate, &[1.0, f32::NAN], 10.0);
            assert!(gate.iter().all(|x| x.is_nan()), "{isa} {gate:?}");
        }
    }

    proptest! {
        #[test]
        fn every_variant_is_close_to_f64(len in 1..200usize, seed in any::<u64>()) {
            let (x, w) = (seeded::normal_f32(seed, len), seeded::normal_f32(seed ^ 1, len));
            let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / len as f64;
            for isa in Isa::available() {
                let mut norm = vec![f32::NAN; len];
                rms_norm_row(isa, &x, &w, 1e-6, &mut norm);
                let mut act = x.clone();
                swiglu_slice(isa, &mut act, &w, f32::INFINITY);
                let mut limited = x.clone();
                swiglu_slice(isa, &mut limited, &w, 0.5);
                let mut sum = x.clone();
                add_scaled(isa, &mut sum, 0.5, &w);
                for i in 0..len {
                    let (xi, wi) = (f64::from(x[i]), f64::from(w[i]));
                    let close = |got: f32, want: f64| (f64::from(got) - want).abs() <= 2e-6 * (want.abs() + 1e-3);
                    prop_assert!(close(norm[i], xi / (mean + 1e-6).sqrt() * wi), "{isa} norm");
                    prop_assert!(close(act[i], xi / (1.0 + (-xi).exp()) * wi), "{isa} swiglu");
                    let (g, u) = (xi.min(0.5), wi.clamp(-0.5, 0.5));
                    prop_assert!(close(limited[i], g / (1.0 + (-g).exp()) * u), "{isa} limited swiglu");
                    prop_assert!((f64::from(sum[i]) - (xi + 0.5 * wi)).abs() < 1e-6, "{isa} add");
                }
            }
        }
    }
}
