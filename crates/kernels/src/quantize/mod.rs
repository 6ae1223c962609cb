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

mod scalar;
#[cfg(target_arch = "x86_64")]
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::Act;
use crate::isa::Isa;
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

/// 32 elements: `x[i] = scale * codes[i]`, and what a [`Fine`] adds. One cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(align(64))]
pub(crate) struct Block {
    /// Each in -127..=127; the last block of a row is filled up with zeros.
    pub(crate) codes: [i8; BLOCK],
    pub(crate) scale: f32,
    /// Sum of the elements as coded, fine codes included.
    pub(crate) sum: f32,
    /// The same for each half.
    pub(crate) half_sums: [f32; 2],
    /// Sums of the codes of each half.
    pub(crate) code_sums: [i32; 2],
}

/// One row.
#[derive(Clone, Copy)]
pub(crate) struct QuantRow<'a> {
    /// One for each 32 elements.
    pub(crate) blocks: &'a [Block],
    /// Blocks with a second byte, in order.
    pub(crate) fine: &'a [Fine],
}

/// Quantised activations, `[rows, cols]`.
pub(crate) struct QuantAct {
    blocks_per_row: usize,
    blocks: Vec<Block>,
    fine: Vec<Vec<Fine>>,
}

/// One row of a [`QuantAct`] being made.
pub(crate) struct RowMut<'a> {
    blocks: &'a mut [Block],
    fine: &'a mut Vec<Fine>,
}

impl QuantAct {
    /// Quantises every row of `x`.
    pub(crate) fn new(isa: Isa, pool: &Pool, x: &Act) -> Self {
        let blocks_per_row = x.cols().div_ceil(BLOCK).max(1);
        let mut blocks = vec![Block::default(); x.rows() * blocks_per_row];
        let mut fine = vec![Vec::new(); x.rows()];
        let mut rows: Vec<_> = blocks
            .chunks_mut(blocks_per_row)
            .zip(&mut fine)
            .map(|(blocks, fine)| RowMut { blocks, fine })
            .collect();
        pool.for_each_chunk(&mut rows, 4, |chunk, rows| {
            for (i, row) in rows.iter_mut().enumerate() {
                quantize_row(isa, x.row(4 * chunk + i), row);
            }
        });
        Self { blocks_per_row, blocks, fine }
    }

    /// Row `row`.
    pub(crate) fn row(&self, row: usize) -> QuantRow<'_> {
        QuantRow {
            blocks: &self.blocks[row * self.blocks_per_row..][..self.blocks_per_row],
            fine: &self.fine[row],
        }
    }
}

/// Quantises one row.
fn quantize_row(isa: Isa, x: &[f32], row: &mut RowMut<'_>) {
    match isa {
        Isa::Scalar => scalar::quantize_row(x, row),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(proof) => x86::avx2(proof, x, row),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni(proof) => x86::avx_vnni(proof, x, row),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(proof) => x86::avx512(proof, x, row),
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2(_) | Isa::AvxVnni(_) | Isa::Avx512(_) => {
            unreachable!("no proof of these exists on this machine")
        }
    }
}

impl Block {
    /// Fills in what follows from the codes: the scale and the sums.
    #[inline(always)]
    fn finish(&mut self, scale: f32, code_sums: [i32; 2], fine_sums: [i32; 2]) {
        self.scale = scale;
        self.code_sums = code_sums;
        let mut elements = [0; 2];
        for half in 0..2 {
            elements[half] = code_sums[half].wrapping_mul(128).wrapping_add(fine_sums[half]);
        }
        let fine_scale = scale / 128.0;
        self.half_sums = [fine_scale * elements[0] as f32, fine_scale * elements[1] as f32];
        self.sum = fine_scale * elements[0].wrapping_add(elements[1]) as f32;
    }
}

/// The scale of a block and its inverse. A block of zeros, or of numbers too small to divide by, has both zero.
#[inline(always)]
fn scale_and_inverse(largest: f32) -> [f32; 2] {
    let scale = largest / 127.0;
    let inverse = 1.0 / scale;
    if scale > 0.0 && inverse.is_finite() { [scale, inverse] } else { [0.0; 2] }
}

/// Whether a block needs a second byte.
#[inline(always)]
fn is_fine(largest: f32, mean_square: f32) -> bool {
    largest * largest > OUTLIER_RATIO * OUTLIER_RATIO * mean_square
}

/// 1.5 * 2^23: adding and removing it rounds numbers below 2^22 to nearest, ties to even, in one instruction each. A
/// number with it added carries its integer in its lowest bits.
const ROUND: f32 = 12_582_912.0;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shoal_testkit::seeded;

    /// Row `r` of `quant` as numbers.
    fn decoded(quant: &QuantAct, r: usize) -> Vec<f64> {
        let row = quant.row(r);
        let mut out = Vec::new();
        for (b, block) in row.blocks.iter().enumerate() {
            let fine = row.fine.iter().find(|fine| fine.block == b);
            for i in 0..BLOCK {
                let coarse = f64::from(block.scale) * f64::from(block.codes[i]);
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
                prop_assert_eq!(&quant.blocks, &reference.blocks);
                for r in 0..3 {
                    let row = quant.row(r);
                    prop_assert_eq!(row.fine.len(), reference.row(r).fine.len());
                    let got = decoded(&quant, r);
                    prop_assert!(got[cols..].iter().all(|x| *x == 0.0), "padding");
                    for (i, &want) in x.row(r).iter().enumerate() {
                        let is_fine = row.fine.iter().any(|fine| fine.block == i / BLOCK);
                        let step = f64::from(row.blocks[i / BLOCK].scale) / if is_fine { 128.0 } else { 1.0 };
                        prop_assert!((got[i] - f64::from(want)).abs() <= step * 0.51, "{isa} {} {want}", got[i]);
                    }
                    for (b, got) in got.chunks(BLOCK).enumerate() {
                        let block = &row.blocks[b];
                        let half = |h: usize| got[16 * h..16 * (h + 1)].iter().sum::<f64>();
                        let close = |a: f32, want: f64| (f64::from(a) - want).abs() <= 1e-6 * want.abs() + 1e-30;
                        prop_assert!(close(block.half_sums[0], half(0)) && close(block.half_sums[1], half(1)));
                        prop_assert!(close(block.sum, half(0) + half(1)));
                        let sum = |codes: &[i8]| codes.iter().map(|&c| i32::from(c)).sum::<i32>();
                        prop_assert_eq!(block.code_sums, [sum(&block.codes[..16]), sum(&block.codes[16..])]);
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
            assert!(
                quant.row(0).blocks.iter().all(|block| block.scale.is_finite() && block.sum.is_finite()),
                "{value}"
            );
        }
    }
}
