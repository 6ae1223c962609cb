//! Q2_K: 256 weights of 2 bits; sixteen sub-blocks of 16 with 4-bit scale and min.
//!
//! Layout   scales 16 bytes (scale in the low nibble, min in the high one) · qs 64 bytes · d f16 · dmin f16
//! Order    weight 128n + 32s + l (n < 2, s < 4, l < 32) is bits 2s..2s+2 of byte 32n + l of qs
//! Value    d * scale * q - dmin * min

use crate::bits::f16_at;

/// Weights of a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 84;
/// Sub-blocks of a block.
pub const SUBS: usize = 16;
/// Offset of the codes.
pub const QS: usize = 16;
/// Offset of d; dmin follows.
pub const D: usize = 80;

/// Unpacks a block: codes in `0..4`, scales `d * scale`, mins `dmin * min`.
#[inline(always)]
pub fn unpack_block(
    block: &[u8; BYTES],
    codes: &mut [i8; LEN],
    scales: &mut [f32; SUBS],
    mins: &mut [f32; SUBS],
) {
    let (d, dmin) = (f16_at(block, D), f16_at(block, D + 2));
    for k in 0..SUBS {
        scales[k] = d * f32::from(block[k] & 15);
        mins[k] = dmin * f32::from(block[k] >> 4);
    }
    for n in 0..2 {
        for s in 0..4 {
            for l in 0..32 {
                codes[128 * n + 32 * s + l] = ((block[QS + 32 * n + l] >> (2 * s)) & 3) as i8;
            }
        }
    }
}
