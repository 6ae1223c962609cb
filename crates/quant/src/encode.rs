//! Encoding of the formats that the project writes itself: test models, caches, activations. Formats that need a
//! search for good scales (K- and IQ-quants) are only read.
//!
//! Numerics  scales are found in f32 and stored as f16, codes are computed with the unrounded scale: what the `gguf`
//!           Python package does, bit for bit on finite input. A scale beyond f16 becomes infinite. A NaN among the
//!           values gives some code, never a panic.

use half::f16;

use crate::{Dtype, floats, q4_0, q4_1, q5_0, q5_1, q8_0};

/// The dtype can be read but not written by this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoEncoder(
    /// The dtype that was asked for.
    pub Dtype,
);

impl std::fmt::Display for NoEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot encode {}: expected one of F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0", self.0)
    }
}

impl std::error::Error for NoEncoder {}

/// Encodes a row of weights.
///
/// # Errors
/// If the dtype has no encoder here.
///
/// # Panics
/// If `out` is not as long as `values` need ([`Dtype::row_bytes`]).
pub fn encode_row(dtype: Dtype, values: &[f32], out: &mut [u8]) -> Result<(), NoEncoder> {
    assert_eq!(Some(out.len()), dtype.row_bytes(values.len()), "{dtype}: {} values", values.len());
    match dtype {
        Dtype::F32 => floats::encode_f32(values, out),
        Dtype::F16 => floats::encode_f16(values, out),
        Dtype::BF16 => floats::encode_bf16(values, out),
        Dtype::Q4_0 => each_block(values, out, encode_q4_0),
        Dtype::Q4_1 => each_block(values, out, encode_q4_1),
        Dtype::Q5_0 => each_block(values, out, encode_q5_0),
        Dtype::Q5_1 => each_block(values, out, encode_q5_1),
        Dtype::Q8_0 => each_block(values, out, encode_q8_0),
        _ => return Err(NoEncoder(dtype)),
    }
    Ok(())
}

fn each_block<const L: usize, const B: usize>(
    values: &[f32],
    out: &mut [u8],
    encode: impl Fn(&[f32; L], &mut [u8; B]),
) {
    for (values, block) in values.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        encode(values, block);
    }
}

/// The value with the largest magnitude, the first of equals, with its sign.
fn extreme(values: &[f32; 32]) -> f32 {
    values.iter().fold(0.0, |best: f32, &value| if value.abs() > best.abs() { value } else { best })
}

/// `1 / d`, or 0 where there is nothing to scale.
fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// Smallest value, scale and codes of a format with `max_code + 1` evenly spaced values.
fn affine_codes(values: &[f32; 32], max_code: u8) -> (f32, f32, [u8; 32]) {
    let min = values.iter().copied().fold(f32::INFINITY, f32::min);
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let d = (max - min) / f32::from(max_code);
    let inverse = inverse(d);
    (d, min, values.map(|value| (((value - min) * inverse + 0.5) as u8).min(max_code)))
}

/// Scale and codes of a format with offset `half`: the extreme value gets the code 0, exactly representable.
fn symmetric_codes(values: &[f32; 32], half: u8) -> (f32, [u8; 32]) {
    let d = extreme(values) / -f32::from(half);
    let inverse = inverse(d);
    let codes = values.map(|value| ((value * inverse + (f32::from(half) + 0.5)) as u8).min(2 * half - 1));
    (d, codes)
}

fn put_f16(block: &mut [u8], at: usize, value: f32) {
    block[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

fn put_nibbles(block: &mut [u8], at: usize, codes: &[u8; 32]) {
    for l in 0..16 {
        block[at + l] = (codes[l] & 15) | ((codes[l + 16] & 15) << 4);
    }
}

fn put_fifth_bits(block: &mut [u8], at: usize, codes: &[u8; 32]) {
    let bits = (0..32).fold(0u32, |bits, l| bits | (u32::from(codes[l] >> 4) << l));
    block[at..at + 4].copy_from_slice(&bits.to_le_bytes());
}

fn encode_q4_0(values: &[f32; q4_0::LEN], block: &mut [u8; q4_0::BYTES]) {
    let (d, codes) = symmetric_codes(values, 8);
    put_f16(block, 0, d);
    put_nibbles(block, q4_0::QS, &codes);
}

fn encode_q4_1(values: &[f32; q4_1::LEN], block: &mut [u8; q4_1::BYTES]) {
    let (d, min, codes) = affine_codes(values, 15);
    put_f16(block, 0, d);
    put_f16(block, 2, min);
    put_nibbles(block, q4_1::QS, &codes);
}

fn encode_q5_0(values: &[f32; q5_0::LEN], block: &mut [u8; q5_0::BYTES]) {
    let (d, codes) = symmetric_codes(values, 16);
    put_f16(block, 0, d);
    put_fifth_bits(block, q5_0::QH, &codes);
    put_nibbles(block, q5_0::QS, &codes);
}

fn encode_q5_1(values: &[f32; q5_1::LEN], block: &mut [u8; q5_1::BYTES]) {
    let (d, min, codes) = affine_codes(values, 31);
    put_f16(block, 0, d);
    put_f16(block, 2, min);
    put_fifth_bits(block, q5_1::QH, &codes);
    put_nibbles(block, q5_1::QS, &codes);
}

fn encode_q8_0(values: &[f32; q8_0::LEN], block: &mut [u8; q8_0::BYTES]) {
    let d = extreme(values).abs() / 127.0;
    let inverse = inverse(d);
    put_f16(block, 0, d);
    for (value, byte) in values.iter().zip(&mut block[q8_0::QS..]) {
        // Ties round away from zero.
        *byte = (value * inverse).round() as i8 as u8;
    }
}
