//! One property for all formats, variants and numbers of tokens: the bits of the reference, on any bytes at all.

use proptest::prelude::*;
use shoal_base::Blob;
use shoal_quant::Dtype;
use shoal_testkit::seeded;

use super::*;
use crate::act::Act;
use crate::pool::{Pool, Striped};
use crate::quantize::QuantAct;

/// The products of all rows, as bits. Any NaN is as good as another: instructions set its quiet bit.
fn products(isa: Isa, w: &Matrix, x: &[QuantRow<'_>], item_rows: usize) -> Vec<u32> {
    let mut out = vec![f32::NAN; x.len() * w.rows()];
    let mut stripes = [Striped::new(&mut out, w.rows(), item_rows)];
    Pool::new(1).for_each_stripe_of(&mut stripes, |_, first, out| {
        multiply(isa, w, first..first + out.width(), x, out);
    });
    out.into_iter().map(|y| if y.is_nan() { u32::MAX } else { y.to_bits() }).collect()
}

/// Activations with a few outliers, so that some blocks are fine.
fn activations(seed: u64, tokens: usize, cols: usize) -> Act {
    let mut x = seeded::normal_f32(seed, tokens * cols);
    for i in (5..x.len()).step_by(77) {
        x[i] *= 40.0;
    }
    Act::from_vec(tokens, cols, x)
}

fn check(dtype: Dtype, rows: usize, blocks: usize, tokens: usize, seed: u64) {
    let cols = blocks * dtype.block_len();
    let row_bytes = dtype.row_bytes(cols).expect("whole blocks");
    let w = Matrix::new(dtype, rows, cols, Blob::copy_of(&seeded::random_bytes(seed, rows * row_bytes)));
    let x = activations(seed ^ 3, tokens, cols);
    let quant = QuantAct::new(Isa::Scalar, &Pool::new(1), &x);
    let x: Vec<_> = (0..tokens).map(|t| quant.row(t)).collect();
    let want = products(Isa::Scalar, &w, &x, ITEM_ROWS);
    for isa in Isa::available() {
        assert_eq!(products(isa, &w, &x, ITEM_ROWS), want, "{isa} {dtype}: all tokens together");
        for (t, x) in x.iter().enumerate() {
            let alone = products(isa, &w, &[*x], 16);
            assert_eq!(alone, want[t * rows..][..rows], "{isa} {dtype}: token {t} alone");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_variant_has_the_bits_of_the_reference(
        rows in 1..70usize, blocks in 1..4usize, tokens in 1..15usize, seed in any::<u64>(),
    ) {
        for &dtype in Dtype::ALL.iter().filter(|dtype| dtype.is_quantized()) {
            check(dtype, rows, blocks, tokens, seed);
        }
    }
}

#[test]
fn the_largest_codes_do_not_overflow() {
    // All ones is the largest code of most formats, all zeros the smallest of those with an offset.
    for &dtype in Dtype::ALL.iter().filter(|dtype| dtype.is_quantized()) {
        for byte in [0x00, 0x80, 0xFF, 0x88, 0x7F] {
            let cols = dtype.block_len();
            let bytes = vec![byte; dtype.block_bytes() * 17];
            let w = Matrix::new(dtype, 17, cols, Blob::copy_of(&bytes));
            for sign in [1.0, -1.0] {
                let quant =
                    QuantAct::new(Isa::Scalar, &Pool::new(1), &Act::from_vec(1, cols, vec![sign; cols]));
                let x = [quant.row(0); 3];
                let want = products(Isa::Scalar, &w, &x, ITEM_ROWS);
                for isa in Isa::available() {
                    assert_eq!(products(isa, &w, &x, ITEM_ROWS), want, "{isa} {dtype} {byte:#x}");
                    assert_eq!(products(isa, &w, &x[..1], 16), want[..17], "{isa} {dtype} {byte:#x}");
                }
            }
        }
    }
}

#[test]
fn rows_in_chunks_and_whole_ones_have_the_same_bits() {
    for &dtype in Dtype::ALL.iter().filter(|dtype| dtype.is_quantized()) {
        // Two chunks and a part of a third for few tokens, whole rows for many.
        let blocks = 1280 / dtype.block_len();
        check(dtype, 33, blocks, 17, 1);
        check(dtype, 33, blocks, 50, 2);
    }
}
