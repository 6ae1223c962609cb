//! The reference: the formula of the module, sub-block by sub-block.

use std::ops::Range;

use crate::matmul::Matrix;
use crate::pool::Stripe;
use crate::quantize::{BLOCK, QuantRow};

pub(super) fn multiply(w: &Matrix, rows: Range<usize>, x: &[QuantRow<'_>], out: &mut Stripe<'_, f32>) {
    let (dtype, cols) = (w.dtype(), w.cols());
    let sub = dtype.sub_block_len();
    let (mut codes, mut scales) = (vec![0i8; cols], vec![0f32; cols / sub]);
    let mut mins = vec![0f32; if dtype.has_mins() { cols / sub } else { 0 }];
    for (i, row) in rows.enumerate() {
        shoal_quant::unpack_blocks(dtype, w.row_bytes(row), &mut codes, &mut scales, &mut mins);
        for (t, x) in x.iter().enumerate() {
            out.row_mut(t)[i] = product(sub, &codes, &scales, &mins, x);
        }
    }
}

fn product(sub: usize, codes: &[i8], scales: &[f32], mins: &[f32], x: &QuantRow<'_>) -> f32 {
    let in_block = BLOCK / sub;
    let (mut sum, mut fine_sum) = (0f32, 0f32);
    for (j, w) in codes.chunks_exact(sub).enumerate() {
        let (block, half) = (j / in_block, j % in_block);
        let x = &x.blocks[block];
        let dot = dot(w, &x.codes[half * sub..][..sub]);
        sum = (dot as f32).mul_add(scales[j] * x.scale, sum);
        if !mins.is_empty() {
            let x_sum = if sub == BLOCK { x.sum } else { x.half_sums[half] };
            sum = (-mins[j]).mul_add(x_sum, sum);
        }
    }
    for fine in x.fine {
        for half in 0..in_block {
            let j = fine.block * in_block + half;
            let dot = dot(&codes[j * sub..][..sub], &fine.codes[half * sub..][..sub]);
            fine_sum = (dot as f32).mul_add(scales[j] * fine.scale, fine_sum);
        }
    }
    sum + fine_sum
}

fn dot(w: &[i8], x: &[i8]) -> i32 {
    w.iter().zip(x).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum()
}
