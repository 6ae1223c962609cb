//! Q4_1: 32 weights of 4 bits under a scale and an offset.
//!
//! Layout   d f16 · m f16 · qs 16 bytes as in [`crate::q4_0`]
//! Value    d * q + m; the unpacked min is -m

use crate::bits::{f16_at, nibbles_32, part};

/// Weights of a block.
pub const LEN: usize = 32;
/// Bytes of a block.
pub const BYTES: usize = 20;
/// Scales of a block.
pub const SUBS: usize = 1;
/// Offset of the nibbles.
pub const QS: usize = 4;

/// Unpacks a block: codes in `0..16`, one scale, one min.
#[inline(always)]
pub fn unpack_block(
    block: &[u8; BYTES],
    codes: &mut [i8; LEN],
    scales: &mut [f32; SUBS],
    mins: &mut [f32; SUBS],
) {
    let q = nibbles_32(part(block, QS));
    for l in 0..LEN {
        codes[l] = q[l] as i8;
    }
    scales[0] = f16_at(block, 0);
    mins[0] = -f16_at(block, 2);
}
