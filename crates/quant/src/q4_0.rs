//! Q4_0: 32 weights of 4 bits under one scale.
//!
//! Layout   d f16 · qs 16 bytes: weight l in the low nibble of byte l, weight l + 16 in the high one
//! Value    d * (q - 8)

use crate::bits::{f16_at, nibbles_32, part};

/// Weights of a block.
pub const LEN: usize = 32;
/// Bytes of a block.
pub const BYTES: usize = 18;
/// Scales of a block.
pub const SUBS: usize = 1;
/// Offset of the nibbles.
pub const QS: usize = 2;

/// Unpacks a block: codes in `-8..8`, one scale.
#[inline(always)]
pub fn unpack_block(block: &[u8; BYTES], codes: &mut [i8; LEN], scales: &mut [f32; SUBS]) {
    let q = nibbles_32(part(block, QS));
    for l in 0..LEN {
        codes[l] = q[l] as i8 - 8;
    }
    scales[0] = f16_at(block, 0);
}
