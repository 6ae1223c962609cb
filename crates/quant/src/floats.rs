//! F32, F16 and BF16: rows of plain numbers, little endian.

use half::{bf16, f16};

use crate::bits::f16_to_f32;

/// Decodes a row of F32.
#[inline(always)]
pub(crate) fn decode_f32(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        *out = f32::from_le_bytes(*bytes);
    }
}

/// Decodes a row of F16; exact.
#[inline(always)]
pub(crate) fn decode_f16(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        *out = f16_to_f32(u16::from_le_bytes(*bytes));
    }
}

/// Decodes a row of BF16; exact.
#[inline(always)]
pub(crate) fn decode_bf16(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        *out = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
    }
}

/// Encodes a row of F32.
pub(crate) fn encode_f32(values: &[f32], out: &mut [u8]) {
    for (value, out) in values.iter().zip(out.as_chunks_mut().0) {
        *out = value.to_le_bytes();
    }
}

/// Encodes a row of F16; rounds to nearest, ties to even.
pub(crate) fn encode_f16(values: &[f32], out: &mut [u8]) {
    for (value, out) in values.iter().zip(out.as_chunks_mut().0) {
        *out = f16::from_f32(*value).to_le_bytes();
    }
}

/// Encodes a row of BF16; rounds to nearest, ties to even.
pub(crate) fn encode_bf16(values: &[f32], out: &mut [u8]) {
    for (value, out) in values.iter().zip(out.as_chunks_mut().0) {
        *out = bf16::from_f32(*value).to_le_bytes();
    }
}
