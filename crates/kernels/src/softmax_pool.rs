//! A few rows made one: per column the mean of their values, weighed by the softmax of their gates.
//!
//! ```text
//! out_c = sum_j softmax_j(gate_j,c) value_j,c          j over the slots of a window
//! ```
//! Value and gate of a slot stand in one row, the gate `gate_column` columns behind the value. This is how V4 compresses
//! the keys and values of a window of tokens.
//!
//! Numerics  f32, slots in order
//! Source    DeepSeek-V4 (arXiv 2606.19348), section 2.3

use crate::act::Act;
use crate::attention::BlockRows;
use crate::attention::listed::ListedRow;
use crate::isa::{fma, per_isa};
use crate::math::{LANES, exp};
use crate::ops::Cpu;

/// A slot of a window: its row and the column at which its values begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSlot {
    /// The row.
    pub row: ListedRow,
    /// Its first value.
    pub column: usize,
}

impl Cpu {
    /// One row of `width` columns for the slots of a window.
    ///
    /// # Panics
    /// If there is no slot, or a slot does not lie in its row.
    #[must_use]
    pub fn softmax_pool(
        &self,
        sources: &[BlockRows<'_>],
        slots: &[PoolSlot],
        gate_column: usize,
        width: usize,
    ) -> Act {
        let _time = self.time("softmax_pool");
        assert!(!slots.is_empty(), "a window has slots");
        let part = |slot: &PoolSlot, first: usize| {
            let row = sources[slot.row.source as usize].at(slot.row.place);
            &row[first + slot.column..][..width]
        };
        let values: Vec<&[f32]> = slots.iter().map(|slot| part(slot, 0)).collect();
        let gates: Vec<&[f32]> = slots.iter().map(|slot| part(slot, gate_column)).collect();
        let mut out = Act::zeros(1, width);
        pool(self.isa(), &values, &gates, out.as_mut_slice());
        out
    }
}

per_isa! {
    /// The mean of `values` by the softmax of `gates`, column by column.
    fn pool(values: &[&[f32]], gates: &[&[f32]], out: &mut [f32]) = pool_body
}

#[inline(always)]
fn pool_body<const FUSED: bool>(values: &[&[f32]], gates: &[&[f32]], out: &mut [f32]) {
    for (part, out) in out.chunks_mut(LANES).enumerate() {
        let len = out.len();
        let lanes = |row: &[f32]| {
            let mut lanes = [0.0; LANES];
            lanes[..len].copy_from_slice(&row[part * LANES..][..len]);
            lanes
        };
        let mut max = [f32::NEG_INFINITY; LANES];
        for gate in gates {
            let gate = lanes(gate);
            for l in 0..LANES {
                max[l] = if gate[l] > max[l] { gate[l] } else { max[l] };
            }
        }
        let (mut sums, mut sum) = ([0.0; LANES], [0.0; LANES]);
        for (value, gate) in values.iter().zip(gates) {
            let (value, gate) = (lanes(value), lanes(gate));
            for l in 0..LANES {
                let weight = exp::<FUSED>(gate[l] - max[l]);
                sum[l] += weight;
                sums[l] = fma::<FUSED>(weight, value[l], sums[l]);
            }
        }
        for l in 0..len {
            out[l] = sums[l] / sum[l];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::pool::Pool;
    use proptest::prelude::*;
    use shoal_testkit::seeded;
    use std::sync::Arc;

    proptest! {
        #[test]
        fn every_variant_is_close_to_f64(slots in 1..20usize, width in 1..70usize, seed in any::<u64>()) {
            let row_width = 4 * width;
            let data = seeded::normal_f32(seed, slots * row_width);
            let rows = BlockRows { data: &data, block_len: 4, width: row_width };
            // Every other slot takes the second halves.
            let slot = |j: usize| {
                let row = ListedRow { source: (j % 2) as u32, place: (slots - 1 - j) as u32 };
                PoolSlot { row, column: j % 2 * width }
            };
            let list: Vec<PoolSlot> = (0..slots).map(slot).collect();
            for isa in Isa::available() {
                let got = Cpu::new(isa, Arc::new(Pool::new(1))).softmax_pool(&[rows, rows], &list, 2 * width, width);
                for c in 0..width {
                    let at = |slot: &PoolSlot, first: usize| f64::from(rows.at(slot.row.place)[first + slot.column + c]);
                    let weights: Vec<f64> = list.iter().map(|slot| at(slot, 2 * width).exp()).collect();
                    let sum: f64 = list.iter().zip(&weights).map(|(slot, w)| w * at(slot, 0)).sum();
                    let want = sum / weights.iter().sum::<f64>();
                    prop_assert!((f64::from(got.row(0)[c]) - want).abs() < 1e-5, "{isa}");
                }
            }
        }
    }
}
