//! Activations in 15 bits, two bytes each, made once for all matrices that read them.
//!
//! A row is cut into blocks of 32. Each block stores `code = round(x / scale)` with `scale = max|x| / 127`, and what
//! is left as `fine = round(128 * (x / scale - code))`, so |x - scale * (code + fine / 128)| <= scale / 256. One
//! large element in a block would otherwise leave its 31 neighbours with few bits, and trained models have such
//! elements: with codes alone, SmolLM2-135M disagrees with its f32 self about 5 of 100 next tokens.
//!
//! Weights whose format has a minimum need the sum of the activations of each sub-block as well: those sums are
//! taken over the codes, exactly, and stored times the scale.
//!
//! Rows are padded with zero codes and scales to whole steps of the widest kernel, which therefore has no tail.

use crate::Act;
use crate::isa::{Isa, per_isa};
use crate::pool::Pool;

/// Elements that share one activation scale.
pub(crate) const BLOCK: usize = 32;
/// Elements a kernel takes in one step: one AVX-512 register of codes.
pub(crate) const STEP: usize = 64;
/// Scales are padded to this many, so that they can be read a register at a time.
const SCALE_PAD: usize = 16;

/// Number of codes stored for a row of `cols`.
pub(crate) const fn padded_cols(cols: usize) -> usize {
    cols.next_multiple_of(STEP)
}

/// Number of scales stored for a row of `cols` with one scale for each `sub` elements.
pub(crate) const fn padded_scales(cols: usize, sub: usize) -> usize {
    (padded_cols(cols) / sub).next_multiple_of(SCALE_PAD)
}

/// One row: `x[i] = scales[i / 32] * (128 * codes[i] + fine[i])`.
#[derive(Clone, Copy)]
pub(crate) struct QuantRow<'a> {
    /// `[padded_cols]`, each in -127..=127.
    pub(crate) codes: &'a [i8],
    /// `[padded_cols]`, each in -64..=64.
    pub(crate) fine: &'a [i8],
    /// One for each 32 elements, already divided by 128.
    pub(crate) scales: &'a [f32],
    /// The sum of the elements as coded, over each 16.
    pub(crate) sums_16: &'a [f32],
    /// The same over each 32.
    pub(crate) sums_32: &'a [f32],
}

/// Activations in 15 bits, `[rows, cols]`.
pub(crate) struct QuantAct {
    cols: usize,
    /// For each row: codes, then what is left of them.
    codes: Vec<i8>,
    /// For each row: scales, then sums over 16, then sums over 32.
    floats: Vec<f32>,
}

struct FloatLayout {
    scales: usize,
    sums_16: usize,
}

impl FloatLayout {
    const fn of(cols: usize) -> Self {
        Self { scales: padded_scales(cols, BLOCK), sums_16: padded_scales(cols, 16) }
    }
    const fn stride(&self) -> usize {
        2 * self.scales + self.sums_16
    }
}

impl QuantAct {
    /// Quantises every row of `x`.
    pub(crate) fn new(isa: Isa, pool: &Pool, x: &Act) -> Self {
        let cols = x.cols();
        let layout = FloatLayout::of(cols);
        let mut codes = vec![0i8; x.rows() * 2 * padded_cols(cols)];
        let mut floats = vec![0f32; x.rows() * layout.stride()];
        if x.rows() == 1 {
            quantize_row(isa, x.row(0), &mut codes, &mut floats);
        } else if x.rows() > 1 {
            // Two buffers, one item: pair the chunks up front so that an item owns both.
            let mut rows: Vec<_> = codes
                .chunks_mut(2 * padded_cols(cols))
                .zip(floats.chunks_mut(layout.stride()))
                .enumerate()
                .collect();
            pool.for_each_chunk(&mut rows, 8, |_, rows| {
                for (row, (codes, floats)) in rows {
                    quantize_row(isa, x.row(*row), codes, floats);
                }
            });
        }
        Self { cols, codes, floats }
    }

    /// Row `row`.
    pub(crate) fn row(&self, row: usize) -> QuantRow<'_> {
        let layout = FloatLayout::of(self.cols);
        let codes_len = padded_cols(self.cols);
        let (codes, fine) = self.codes[row * 2 * codes_len..][..2 * codes_len].split_at(codes_len);
        let floats = &self.floats[row * layout.stride()..][..layout.stride()];
        let (scales, sums) = floats.split_at(layout.scales);
        let (sums_16, sums_32) = sums.split_at(layout.sums_16);
        QuantRow { codes, fine, scales, sums_16, sums_32 }
    }
}

per_isa! {
    /// Quantises one row; `floats` is laid out as in [`QuantAct`].
    fn quantize_row(x: &[f32], codes: &mut [i8], floats: &mut [f32]) = quantize_row_body
}

#[inline(always)]
fn quantize_row_body<const FUSED: bool>(x: &[f32], codes: &mut [i8], floats: &mut [f32]) {
    let layout = FloatLayout::of(x.len());
    let (scales, sums) = floats.split_at_mut(layout.scales);
    let (sums_16, sums_32) = sums.split_at_mut(layout.sums_16);
    let (codes, fine) = codes.split_at_mut(padded_cols(x.len()));
    let (codes, fine) = (codes.as_chunks_mut::<BLOCK>().0, fine.as_chunks_mut::<BLOCK>().0);
    for (block, x) in x.chunks(BLOCK).enumerate() {
        let mut padded = [0f32; BLOCK];
        padded[..x.len()].copy_from_slice(x);
        let (scale, halves) = quantize_block(&padded, &mut codes[block], &mut fine[block]);
        scales[block] = scale;
        sums_16[2 * block] = scale * halves[0] as f32;
        sums_16[2 * block + 1] = scale * halves[1] as f32;
        sums_32[block] = scale * (halves[0] + halves[1]) as f32;
    }
}

/// Codes of one block; returns the scale of its finest step and the sums of the coded elements of each half.
#[inline(always)]
fn quantize_block(x: &[f32; BLOCK], codes: &mut [i8; BLOCK], fine: &mut [i8; BLOCK]) -> (f32, [i32; 2]) {
    // Adding and removing 1.5 * 2^23 rounds to nearest, ties to even, in one vector instruction each.
    const ROUND: f32 = 12_582_912.0;
    let mut lanes = [0f32; 16];
    for i in 0..16 {
        lanes[i] = x[i].abs().max(x[i + 16].abs());
    }
    let largest = lanes.iter().fold(0f32, |a, b| a.max(*b));
    let scale = largest / 127.0;
    // A block of zeros, or of numbers too small to divide by, has codes of zero.
    let inverse = if scale > 0.0 && (1.0 / scale).is_finite() { 1.0 / scale } else { 0.0 };
    let mut coarse_ints = [0i32; BLOCK];
    let mut fine_ints = [0i32; BLOCK];
    for i in 0..BLOCK {
        let exact = (x[i] * inverse).clamp(-127.0, 127.0);
        let rounded = (exact + ROUND) - ROUND;
        coarse_ints[i] = rounded as i32;
        fine_ints[i] = (((exact - rounded) * 128.0 + ROUND) - ROUND) as i32;
    }
    for i in 0..BLOCK {
        codes[i] = coarse_ints[i] as i8;
        fine[i] = fine_ints[i] as i8;
    }
    let sum = |range: std::ops::Range<usize>| {
        128 * coarse_ints[range.clone()].iter().sum::<i32>() + fine_ints[range].iter().sum::<i32>()
    };
    (if inverse > 0.0 { scale / 128.0 } else { 0.0 }, [sum(0..16), sum(16..32)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shoal_testkit::seeded;

    proptest! {
        #[test]
        fn every_variant_is_within_half_a_step(cols in 1..300usize, seed in any::<u64>(), exponent in -30..30i32) {
            let factor = 2f32.powi(exponent);
            let values: Vec<f32> = seeded::normal_f32(seed, 3 * cols).iter().map(|x| x * factor).collect();
            let x = Act::from_vec(3, cols, values);
            let pool = Pool::new(2);
            for isa in Isa::available() {
                let quant = QuantAct::new(isa, &pool, &x);
                for r in 0..3 {
                    let row = quant.row(r);
                    for (i, &want) in x.row(r).iter().enumerate() {
                        let scale = row.scales[i / BLOCK];
                        let got = scale * (128.0 * f32::from(row.codes[i]) + f32::from(row.fine[i]));
                        prop_assert!((got - want).abs() <= scale * 0.51, "{isa} {got} {want}");
                    }
                    for block in 0..cols.div_ceil(BLOCK) {
                        let at = block * BLOCK..(block + 1) * BLOCK;
                        let elements = row.codes[at.clone()].iter().zip(&row.fine[at]);
                        let ints: Vec<i32> = elements.map(|(&c, &f)| 128 * i32::from(c) + i32::from(f)).collect();
                        let sum: i32 = ints.iter().sum();
                        prop_assert_eq!(row.sums_32[block], row.scales[block] * sum as f32);
                        let sum: i32 = ints[..16].iter().sum();
                        prop_assert_eq!(row.sums_16[2 * block], row.scales[block] * sum as f32);
                    }
                    prop_assert!(row.codes[cols..].iter().chain(&row.fine[cols..]).all(|&c| c == 0));
                }
            }
        }
    }

    #[test]
    fn zeros_and_extremes_stay_finite() {
        for value in [0.0, 1e-42, f32::MIN_POSITIVE, 1e36] {
            let quant = QuantAct::new(Isa::best(), &Pool::new(1), &Act::from_vec(1, 32, vec![value; 32]));
            assert!(quant.row(0).scales.iter().chain(quant.row(0).sums_32).all(|x| x.is_finite()), "{value}");
        }
    }
}
