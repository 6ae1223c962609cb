//! Q5_1: 32 weights of 5 bits under a scale and an offset.
//!
//! Layout   d f16 · m f16 · qh u32 · qs 16 bytes, bits as in [`crate::q5_0`]
//! Value    d * q + m; the unpacked min is -m

use crate::bits::{f16_at, nibbles_32, part, with_fifth_bits};

/// Weights of a block.
pub const LEN: usize = 32;
/// Bytes of a block.
pub const BYTES: usize = 24;
/// Scales of a block.
pub const SUBS: usize = 1;
/// Offset of the fifth bits.
pub const QH: usize = 4;
/// Offset of the nibbles.
pub const QS: usize = 8;

/// Unpacks a block: codes in `0..32`, one scale, one min.
#[inline(always)]
pub fn unpack_block(
    block: &[u8; BYTES],
    codes: &mut [i8; LEN],
    scales: &mut [f32; SUBS],
    mins: &mut [f32; SUBS],
) {
    let q = with_fifth_bits(nibbles_32(part(block, QS)), part(block, QH));
    for l in 0..LEN {
        codes[l] = q[l] as i8;
    }
    scales[0] = f16_at(block, 0);
    mins[0] = -f16_at(block, 2);
}
