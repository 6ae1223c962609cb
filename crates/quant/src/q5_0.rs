//! Q5_0: 32 weights of 5 bits under one scale.
//!
//! Layout   d f16 · qh u32: fifth bit of weight l in bit l · qs 16 bytes as in [`crate::q4_0`]
//! Value    d * (q - 16)

use crate::bits::{f16_at, nibbles_32, part, with_fifth_bits};

/// Weights of a block.
pub const LEN: usize = 32;
/// Bytes of a block.
pub const BYTES: usize = 22;
/// Scales of a block.
pub const SUBS: usize = 1;
/// Offset of the fifth bits.
pub const QH: usize = 2;
/// Offset of the nibbles.
pub const QS: usize = 6;

/// Unpacks a block: codes in `-16..16`, one scale.
#[inline(always)]
pub fn unpack_block(block: &[u8; BYTES], codes: &mut [i8; LEN], scales: &mut [f32; SUBS]) {
    let q = with_fifth_bits(nibbles_32(part(block, QS)), part(block, QH));
    for l in 0..LEN {
        codes[l] = q[l] as i8 - 16;
    }
    scales[0] = f16_at(block, 0);
}
