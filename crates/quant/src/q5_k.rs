//! Q5_K: 256 weights of 5 bits; eight sub-blocks of 32 with 6-bit scale and min.
//!
//! Layout   d f16 · dmin f16 · scales 12 bytes · qh 32 bytes · qs 128 bytes; scales and qs as in [`crate::q4_k`]
//! Order    the fifth bit of weight l of sub-block j is bit j of byte l of qh
//! Value    d * scale * q - dmin * min

use crate::bits::{f16_at, part, scales_mins_6bit};

/// Weights of a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 176;
/// Sub-blocks of a block.
pub const SUBS: usize = 8;
/// Offset of the packed scales and mins.
pub const SCALES: usize = 4;
/// Offset of the fifth bits.
pub const QH: usize = 16;
/// Offset of the nibbles.
pub const QS: usize = 48;

/// Unpacks a block: codes in `0..32`, scales `d * scale`, mins `dmin * min`.
#[inline(always)]
pub fn unpack_block(
    block: &[u8; BYTES],
    codes: &mut [i8; LEN],
    scales: &mut [f32; SUBS],
    mins: &mut [f32; SUBS],
) {
    let (d, dmin) = (f16_at(block, 0), f16_at(block, 2));
    let (scales_int, mins_int) = scales_mins_6bit(part(block, SCALES));
    for j in 0..SUBS {
        scales[j] = d * f32::from(scales_int[j]);
        mins[j] = dmin * f32::from(mins_int[j]);
    }
    for p in 0..4 {
        for l in 0..32 {
            let (byte, high) = (block[QS + 32 * p + l], block[QH + l] >> (2 * p));
            codes[64 * p + l] = ((byte & 15) | ((high & 1) << 4)) as i8;
            codes[64 * p + 32 + l] = ((byte >> 4) | ((high & 2) << 3)) as i8;
        }
    }
}
