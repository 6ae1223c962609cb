//! Frequencies of the rotary embedding: plain, divided, YaRN, or with a file's own divisors.
//!
//! Source    Su et al. 2021 (plain); Peng et al. 2023, "YaRN", equations 16 to 19; DeepSeek-V2's `rope_scaling` for
//!           the softmax correction. Computed in f64 once.

use shoal_kernels::rope::RopeTable;

use crate::config::{RopeConfig, RopeScaling};

/// A turn and its reverse.
pub(crate) struct Turn {
    pub(crate) there: RopeTable,
    pub(crate) back: RopeTable,
}

impl Turn {
    pub(crate) fn new(table: &RopeTable) -> Self {
        Self { there: table.clone(), back: table.reversed() }
    }
}

/// Frequencies of one model, and what its turned elements are multiplied with.
pub(crate) struct Rope {
    frequencies: Vec<f64>,
    magnitude: f64,
}

impl Rope {
    /// Frequencies for `config`; `divisors` (one for each pair) come from the file where it has them.
    pub(crate) fn new(config: &RopeConfig, divisors: Option<&[f32]>, magnitude: f64) -> Self {
        let plain = (0..config.dim / 2).map(|i| config.theta.powf(-2.0 * i as f64 / config.dim as f64));
        let mut frequencies: Vec<f64> = match &config.scaling {
            RopeScaling::None => plain.collect(),
            RopeScaling::Linear { factor } => plain.map(|f| f / factor).collect(),
            RopeScaling::Yarn { factor, original_max_position_embeddings, beta_fast, beta_slow, .. } => {
                let ramp = YarnRamp::new(config, *original_max_position_embeddings, *beta_fast, *beta_slow);
                plain.enumerate().map(|(i, f)| f / factor * ramp.at(i) + f * (1.0 - ramp.at(i))).collect()
            }
        };
        if let Some(divisors) = divisors {
            frequencies.iter_mut().zip(divisors).for_each(|(f, divisor)| *f /= f64::from(*divisor));
        }
        Self { frequencies, magnitude }
    }

    /// Cosines and sines for the positions of a step.
    pub(crate) fn table(&self, positions: &[u32]) -> RopeTable {
        RopeTable::new(positions, &self.frequencies, self.magnitude)
    }
}

/// Which share of pair `i` is divided: 0 up to the pair that turns `beta_fast` times over the original context,
/// 1 from the one that turns `beta_slow` times, linear between.
struct YarnRamp {
    low: f64,
    high: f64,
}

impl YarnRamp {
    fn new(config: &RopeConfig, original: f64, beta_fast: f64, beta_slow: f64) -> Self {
        let dim = config.dim as f64;
        let pair_with =
            |turns: f64| dim * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * config.theta.ln());
        let low = pair_with(beta_fast).floor().max(0.0);
        let high = pair_with(beta_slow).ceil().min(dim - 1.0);
        Self { low, high: if low == high { high + 0.001 } else { high } }
    }

    fn at(&self, i: usize) -> f64 {
        ((i as f64 - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// `0.1 * weight * ln(factor) + 1`, YaRN's correction of the attention temperature.
pub(crate) fn yarn_mscale(factor: f64, weight: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 }
}

/// What turned elements are multiplied with in families without a softmax correction of their own.
pub(crate) fn plain_magnitude(scaling: &RopeScaling) -> f64 {
    match scaling {
        RopeScaling::Yarn { factor, .. } => yarn_mscale(*factor, 1.0),
        RopeScaling::None | RopeScaling::Linear { .. } => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_kernels::rope::RopeLayout;

    fn deepseek() -> RopeConfig {
        let scaling = RopeScaling::Yarn {
            factor: 40.0,
            original_max_position_embeddings: 4096.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            mscale_all_dim: 1.0,
        };
        RopeConfig { dim: 64, theta: 10_000.0, scaling, layout: RopeLayout::Interleaved }
    }

    #[test]
    fn yarn_of_the_released_models_keeps_pairs_to_10_and_divides_from_23() {
        let rope = Rope::new(&deepseek(), None, 1.0);
        let plain = |i: usize| 10_000f64.powf(-2.0 * i as f64 / 64.0);
        for i in 0..=10 {
            assert!((rope.frequencies[i] - plain(i)).abs() < 1e-15, "pair {i}");
        }
        for i in 23..32 {
            assert!((rope.frequencies[i] - plain(i) / 40.0).abs() < 1e-15, "pair {i}");
        }
        assert!(rope.frequencies[16] < plain(16) && rope.frequencies[16] > plain(16) / 40.0);
        assert!((yarn_mscale(40.0, 1.0) - 1.36889).abs() < 1e-5);
        assert!((yarn_mscale(40.0, 0.707).powi(2) - 1.58963).abs() < 1e-5);
    }

    #[test]
    fn divisors_and_linear_scaling_divide() {
        let plain = RopeConfig { scaling: RopeScaling::None, dim: 4, ..deepseek() };
        let linear = RopeConfig { scaling: RopeScaling::Linear { factor: 2.0 }, ..plain.clone() };
        let of = |config, divisors| Rope::new(config, divisors, 1.0).frequencies;
        assert_eq!(of(&plain, None), [1.0, 0.01]);
        assert_eq!(of(&linear, None), [0.5, 0.005]);
        assert_eq!(of(&plain, Some(&[1.0, 8.0])), [1.0, 0.00125]);
    }
}
