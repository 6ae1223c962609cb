//! Q4_K: 256 weights of 4 bits; eight sub-blocks of 32 with 6-bit scale and min.
//!
//! Layout   d f16 · dmin f16 · scales 12 bytes (packing: `bits::scales_mins_6bit`) · qs 128 bytes
//! Order    sub-blocks 2p and 2p + 1 are the low and the high nibbles of bytes 32p..32p + 32 of qs
//! Value    d * scale * q - dmin * min

use crate::bits::{f16_at, part, scales_mins_6bit};

/// Weights of a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 144;
/// Sub-blocks of a block.
pub const SUBS: usize = 8;
/// Offset of the packed scales and mins.
pub const SCALES: usize = 4;
/// Offset of the nibbles.
pub const QS: usize = 16;

/// The eight scales and eight mins as integers in `0..64`.
#[inline(always)]
pub fn unpack_scales_mins(packed: &[u8; 12]) -> ([u8; SUBS], [u8; SUBS]) {
    scales_mins_6bit(packed)
}

/// Unpacks a block: codes in `0..16`, scales `d * scale`, mins `dmin * min`.
#[inline(always)]
pub fn unpack_block(
    block: &[u8; BYTES],
    codes: &mut [i8; LEN],
    scales: &mut [f32; SUBS],
    mins: &mut [f32; SUBS],
) {
    let (d, dmin) = (f16_at(block, 0), f16_at(block, 2));
    let (scales_int, mins_int) = unpack_scales_mins(part(block, SCALES));
    for j in 0..SUBS {
        scales[j] = d * f32::from(scales_int[j]);
        mins[j] = dmin * f32::from(mins_int[j]);
    }
    for p in 0..4 {
        for l in 0..32 {
            let byte = block[QS + 32 * p + l];
            codes[64 * p + l] = (byte & 15) as i8;
            codes[64 * p + 32 + l] = (byte >> 4) as i8;
        }
    }
}
