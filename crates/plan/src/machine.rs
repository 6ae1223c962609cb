//! A machine as a planner sees it: places for weights, fast ones first, each with what computes on it; a drive; a price.

use shoal_quant::Dtype;

use crate::attention::KvFormat;
use crate::model::Part;
use crate::step::Phase;

/// How fast a processor takes weights from its memory and multiplies with them.
#[derive(Clone, Debug)]
pub enum Speed {
    /// By a data sheet.
    Nominal {
        /// Bytes per second that its memory is rated for.
        bytes_per_s: f64,
        /// The share of it that products of one token reach.
        read_share: f64,
        /// Floating-point operations per second with weights of 16 bits.
        flops_16: f64,
        /// The same with 8 bits.
        flops_8: f64,
        /// The share of either that products of many tokens reach.
        flops_share: f64,
    },
    /// As measured with the kernels that will run.
    Measured {
        /// Of each format that was measured.
        curves: Vec<Curve>,
        /// Bytes per second of memory.
        bytes_per_s: f64,
        /// Floating-point operations per second of attention.
        flops: f64,
        /// Bytes that caches keep from one token to the next.
        cache_bytes: f64,
    },
}

/// Seconds that one weight takes in a product with several tokens at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// How weights are stored.
    pub format: Dtype,
    /// Tokens and seconds, rising in both.
    pub points: Vec<(f64, f64)>,
    /// Seconds with one token where caches hold the weights.
    pub cached_s: f64,
}

impl Curve {
    /// Seconds for a weight with `tokens` tokens: between points along a line, beyond the last along the last.
    #[must_use]
    pub fn seconds(&self, tokens: f64) -> f64 {
        let pair = self.points.windows(2).find(|pair| tokens <= pair[1].0);
        let pair = pair.or_else(|| self.points.windows(2).last());
        match pair {
            None => self.points.first().map_or(0.0, |&(at, seconds)| seconds * (tokens / at).max(1.0)),
            Some(pair) => {
                let ((from, low), (to, high)) = (pair[0], pair[1]);
                low + (high - low) * ((tokens - from) / (to - from)).max(0.0)
            }
        }
    }
}

impl Speed {
    /// Whether what is read for each token, `bytes`, is still in caches when it is read for the next.
    #[must_use]
    pub const fn keeps(&self, bytes: f64) -> bool {
        match self {
            Self::Nominal { .. } => false,
            Self::Measured { cache_bytes, .. } => bytes <= *cache_bytes,
        }
    }

    /// Seconds for `share` of the weights of `part` with `tokens` tokens each, which caches hold or not.
    #[must_use]
    pub fn product_seconds(&self, part: &Part, share: f64, tokens: f64, is_cached: bool) -> f64 {
        let (weights, bytes) = (part.weights * share, part.bytes * share);
        match self {
            Self::Nominal { bytes_per_s, read_share, flops_16, flops_8, flops_share } => {
                let is_8_bits = (7.9..8.3).contains(&(8.0 * part.bytes / part.weights));
                let flops = if is_8_bits { *flops_8 } else { *flops_16 };
                (bytes / (bytes_per_s * read_share)).max(2.0 * weights * tokens / (flops * flops_share))
            }
            Self::Measured { curves, .. } => {
                let own = curves.iter().find(|curve| Some(curve.format) == part.format);
                match own.or_else(|| nearest(curves, part)) {
                    Some(curve) if is_cached => {
                        weights * (curve.seconds(tokens) - curve.seconds(1.0) + curve.cached_s)
                    }
                    Some(curve) => weights * curve.seconds(tokens),
                    None => 0.0,
                }
            }
        }
    }

    /// Seconds of attention that reads `bytes` of rows and takes `flops` operations.
    #[must_use]
    pub fn attention_seconds(&self, bytes: f64, flops: f64) -> f64 {
        /// What attention reaches of products' operations.
        const SHARE: f64 = 0.5;
        match self {
            Self::Nominal { bytes_per_s, read_share, flops_16, .. } => {
                (bytes / (bytes_per_s * read_share)).max(flops / (SHARE * flops_16))
            }
            Self::Measured { bytes_per_s, flops: rate, .. } => (bytes / bytes_per_s).max(flops / rate),
        }
    }

    /// Bytes per second that its memory gives.
    #[must_use]
    pub const fn bytes_per_s(&self) -> f64 {
        match self {
            Self::Nominal { bytes_per_s, .. } | Self::Measured { bytes_per_s, .. } => *bytes_per_s,
        }
    }
}

/// Of formats that were not measured the one with the most similar size.
fn nearest<'a>(curves: &'a [Curve], part: &Part) -> Option<&'a Curve> {
    let bits = 8.0 * part.bytes / part.weights;
    let away = |curve: &Curve| {
        let own = 8.0 * curve.format.block_bytes() as f64 / curve.format.block_len() as f64;
        (own - bits).abs()
    };
    curves.iter().min_by(|a, b| away(a).total_cmp(&away(b)))
}

/// A place for weights and what computes on it.
#[derive(Clone, Debug)]
pub struct Tier {
    /// Such as `GPU memory`.
    pub name: &'static str,
    /// Bytes.
    pub capacity: f64,
    /// Bytes that are not for the model.
    pub reserved: f64,
    /// What computes.
    pub speed: Speed,
    /// Bytes per second to the first tier, where prompts are computed if that is faster.
    pub to_first: Option<f64>,
}

/// What experts are read from where memory does not hold them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drive {
    /// Bytes per second for reads of an expert's size.
    pub bytes_per_s: f64,
    /// Bytes that are free; infinite where nobody knows.
    pub free: f64,
}

/// Several devices as one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Devices.
    pub devices: f64,
    /// Bytes per second from each to the others, one way.
    pub bytes_per_s: f64,
    /// Seconds of one exchange between all.
    pub latency_s: f64,
}

/// What does not follow from bytes and operations. See [`crate::calibration`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// Seconds of a layer beside its products and attention.
    pub layer_s: f64,
    /// The same for each element of each token's residual in a layer: what norms, activations and quantising take.
    pub element_s: f64,
    /// Time of products over what was measured for them alone.
    pub decode_factor: f64,
    /// The same for prompts.
    pub prefill_factor: f64,
    /// Time of products with experts over that of others: they are many and small.
    pub decode_expert_factor: f64,
    /// The same for prompts, whose tokens are gathered for each expert.
    pub prefill_expert_factor: f64,
    /// Of reading and computing the shorter waits for the longer by this share; 0 where they overlap wholly.
    pub wait_share: f64,
    /// Experts are found in memory as often as the share of them that is there, to this power; 1 if all are as likely.
    pub reuse: f64,
}

impl Constants {
    /// The factors of products in a phase: with what every token needs, and with experts.
    #[must_use]
    pub const fn factors(&self, phase: Phase) -> (f64, f64) {
        match phase {
            Phase::Prefill => (self.prefill_factor, self.prefill_factor * self.prefill_expert_factor),
            Phase::Decode => (self.decode_factor, self.decode_factor * self.decode_expert_factor),
        }
    }
}

/// A machine, or several as one.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What it is called.
    pub name: String,
    /// Fast ones first.
    pub tiers: Vec<Tier>,
    /// Where experts come from that have no place in memory.
    pub drive: Option<Drive>,
    /// Between devices of the first tier, if there are several.
    pub link: Option<Link>,
    /// What does not follow.
    pub constants: Constants,
    /// How keys and values are stored.
    pub kv_format: KvFormat,
    /// Tokens of a prompt in one step.
    pub prefill_chunk: f64,
    /// Dollars per hour to rent it, or what buying it comes to.
    pub usd_per_hour: Option<f64>,
    /// Whether that is rent, which has power in it.
    pub is_rented: bool,
    /// Power while it works.
    pub watts: Option<f64>,
    /// Predictions are within this factor of what is measured, in nine of ten cases as far as known.
    pub spread: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Role;

    #[test]
    fn a_measured_curve_is_followed_between_its_points_and_beyond() {
        let curve =
            Curve { format: Dtype::Q8_0, points: vec![(1.0, 4.0), (3.0, 6.0), (5.0, 10.0)], cached_s: 1.0 };
        for (tokens, seconds) in [(0.5, 4.0), (1.0, 4.0), (2.0, 5.0), (3.0, 6.0), (4.0, 8.0), (7.0, 14.0)] {
            assert!((curve.seconds(tokens) - seconds).abs() < 1e-12, "{tokens} tokens");
        }
        let speed = Speed::Measured { curves: vec![curve], bytes_per_s: 1.0, flops: 1.0, cache_bytes: 50.0 };
        assert!(speed.keeps(50.0) && !speed.keeps(51.0));
        let part = Part { role: Role::EveryToken, format: Some(Dtype::Q8_0), weights: 10.0, bytes: 10.6 };
        assert!((speed.product_seconds(&part, 0.5, 3.0, false) - 30.0).abs() < 1e-12);
        assert!((speed.product_seconds(&part, 0.5, 3.0, true) - 15.0).abs() < 1e-12, "three less for each");
        // Of a format that was not measured the most similar one counts.
        let other = Part { format: None, ..part };
        assert!((speed.product_seconds(&other, 1.0, 1.0, false) - 40.0).abs() < 1e-12);
    }
}
