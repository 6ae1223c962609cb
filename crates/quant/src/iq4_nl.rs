//! IQ4_NL: 32 weights of 4 bits through a table whose values lie closer together near zero, as weights do.
//!
//! Layout   d f16 · qs 16 bytes as in [`crate::q4_0`]
//! Value    `d * VALUES[q]`

use crate::bits::{f16_at, nibbles_32, part};

/// Weights of a block.
pub const LEN: usize = 32;
/// Bytes of a block.
pub const BYTES: usize = 18;
/// Scales of a block.
pub const SUBS: usize = 1;
/// Offset of the nibbles.
pub const QS: usize = 2;
/// What each nibble stands for.
pub const VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Unpacks a block: codes from [`VALUES`], one scale.
#[inline(always)]
pub fn unpack_block(block: &[u8; BYTES], codes: &mut [i8; LEN], scales: &mut [f32; SUBS]) {
    let q = nibbles_32(part(block, QS));
    for l in 0..LEN {
        codes[l] = VALUES[usize::from(q[l] & 15)];
    }
    scales[0] = f16_at(block, 0);
}
