//! Manifold-constrained hyper-connections (mHC): a residual stream that is several streams wide.
//!
//! Around each part of a layer (attention, feed-forward) `m` streams `X_i` are mixed by weights that depend on the token:
//!
//! ```text
//! y      = RMS(X_1 | ... | X_m),  w = fn y                                    m (2 + m) numbers
//! pre_i  = sigmoid(w_i scale_0 + base_i) + eps                                input = sum_i pre_i X_i
//! post_i = 2 sigmoid(w_(m+i) scale_1 + base_(m+i))
//! C      = Sinkhorn(w_(2m..) scale_2 + base_(2m..)), an m by m matrix         X'_j  = post_j output + sum_i C_ij X_i
//! ```
//! Sinkhorn makes rows and columns sum to one: softmax of the rows plus eps, columns divided by their sums, then
//! `sinkhorn_iters - 1` times rows and columns. The sum of the streams' squares divides `w` and not `X`, so `X` is read once
//! for the product. At the end of the model the streams are collapsed by weights like `pre`.
//!
//! Shapes    X [T, m * D], stream after stream · fn [m (2 + m), m * D] · input, output [T, D]
//! Numerics  f32; a token's numbers depend on the token alone
//! Source    DeepSeek-V4 (arXiv 2606.19348), section 2.5; Xie et al., "mHC" (2025)

use crate::act::Act;
use crate::isa::{fma, per_isa};
use crate::math::{LANES, dot, exp, sigmoid};
use crate::matmul::Matrix;
use crate::ops::Cpu;

/// Streams at the most.
pub const STREAMS_MAX: usize = 8;

/// What all hyper-connections of a model share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HyperSpec {
    /// Streams (m), from 1 to [`STREAMS_MAX`].
    pub mult: usize,
    /// Times that columns are divided by their sums.
    pub sinkhorn_iters: usize,
    /// Added where something is divided by a sum, and to weights.
    pub eps: f32,
    /// Added to the mean square of the streams.
    pub norm_eps: f32,
}

/// The parameters of one hyper-connection; of the one at the end `fn` has m rows and there is one scale.
#[derive(Clone, Debug)]
pub struct HyperConnection {
    /// What all share.
    pub spec: HyperSpec,
    /// `[m (2 + m), m * D]`.
    pub r#fn: Matrix,
    /// One for each row of `fn`.
    pub base: Vec<f32>,
    /// For `pre`, `post` and `C`.
    pub scale: Vec<f32>,
}

/// How the output of a part goes back into the streams: `[T, m | m | m * m]`, pre, post and C.
pub struct HyperMix(Act);

impl Cpu {
    /// The input of a part of a layer, `[T, m * D]` to `[T, D]`, and how its output goes back.
    #[must_use]
    pub fn hyper_input(&self, x: &Act, hyper: &HyperConnection) -> (Act, HyperMix) {
        let weights = self.matmul(x, &hyper.r#fn);
        let _time = self.time("hyper_input");
        let mut mix = self.normed(x, weights, hyper.spec);
        self.pool().for_each_chunk(mix.as_mut_slice(), hyper.base.len(), |_, mix| weigh(mix, hyper));
        (self.collapse(x, &mix, hyper.spec.mult), HyperMix(mix))
    }

    /// `X'_j = post_j output + sum_i C_ij X_i`.
    pub fn hyper_output(&self, x: &mut Act, output: &Act, mix: &HyperMix) {
        let _time = self.time("hyper_output");
        let (m, width) = (x.cols() / output.cols(), x.cols());
        let mix_token = |first: usize, x: &mut [f32]| {
            for (i, x) in x.chunks_exact_mut(width).enumerate() {
                let (token, mix) = (first / width + i, mix.0.row(first / width + i));
                mix_streams(self.isa(), x, output.row(token), &mix[m..2 * m], &mix[2 * m..]);
            }
        };
        self.in_parts(x.as_mut_slice(), width, mix_token);
    }

    /// The streams at the end of the model as one: `[T, m * D]` to `[T, D]`.
    #[must_use]
    pub fn hyper_head(&self, x: &Act, hyper: &HyperConnection) -> Act {
        let weights = self.matmul(x, &hyper.r#fn);
        let _time = self.time("hyper_head");
        let mut mix = self.normed(x, weights, hyper.spec);
        for token in 0..mix.rows() {
            open(mix.row_mut(token), &hyper.base, hyper.scale[0], hyper.spec.eps);
        }
        self.collapse(x, &mix, hyper.spec.mult)
    }

    /// Divides the weights of each token by the root of the mean square of its streams.
    fn normed(&self, x: &Act, mut weights: Act, spec: HyperSpec) -> Act {
        let width = weights.cols();
        self.pool().for_each_chunk(weights.as_mut_slice(), width, |token, weights| {
            let factor = inverse_rms(self.isa(), x.row(token), spec.norm_eps);
            weights.iter_mut().for_each(|weight| *weight *= factor);
        });
        weights
    }

    /// `sum_i pre_i X_i`, with `pre` at the beginning of each row of `mix`.
    fn collapse(&self, x: &Act, mix: &Act, m: usize) -> Act {
        let mut out = Act::zeros(x.rows(), x.cols() / m);
        let width = out.cols();
        self.in_parts(out.as_mut_slice(), width, |first, out| {
            for (i, out) in out.chunks_exact_mut(width).enumerate() {
                let token = first / width + i;
                collapse_streams(self.isa(), x.row(token), &mix.row(token)[..m], out);
            }
        });
        out
    }
}

/// `sigmoid(w scale + base) + eps`.
fn open(weights: &mut [f32], base: &[f32], scale: f32, eps: f32) {
    for (weight, base) in weights.iter_mut().zip(base) {
        *weight = sigmoid::<false>(*weight * scale + base) + eps;
    }
}

/// Turns what `fn` yields for a token into pre, post and C.
fn weigh(mix: &mut [f32], hyper: &HyperConnection) {
    let HyperSpec { mult: m, sinkhorn_iters, eps, .. } = hyper.spec;
    let (pre, rest) = mix.split_at_mut(m);
    let (post, c) = rest.split_at_mut(m);
    open(pre, &hyper.base[..m], hyper.scale[0], eps);
    open(post, &hyper.base[m..2 * m], hyper.scale[1], 0.0);
    post.iter_mut().for_each(|post| *post *= 2.0);
    for (c, base) in c.iter_mut().zip(&hyper.base[2 * m..]) {
        *c = *c * hyper.scale[2] + base;
    }
    for row in c.chunks_exact_mut(m) {
        let max = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        row.iter_mut().for_each(|c| *c = exp::<false>(*c - max));
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|c| *c = *c / sum + eps);
    }
    divide_columns(c, m, eps);
    for _ in 1..sinkhorn_iters {
        for row in c.chunks_exact_mut(m) {
            let sum = row.iter().sum::<f32>() + eps;
            row.iter_mut().for_each(|c| *c /= sum);
        }
        divide_columns(c, m, eps);
    }
}

fn divide_columns(c: &mut [f32], m: usize, eps: f32) {
    for j in 0..m {
        let sum = c[j..].iter().step_by(m).sum::<f32>() + eps;
        c[j..].iter_mut().step_by(m).for_each(|c| *c /= sum);
    }
}

per_isa! {
    /// `1 / sqrt(mean(x^2) + eps)`.
    fn inverse_rms(x: &[f32], eps: f32) -> f32 = inverse_rms_body
}

#[inline(always)]
fn inverse_rms_body<const FUSED: bool>(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot::<FUSED>(x, x) / x.len() as f32 + eps).sqrt()
}

per_isa! {
    /// `out = sum_i pre_i x_i`, the streams `x_i` one after the other.
    fn collapse_streams(x: &[f32], pre: &[f32], out: &mut [f32]) = collapse_streams_body
}

#[inline(always)]
fn collapse_streams_body<const FUSED: bool>(x: &[f32], pre: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    let width = out.len();
    for (x, &pre) in x.chunks_exact(width).zip(pre) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = fma::<FUSED>(pre, *x, *out);
        }
    }
}

per_isa! {
    /// `x_j = post_j y + sum_i c_ij x_i`, the streams `x_i` one after the other.
    fn mix_streams(x: &mut [f32], y: &[f32], post: &[f32], c: &[f32]) = mix_streams_body
}

#[inline(always)]
fn mix_streams_body<const FUSED: bool>(x: &mut [f32], y: &[f32], post: &[f32], c: &[f32]) {
    let (width, m) = (y.len(), post.len());
    let mut old = [[0.0; LANES]; STREAMS_MAX];
    for (part, y) in y.chunks(LANES).enumerate() {
        let len = y.len();
        for i in 0..m {
            old[i][..len].copy_from_slice(&x[i * width + part * LANES..][..len]);
        }
        for j in 0..m {
            let mut sums = [0.0; LANES];
            for (sum, y) in sums.iter_mut().zip(y) {
                *sum = post[j] * y;
            }
            for i in 0..m {
                let c = c[i * m + j];
                for l in 0..LANES {
                    sums[l] = fma::<FUSED>(c, old[i][l], sums[l]);
                }
            }
            x[j * width + part * LANES..][..len].copy_from_slice(&sums[..len]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{cpu, matrix};
    use shoal_testkit::seeded;

    fn connection(m: usize, d: usize, rows: usize, scales: usize, sinkhorn_iters: usize) -> HyperConnection {
        let spec = HyperSpec { mult: m, sinkhorn_iters, eps: 1e-6, norm_eps: 1e-6 };
        HyperConnection {
            spec,
            r#fn: matrix(rows, m * d, 1),
            base: seeded::normal_f32(2, rows),
            scale: seeded::normal_f32(3, scales),
        }
    }

    /// The definition in f64: pre, post, C.
    fn oracle(x: &[f32], hyper: &HyperConnection) -> (Vec<f64>, Vec<f64>, Vec<Vec<f64>>) {
        let (m, eps) = (hyper.spec.mult, f64::from(hyper.spec.eps));
        let square = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / x.len() as f64;
        let norm = (square + f64::from(hyper.spec.norm_eps)).sqrt();
        let w: Vec<f64> = (0..hyper.base.len())
            .map(|row| {
                let mut values = vec![0.0; x.len()];
                hyper.r#fn.decode_row(row, &mut values);
                values.iter().zip(x).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() / norm
            })
            .collect();
        let at = |i: usize, scale: usize| w[i] * f64::from(hyper.scale[scale]) + f64::from(hyper.base[i]);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let pre = (0..m).map(|i| sigmoid(at(i, 0)) + eps).collect();
        if hyper.scale.len() == 1 {
            return (pre, Vec::new(), Vec::new());
        }
        let post = (0..m).map(|i| 2.0 * sigmoid(at(m + i, 1))).collect();
        let mut c: Vec<Vec<f64>> = (0..m)
            .map(|i| {
                let row: Vec<f64> = (0..m).map(|j| at(2 * m + i * m + j, 2).exp()).collect();
                let sum: f64 = row.iter().sum();
                row.iter().map(|c| c / sum + eps).collect()
            })
            .collect();
        for turn in 0..hyper.spec.sinkhorn_iters {
            if turn > 0 {
                for row in &mut c {
                    let sum = row.iter().sum::<f64>() + eps;
                    row.iter_mut().for_each(|c| *c /= sum);
                }
            }
            for j in 0..m {
                let sum = (0..m).map(|i| c[i][j]).sum::<f64>() + eps;
                (0..m).for_each(|i| c[i][j] /= sum);
            }
        }
        (pre, post, c)
    }

    #[test]
    fn the_streams_are_mixed_as_defined_whatever_the_company() {
        // After twenty turns one more changes nothing, after one or two it does.
        for (m, d, iters) in [(4, 40, 20), (4, 40, 1), (1, 16, 20), (3, 7, 2), (STREAMS_MAX, 5, 3)] {
            let hyper = connection(m, d, m * (2 + m), 3, iters);
            let x = Act::from_vec(3, m * d, seeded::normal_f32(4, 3 * m * d));
            let y = Act::from_vec(3, d, seeded::normal_f32(5, 3 * d));
            let (input, mix) = cpu(2).hyper_input(&x, &hyper);
            let mut mixed = x.clone();
            cpu(2).hyper_output(&mut mixed, &y, &mix);
            for t in 0..3 {
                let (pre, post, c) = oracle(x.row(t), &hyper);
                let stream = |i: usize, k: usize| f64::from(x.row(t)[i * d + k]);
                for k in 0..d {
                    let want: f64 = (0..m).map(|i| pre[i] * stream(i, k)).sum();
                    assert!((f64::from(input.row(t)[k]) - want).abs() < 2e-5, "{m} streams: input");
                    for j in 0..m {
                        let sum: f64 = (0..m).map(|i| c[i][j] * stream(i, k)).sum();
                        let want = post[j] * f64::from(y.row(t)[k]) + sum;
                        let got = f64::from(mixed.row(t)[j * d + k]);
                        assert!((got - want).abs() < 2e-5, "{m} streams: output {j}: {got} {want}");
                    }
                }
                let alone = cpu(1).hyper_input(&x.select_rows(&[t]), &hyper);
                assert_eq!(alone.0.row(0), input.row(t), "a token alone");
            }
        }
    }

    #[test]
    fn the_end_collapses_the_streams() {
        let (m, d) = (4, 24);
        let hyper = connection(m, d, m, 1, 1);
        let x = Act::from_vec(2, m * d, seeded::normal_f32(4, 2 * m * d));
        let got = cpu(2).hyper_head(&x, &hyper);
        for t in 0..2 {
            let (pre, ..) = oracle(x.row(t), &hyper);
            for k in 0..d {
                let want: f64 = (0..m).map(|i| pre[i] * f64::from(x.row(t)[i * d + k])).sum();
                assert!((f64::from(got.row(t)[k]) - want).abs() < 2e-5);
            }
        }
    }
}
