//! Activations in 8 bits, and in 15 where 8 are too few; made once for all matrices that read them.
//!
//! A row is cut into blocks of 32. Each block stores `code = round(x / scale)` with `scale = max|x| / 127`. One element
//! much larger than its 31 neighbours leaves them with few bits, and trained models have such elements: with 8 bits
//! throughout, SmolLM2-135M disagrees with its f32 self about 3 to 7 of 100 next tokens. So a block whose largest element
//! is more than [`OUTLIER_RATIO`] times its root mean square stores what is left as well, `fine = round(128 * (x / scale -
//! code))`, and products take a second pass over these blocks alone. Whether a block is fine depends on its own 32
//! numbers, so a token's answer does not depend on its company. See docs/decisions/0005.
//!
//! Weights whose codes are offset need the sum of the codes of each sub-block, and weights with minima the sum of the
//! elements; both are stored, the first exactly.

use crate::Act;
use crate::isa::{Isa, per_isa};
use crate::pool::Pool;

/// Elements that share one activation scale.
pub(crate) const BLOCK: usize = 32;

/// How far the largest element of a block may stand above the root mean square before the block is stored fine.
const OUTLIER_RATIO: f32 = 4.0;

/// The second byte of a block: `x[i] += scale * codes[i]`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fine {
    /// Which block of the row.
    pub(crate) block: usize,
    /// 1/128 of the block's scale.
    pub(crate) scale: f32,
    /// Sums of the codes of each half.
    pub(crate) sums: [i32; 2],
    /// Each in -64..=64.
    pub(crate) codes: [i8; BLOCK],
}

/// One row: `x[i] = scales[i / 32] * codes[i]`, and what `fine` adds.
#[derive(Clone, Copy)]
pub(crate) struct QuantRow<'a> {
    /// Each in -127..=127; the last block is filled up with zeros.
    pub(crate) codes: &'a [[i8; BLOCK]],
    /// One for each block.
    pub(crate) scales: &'a [f32],
    /// Sums of the codes of each half of each block.
    pub(crate) code_sums: &'a [[i32; 2]],
    /// Sums of the elements as coded, fine codes included, of each half of each block.
    pub(crate) sums_16: &'a [[f32; 2]],
    /// The same for whole blocks.
    pub(crate) sums_32: &'a [f32],
    /// Blocks with a second byte, in order.
    pub(crate) fine: &'a [Fine],
}

/// Quantised activations, `[rows, cols]`.
pub(crate) struct QuantAct {
    blocks: usize,
    codes: Vec<[i8; BLOCK]>,
    scales: Vec<f32>,
    code_sums: Vec<[i32; 2]>,
    sums_16: Vec<[f32; 2]>,
    sums_32: Vec<f32>,
    fine: Vec<Vec<Fine>>,
}

/// One row of a [`QuantAct`] being made.
pub(crate) struct RowMut<'a> {
    codes: &'a mut [[i8; BLOCK]],
    scales: &'a mut [f32],
    code_sums: &'a mut [[i32; 2]],
    sums_16: &'a mut [[f32; 2]],
    sums_32: &'a mut [f32],
    fine: &'a mut Vec<Fine>,
}

impl QuantAct {
    /// Quantises every row of `x`.
    pub(crate) fn new(isa: Isa, pool: &Pool, x: &Act) -> Self {
        let blocks = x.cols().div_ceil(BLOCK).max(1);
        let count = x.rows() * blocks;
        let mut quant = Self {
            blocks,
            codes: vec![[0; BLOCK]; count],
            scales: vec![0.0; count],
            code_sums: vec![[0; 2]; count],
            sums_16: vec![[0.0; 2]; count],
            sums_32: vec![0.0; count],
            fine: vec![Vec::new(); x.rows()],
        };
        let mut rows: Vec<_> = quant.rows_mut().collect();
        pool.for_each_chunk(&mut rows, 4, |chunk, rows| {
            for (i, row) in rows.iter_mut().enumerate() {
                quantize_row(isa, x.row(4 * chunk + i), row);
            }
        });
        quant
    }

    fn rows_mut(&mut self) -> impl Iterator<Item = RowMut<'_>> {
        let blocks = self.blocks;
        let ints = self.codes.chunks_mut(blocks).zip(self.code_sums.chunks_mut(blocks));
        let sums = self.sums_16.chunks_mut(blocks).zip(self.sums_32.chunks_mut(blocks));
        let floats = self.scales.chunks_mut(blocks).zip(sums);
        ints.zip(floats).zip(&mut self.fine).map(
            |(((codes, code_sums), (scales, (sums_16, sums_32))), fine)| RowMut {
                codes,
                scales,
                code_sums,
                sums_16,
                sums_32,
                fine,
            },
        )
    }

    /// Row `row`.
    pub(crate) fn row(&self, row: usize) -> QuantRow<'_> {
        let at = row * self.blocks..(row + 1) * self.blocks;
        QuantRow {
            codes: &self.codes[at.clone()],
            scales: &self.scales[at.clone()],
            code_sums: &self.code_sums[at.clone()],
            sums_16: &self.sums_16[at.clone()],
            sums_32: &self.sums_32[at],
            fine: &self.fine[row],
        }
    }
}

per_isa! {
    /// Quantises one row.
    fn quantize_row(x: &[f32], row: &mut RowMut<'_>) = quantize_row_body
}

#[inline(always)]
fn quantize_row_body<const FUSED: bool>(x: &[f32], row: &mut RowMut<'_>) {
    for (b, x) in x.chunks(BLOCK).enumerate() {
        let mut padded = [0f32; BLOCK];
        padded[..x.len()].copy_from_slice(x);
        quantize_block(&padded, b, row);
    }
}

/// Codes and sums of one block.
#[inline(always)]
fn quantize_block(x: &[f32; BLOCK], b: usize, row: &mut RowMut<'_>) {
    let (largest, mean_square) = magnitudes(x);
    let scale = largest / 127.0;
    // A block of zeros, or of numbers too small to divide by, has codes of zero.
    let inverse = if scale > 0.0 && (1.0 / scale).is_finite() { 1.0 / scale } else { 0.0 };
    let scale = if inverse > 0.0 { scale } else { 0.0 };
    let mut exact = [0f32; BLOCK];
    let mut rounded = [0f32; BLOCK];
    for i in 0..BLOCK {
        exact[i] = larger(-127.0, -larger(-127.0, -(x[i] * inverse)));
        rounded[i] = round(exact[i]);
    }
    let (codes, sums) = to_codes(&rounded);
    row.codes[b] = codes;
    row.scales[b] = scale;
    row.code_sums[b] = sums;
    let mut elements = [sums[0].wrapping_mul(128), sums[1].wrapping_mul(128)];
    if largest * largest > OUTLIER_RATIO * OUTLIER_RATIO * mean_square {
        let mut rest = [0f32; BLOCK];
        for i in 0..BLOCK {
            rest[i] = round((exact[i] - rounded[i]) * 128.0);
        }
        let (codes, sums) = to_codes(&rest);
        row.fine.push(Fine { block: b, scale: scale / 128.0, sums, codes });
        elements = [elements[0].wrapping_add(sums[0]), elements[1].wrapping_add(sums[1])];
    }
    row.sums_16[b] = [scale / 128.0 * elements[0] as f32, scale / 128.0 * elements[1] as f32];
    row.sums_32[b] = scale / 128.0 * elements[0].wrapping_add(elements[1]) as f32;
}

/// 1.5 * 2^23: adding and removing it rounds numbers below 2^22 to nearest, ties to even, in one instruction each.
const ROUND: f32 = 12_582_912.0;

#[inline(always)]
fn round(x: f32) -> f32 {
    (x + ROUND) - ROUND
}

/// The largest magnitude and the mean of the squares.
#[inline(always)]
fn magnitudes(x: &[f32; BLOCK]) -> (f32, f32) {
    let (mut largest, mut squares) = ([0f32; 16], [0f32; 16]);
    for i in 0..16 {
        largest[i] = larger(x[i].abs(), x[i + 16].abs());
        squares[i] = x[i] * x[i] + x[i + 16] * x[i + 16];
    }
    let mut width = 8;
    while width > 0 {
        for i in 0..width {
            largest[i] = larger(largest[i], largest[i + width]);
            squares[i] += squares[i + width];
        }
        width /= 2;
    }
    (largest[0], squares[0] / BLOCK as f32)
}

/// The larger of two numbers, in the one instruction that does not mind NaN.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Whole numbers as bytes, and the sums of each half. A number with [`ROUND`] added carries its integer in its lowest
/// bits; a conversion would have to mind numbers out of range, and does not vectorise.
#[inline(always)]
fn to_codes(rounded: &[f32; BLOCK]) -> ([i8; BLOCK], [i32; 2]) {
    let mut ints = [0i32; BLOCK];
    for i in 0..BLOCK {
        ints[i] = (rounded[i] + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    }
    let mut codes = [0i8; BLOCK];
    for i in 0..BLOCK {
        codes[i] = ints[i] as i8;
    }
    (codes, [sum_16(&ints, 0), sum_16(&ints, 16)])
}

#[inline(always)]
fn sum_16(ints: &[i32; BLOCK], first: usize) -> i32 {
    let mut sum = 0i32;
    for i in first..first + 16 {
        sum = sum.wrapping_add(ints[i]);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shoal_testkit::seeded;

    /// Row `r` of `quant` as numbers.
    fn decoded(quant: &QuantAct, r: usize) -> Vec<f64> {
        let row = quant.row(r);
        let mut out = Vec::new();
        for (b, codes) in row.codes.iter().enumerate() {
            let fine = row.fine.iter().find(|fine| fine.block == b);
            for i in 0..BLOCK {
                let coarse = f64::from(row.scales[b]) * f64::from(codes[i]);
                out.push(coarse + fine.map_or(0.0, |f| f64::from(f.scale) * f64::from(f.codes[i])));
            }
        }
        out
    }

    proptest! {
        #[test]
        fn every_variant_has_the_same_codes_within_half_a_step(cols in 1..300usize, seed in any::<u64>(), exponent in -30..30i32) {
            let factor = 2f32.powi(exponent);
            let mut values: Vec<f32> = seeded::normal_f32(seed, 3 * cols).iter().map(|x| x * factor).collect();
            values[cols / 2] *= 100.0; // an outlier in the first row
            let x = Act::from_vec(3, cols, values);
            let pool = Pool::new(2);
            for isa in Isa::available() {
                let quant = QuantAct::new(isa, &pool, &x);
                let reference = QuantAct::new(Isa::Scalar, &pool, &x);
                prop_assert_eq!(&quant.codes, &reference.codes);
                prop_assert_eq!(&quant.scales, &reference.scales);
                prop_assert_eq!(&quant.sums_16, &reference.sums_16);
                prop_assert_eq!(&quant.sums_32, &reference.sums_32);
                for r in 0..3 {
                    let row = quant.row(r);
                    prop_assert_eq!(row.fine.len(), reference.row(r).fine.len());
                    let got = decoded(&quant, r);
                    prop_assert!(got[cols..].iter().all(|x| *x == 0.0), "padding");
                    for (i, &want) in x.row(r).iter().enumerate() {
                        let is_fine = row.fine.iter().any(|fine| fine.block == i / BLOCK);
                        let step = f64::from(row.scales[i / BLOCK]) / if is_fine { 128.0 } else { 1.0 };
                        prop_assert!((got[i] - f64::from(want)).abs() <= step * 0.51, "{isa} {} {want}", got[i]);
                    }
                    for (b, got) in got.chunks(BLOCK).enumerate() {
                        let half = |h: usize| got[16 * h..16 * (h + 1)].iter().sum::<f64>();
                        let close = |a: f32, want: f64| (f64::from(a) - want).abs() <= 1e-6 * want.abs() + 1e-30;
                        prop_assert!(close(row.sums_16[b][0], half(0)) && close(row.sums_16[b][1], half(1)));
                        prop_assert!(close(row.sums_32[b], half(0) + half(1)));
                        let sum = |codes: &[i8]| codes.iter().map(|&c| i32::from(c)).sum::<i32>();
                        prop_assert_eq!(row.code_sums[b], [sum(&row.codes[b][..16]), sum(&row.codes[b][16..])]);
                    }
                    for fine in row.fine {
                        let sum = |codes: &[i8]| codes.iter().map(|&c| i32::from(c)).sum::<i32>();
                        prop_assert_eq!(fine.sums, [sum(&fine.codes[..16]), sum(&fine.codes[16..])]);
                    }
                }
            }
        }
    }

    #[test]
    fn an_outlier_makes_its_own_block_fine() {
        let mut values = seeded::normal_f32(1, 96);
        values[40] = 50.0;
        let quant = QuantAct::new(Isa::best(), &Pool::new(1), &Act::from_vec(1, 96, values));
        let fine: Vec<usize> = quant.row(0).fine.iter().map(|fine| fine.block).collect();
        assert_eq!(fine, [1]);
    }

    #[test]
    fn zeros_and_extremes_stay_finite() {
        for value in [0.0, 1e-42, f32::MIN_POSITIVE, 1e36] {
            let quant = QuantAct::new(Isa::best(), &Pool::new(1), &Act::from_vec(1, 32, vec![value; 32]));
            assert!(quant.row(0).scales.iter().chain(quant.row(0).sums_32).all(|x| x.is_finite()), "{value}");
        }
    }
}
