//! Weights: the first byte chooses a format, the rest is a row; decoding equals the unpacked form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_quant::{Dtype, decode_row, unpack_blocks};

fuzz_target!(|input: &[u8]| {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let dtype = Dtype::ALL[usize::from(choice) % Dtype::ALL.len()];
    if !dtype.is_weight() {
        return;
    }
    let blocks = bytes.len() / dtype.block_bytes();
    let (bytes, len) = (&bytes[..blocks * dtype.block_bytes()], blocks * dtype.block_len());
    let mut values = vec![0.0; len];
    decode_row(dtype, bytes, &mut values);
    if !dtype.is_quantized() {
        return;
    }
    let sub = dtype.sub_block_len();
    let (mut codes, mut scales, mut mins) = (vec![0; len], vec![0.0; len / sub], vec![0.0; len / sub]);
    unpack_blocks(dtype, bytes, &mut codes, &mut scales, &mut mins);
    for (idx, value) in values.iter().enumerate() {
        let expected = scales[idx / sub] * f32::from(codes[idx]) - mins[idx / sub];
        assert!(*value == expected || (value.is_nan() && expected.is_nan()), "{dtype}: value {idx}");
    }
});
