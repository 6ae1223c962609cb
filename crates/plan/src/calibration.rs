//! What a planner learns from what was measured.
//!
//! An observation says what a step's products take by themselves, how many layers there are, what was read, and how long it took in
//! truth. The constants are those that bring all observations nearest, in the logarithm, and stay near what they were before
//! as long as few speak against it: one bench of one model should not decide for all others.

use serde::{Deserialize, Serialize};

use crate::machine::Constants;
use crate::step::Phase;

/// One measured step, or the mean of many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Of a prompt, not of an answer.
    pub is_prefill: bool,
    /// Seconds of products by themselves, with what every token needs.
    pub dense_s: f64,
    /// The same with experts.
    pub experts_s: f64,
    /// Layers.
    pub layers: f64,
    /// Tokens times the width of the residual.
    pub elements: f64,
    /// Seconds of attention.
    pub attention_s: f64,
    /// Seconds that what was read takes by itself.
    pub drive_s: f64,
    /// The share of experts that was in memory.
    pub in_memory: f64,
    /// Of the bytes of experts that were needed, the share that was read.
    pub missing: f64,
    /// Seconds in truth.
    pub measured_s: f64,
}

impl Observation {
    fn predicted_s(&self, constants: &Constants) -> f64 {
        let (dense, expert) = constants.factors(self.phase());
        let products = dense * self.dense_s + expert * self.experts_s;
        let layer = constants.layer_s + self.elements * constants.element_s;
        let computing = products + self.layers * layer + self.attention_s;
        computing.max(self.drive_s) + constants.wait_share * computing.min(self.drive_s)
    }

    /// Whether the numbers can be.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        let above = [self.dense_s, self.layers, self.elements, self.measured_s];
        let from = [self.experts_s, self.attention_s, self.drive_s];
        let shares = [self.in_memory, self.missing];
        above.iter().all(|x| x.is_finite() && *x > 0.0)
            && from.iter().all(|x| x.is_finite() && *x >= 0.0)
            && shares.iter().all(|x| (0.0..=1.5).contains(x))
    }

    /// What it is of.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        if self.is_prefill { Phase::Prefill } else { Phase::Decode }
    }
}

/// How far a constant is from what it was before, in logarithms, at the cost of one observation that is off by [`OBSERVED`].
const BELIEVED: f64 = 0.5;
/// Off by as much is usual.
const OBSERVED: f64 = 0.1;
/// Observations that the spread of before counts for.
const BEFORE: f64 = 3.0;
/// No prediction is better than this: machines differ from one run to the next.
const SPREAD_MIN: f64 = 1.1;
/// How many standard deviations nine of ten cases are within.
const NINE_OF_TEN: f64 = 1.645;

/// The constants that fit `observations`, beginning with `before`, and the factor within which predictions are, which was
/// `spread_before`.
#[must_use]
pub fn fit(before: Constants, spread_before: f64, observations: &[Observation]) -> (Constants, f64) {
    let fields: [fn(&mut Constants) -> &mut f64; 7] = [
        |c| &mut c.layer_s,
        |c| &mut c.element_s,
        |c| &mut c.decode_expert_factor,
        |c| &mut c.prefill_expert_factor,
        |c| &mut c.decode_factor,
        |c| &mut c.prefill_factor,
        |c| &mut c.wait_share,
    ];
    let mut constants = before;
    let mut step = 0.4;
    while step > 0.005 {
        let mut moved = false;
        for field in fields {
            for factor in [f64::exp(step), f64::exp(-step)] {
                let mut other = constants;
                *field(&mut other) *= factor;
                if loss(&other, &before, observations) < loss(&constants, &before, observations) {
                    constants = other;
                    moved = true;
                }
            }
        }
        if !moved {
            step /= 2.0;
        }
    }
    constants.reuse = reuse(before.reuse, observations);
    let square = |o: &Observation| (o.predicted_s(&constants) / o.measured_s).ln().powi(2);
    let seen: f64 = observations.iter().map(square).sum();
    let deviation_before = spread_before.ln() / NINE_OF_TEN;
    let count = observations.len() as f64 + BEFORE;
    let deviation = ((seen + BEFORE * deviation_before.powi(2)) / count).sqrt();
    (constants, (NINE_OF_TEN * deviation).exp().max(SPREAD_MIN))
}

fn loss(constants: &Constants, before: &Constants, observations: &[Observation]) -> f64 {
    let seen =
        observations.iter().map(|o| ((o.predicted_s(constants) / o.measured_s).ln() / OBSERVED).powi(2));
    let moved = [
        (constants.layer_s, before.layer_s),
        (constants.element_s, before.element_s),
        (constants.decode_expert_factor, before.decode_expert_factor),
        (constants.prefill_expert_factor, before.prefill_expert_factor),
        (constants.decode_factor, before.decode_factor),
        (constants.prefill_factor, before.prefill_factor),
        (constants.wait_share, before.wait_share),
    ];
    let moved = moved.map(|(now, then)| ((now / then).ln() / BELIEVED).powi(2));
    seen.sum::<f64>() + moved.iter().sum::<f64>()
}

/// The power of the share in memory that gives how often experts were found there.
fn reuse(before: f64, observations: &[Observation]) -> f64 {
    let own = observations.iter().filter(|o| !o.is_prefill && (0.02..0.98).contains(&o.in_memory));
    let own = own.filter(|o| (0.02..0.98).contains(&o.missing));
    let powers: Vec<f64> = own.map(|o| (1.0 - o.missing).ln() / o.in_memory.ln()).collect();
    let sum: f64 = powers.iter().sum::<f64>() + before;
    (sum / (powers.len() as f64 + 1.0)).clamp(0.2, 1.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE_ALL: Constants = Constants {
        layer_s: 1e-4,
        element_s: 1e-9,
        decode_expert_factor: 1.2,
        prefill_expert_factor: 1.2,
        decode_factor: 1.0,
        prefill_factor: 1.0,
        wait_share: 0.5,
        reuse: 0.6,
    };

    fn observation(products_s: f64, layers: f64, drive_s: f64, truth: &Constants) -> Observation {
        let mut one = Observation {
            is_prefill: false,
            // Some are mostly experts, some have few.
            dense_s: products_s * (layers % 5.0 + 1.0) / 6.0,
            experts_s: products_s * (5.0 - layers % 5.0) / 6.0,
            layers,
            elements: 2048.0,
            attention_s: 0.001,
            drive_s,
            in_memory: 0.25,
            missing: 1.0 - 0.25f64.powf(truth.reuse),
            measured_s: 1.0,
        };
        one.measured_s = one.predicted_s(truth);
        one
    }

    #[test]
    fn many_observations_bring_the_truth_out_and_narrow_the_spread() {
        let truth =
            Constants { layer_s: 2e-4, decode_factor: 1.3, wait_share: 0.7, reuse: 0.8, ..BEFORE_ALL };
        let mut seen = Vec::new();
        for (products, layers) in [(0.01, 24.0), (0.1, 27.0), (0.5, 61.0), (0.002, 30.0)] {
            for drive in [0.0, 0.05, 0.3, 1.0] {
                seen.push(observation(products, layers, drive, &truth));
            }
        }
        let (found, spread) = fit(BEFORE_ALL, 1.35, &seen);
        // What was not seen is foretold as well.
        for (products, layers, drive) in [(0.05, 40.0, 0.0), (0.3, 27.0, 0.2), (0.02, 58.0, 0.1)] {
            let unseen = observation(products, layers, drive, &truth);
            let off = unseen.predicted_s(&found) / unseen.measured_s;
            assert!((off - 1.0).abs() < 0.05, "{off} for {unseen:?} with {found:?}");
        }
        assert!((found.reuse / truth.reuse - 1.0).abs() < 0.02, "{found:?}");
        assert!(spread < 1.2, "{spread}");
        assert!((found.prefill_factor - 1.0).abs() < 1e-9, "nothing was seen of prompts");
    }

    #[test]
    fn without_observations_nothing_changes_and_contradictions_widen() {
        assert_eq!(fit(BEFORE_ALL, 1.35, &[]).0, BEFORE_ALL);
        assert!((fit(BEFORE_ALL, 1.35, &[]).1 - 1.35).abs() < 1e-9);
        let one = observation(0.1, 27.0, 0.0, &BEFORE_ALL);
        let contrary = [
            Observation { measured_s: 3.0 * one.measured_s, ..one },
            Observation { measured_s: one.measured_s / 3.0, ..one },
        ];
        assert!(fit(BEFORE_ALL, 1.35, &contrary).1 > 1.6);
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        let one = observation(0.1, 27.0, 0.0, &BEFORE_ALL);
        assert!(one.is_sane());
        for bad in [
            Observation { measured_s: 0.0, ..one },
            Observation { dense_s: f64::NAN, ..one },
            Observation { drive_s: -1.0, ..one },
            Observation { missing: 7.0, ..one },
        ] {
            assert!(!bad.is_sane(), "{bad:?}");
        }
    }
}
