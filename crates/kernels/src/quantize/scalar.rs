//! The reference: one element after the other.

use super::{BLOCK, Fine, ROUND, RowMut, is_fine, scale_and_inverse};

pub(super) fn quantize_row(x: &[f32], row: &mut RowMut<'_>) {
    for (b, x) in x.chunks(BLOCK).enumerate() {
        let mut padded = [0f32; BLOCK];
        padded[..x.len()].copy_from_slice(x);
        quantize_block(&padded, b, row);
    }
}

/// Codes and sums of one block.
fn quantize_block(x: &[f32; BLOCK], b: usize, row: &mut RowMut<'_>) {
    let (largest, mean_square) = magnitudes(x);
    let [scale, inverse] = scale_and_inverse(largest);
    let exact = x.map(|x| larger(-127.0, -larger(-127.0, -(x * inverse))));
    let rounded = exact.map(round);
    let code_sums = to_codes(&rounded, &mut row.blocks[b].codes);
    let mut fine_sums = [0; 2];
    if is_fine(largest, mean_square) {
        let mut rest = [0f32; BLOCK];
        for i in 0..BLOCK {
            rest[i] = round((exact[i] - rounded[i]) * 128.0);
        }
        let mut codes = [0; BLOCK];
        fine_sums = to_codes(&rest, &mut codes);
        row.fine.push(Fine { block: b, scale: scale / 128.0, sums: fine_sums, codes });
    }
    row.blocks[b].finish(scale, code_sums, fine_sums);
}

fn round(x: f32) -> f32 {
    (x + ROUND) - ROUND
}

/// The largest magnitude and the mean of the squares, in sixteen lanes and then a tree: the order of every variant.
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

/// The larger of two numbers; the second if either is NaN, as the instruction has it.
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Whole numbers as bytes; yields the sums of each half.
fn to_codes(rounded: &[f32; BLOCK], codes: &mut [i8; BLOCK]) -> [i32; 2] {
    let ints = rounded.map(|x| (x + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32);
    *codes = ints.map(|int| int as i8);
    let sum = |ints: &[i32]| ints.iter().fold(0i32, |sum, int| sum.wrapping_add(*int));
    [sum(&ints[..16]), sum(&ints[16..])]
}
