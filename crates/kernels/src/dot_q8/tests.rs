//! One property for all variants: each meets the bound against f64 sums over the same codes and scales.

use proptest::prelude::*;
use shoal_base::Prng;
use shoal_testkit::seeded;

use super::*;
use crate::Act;
use crate::pool::Pool;
use crate::quantize::{BLOCK, QuantAct, padded_cols, padded_scales};

fn random_panel(seed: u64, cols: usize, sub: usize, has_mins: bool) -> Panel {
    let mut prng = Prng::new(seed);
    let (codes_len, scales_len) = (padded_cols(cols), padded_scales(cols, sub));
    let mut panel = Panel {
        codes: vec![0; TILE_ROWS * codes_len],
        scales: vec![0.0; TILE_ROWS * scales_len],
        mins: vec![0.0; if has_mins { TILE_ROWS * scales_len } else { 0 }],
        floats: Vec::new(),
        sub,
    };
    for r in 0..TILE_ROWS {
        for i in 0..cols {
            panel.codes[r * codes_len + i] = (prng.below(256) as i32 - 128) as i8;
        }
        for j in 0..cols / sub {
            panel.scales[r * scales_len + j] = prng.next_normal() as f32;
            if has_mins {
                panel.mins[r * scales_len + j] = prng.next_normal() as f32;
            }
        }
    }
    panel
}

fn x_int(x: &QuantRow<'_>, i: usize) -> f64 {
    128.0 * f64::from(x.codes[i]) + f64::from(x.fine[i])
}

/// The value of the formula in f64 and the sum of the magnitudes of its terms.
fn oracle(panel: &Panel, r: usize, x: &QuantRow<'_>) -> (f64, f64) {
    let cols = x.codes.len();
    let scales_len = panel.scales.len() / TILE_ROWS;
    let (mut value, mut magnitude) = (0.0, 0.0);
    for i in 0..cols {
        let scale = f64::from(panel.scales[r * scales_len + i / panel.sub]) * f64::from(x.scales[i / BLOCK]);
        let term = scale * f64::from(panel.codes[r * cols + i]) * x_int(x, i);
        value += term;
        magnitude += term.abs();
        if !panel.mins.is_empty() {
            let min = f64::from(panel.mins[r * scales_len + i / panel.sub]);
            let term = min * f64::from(x.scales[i / BLOCK]) * x_int(x, i);
            value -= term;
            magnitude += term.abs();
        }
    }
    (value, magnitude)
}

proptest! {
    #[test]
    fn every_variant_meets_the_bound(
        blocks in 1..40usize, tokens in 1..10usize, sub_16 in any::<bool>(), has_mins in any::<bool>(), seed in any::<u64>(),
    ) {
        let cols = 32 * blocks;
        let panel = random_panel(seed, cols, if sub_16 { 16 } else { 32 }, has_mins);
        let x = Act::from_vec(tokens, cols, seeded::normal_f32(seed ^ 1, tokens * cols));
        let pool = Pool::new(1);
        for isa in Isa::available() {
            let quant = QuantAct::new(isa, &pool, &x);
            let mut together = vec![[f32::NAN; TILE_ROWS]; tokens];
            dot_tile(isa, &panel, (0..tokens).map(|t| quant.row(t)), |t, values| together[t] = values);
            for t in 0..tokens {
                let mut alone = [f32::NAN; TILE_ROWS];
                dot_tile(isa, &panel, std::iter::once(quant.row(t)), |_, values| alone = values);
                prop_assert_eq!(together[t].map(f32::to_bits), alone.map(f32::to_bits), "{} token {}", isa, t);
                for r in 0..TILE_ROWS {
                    let (want, magnitude) = oracle(&panel, r, &quant.row(t));
                    let bound = (cols as f64 / 8.0 + 8.0) * f64::from(f32::EPSILON) * magnitude;
                    prop_assert!((f64::from(alone[r]) - want).abs() <= bound, "{isa} {} {want}", alone[r]);
                }
            }
        }
    }
}
