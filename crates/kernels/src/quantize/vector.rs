//! The same in registers: a block is two of them, or four of one half.

use super::{BLOCK, Fine, ROUND, RowMut, is_fine, scale_and_inverse};
use crate::lanes::Vector;

/// A block; what lies past its registers is not looked at.
type Registers<V> = [<V as Vector>::Floats; 4];

#[inline(always)]
pub(super) fn quantize_row<V: Vector>(v: V, x: &[f32], row: &mut RowMut<'_>) {
    let (blocks, rest) = x.as_chunks::<BLOCK>();
    for (b, x) in blocks.iter().enumerate() {
        quantize_block(v, x, b, row);
    }
    if !rest.is_empty() {
        let mut padded = [0f32; BLOCK];
        padded[..rest.len()].copy_from_slice(rest);
        quantize_block(v, &padded, blocks.len(), row);
    }
}

#[inline(always)]
fn quantize_block<V: Vector>(v: V, x: &[f32; BLOCK], b: usize, row: &mut RowMut<'_>) {
    let mut registers = [v.splat_f(0.0); 4];
    for i in 0..BLOCK / V::ROWS {
        registers[i] = v.load_floats(&x[i * V::ROWS..]);
    }
    let (largest, mean_square) = magnitudes(v, &registers);
    let [scale, inverse] = scale_and_inverse(largest);
    let (mut exact, mut rounded) = (registers, registers);
    let (least, minus) = (v.splat_f(-127.0), v.splat_f(-1.0));
    for i in 0..BLOCK / V::ROWS {
        // -(x * inverse), then its negative, each kept from falling below -127.
        let negative = v.max_f(least, v.mul(registers[i], v.splat_f(-inverse)));
        exact[i] = v.max_f(least, v.mul(negative, minus));
        rounded[i] = round(v, exact[i]);
    }
    let code_sums = to_codes(v, &rounded, &mut row.blocks[b].codes);
    let mut fine_sums = [0; 2];
    if is_fine(largest, mean_square) {
        let mut rest = exact;
        for i in 0..BLOCK / V::ROWS {
            // Exact: both are below 128 and near each other.
            let left = v.fnma(rounded[i], v.splat_f(1.0), exact[i]);
            rest[i] = round(v, v.mul(left, v.splat_f(128.0)));
        }
        let mut codes = [0; BLOCK];
        fine_sums = to_codes(v, &rest, &mut codes);
        row.fine.push(Fine { block: b, scale: scale / 128.0, sums: fine_sums, codes });
    }
    row.blocks[b].finish(scale, code_sums, fine_sums);
}

#[inline(always)]
fn round<V: Vector>(v: V, x: V::Floats) -> V::Floats {
    v.add_f(v.add_f(x, v.splat_f(ROUND)), v.splat_f(-ROUND))
}

/// The largest magnitude and the mean of the squares.
#[inline(always)]
fn magnitudes<V: Vector>(v: V, x: &Registers<V>) -> (f32, f32) {
    // Lane l of sixteen takes elements l and l + 16.
    let in_half = 16 / V::ROWS;
    let (mut largest, mut squares) = ([v.splat_f(0.0); 2], [v.splat_f(0.0); 2]);
    for i in 0..in_half {
        let (a, b) = (x[i], x[in_half + i]);
        largest[i] = v.max_f(v.abs_f(a), v.abs_f(b));
        squares[i] = v.add_f(v.mul(a, a), v.mul(b, b));
    }
    (v.max_16(largest), v.sum_16(squares) / BLOCK as f32)
}

/// Whole numbers as bytes; yields the sums of each half.
#[inline(always)]
fn to_codes<V: Vector>(v: V, rounded: &Registers<V>, codes: &mut [i8; BLOCK]) -> [i32; 2] {
    let mut sums = [v.zero(); 2];
    for i in 0..BLOCK / V::ROWS {
        let bits = v.as_ints(v.add_f(rounded[i], v.splat_f(ROUND)));
        let ints = v.sub_32(bits, v.splat_32(ROUND.to_bits() as i32));
        v.store_low_bytes(&mut codes[i * V::ROWS..][..V::ROWS], ints);
        let half = i * V::ROWS / 16;
        sums[half] = v.add_32(sums[half], ints);
    }
    [v.sum_32(sums[0]), v.sum_32(sums[1])]
}
