//! Q8_0: 32 weights of 8 bits under one scale. Also the form in which activations meet 32-weight formats.
//!
//! Layout   d f16 · qs 32 signed bytes
//! Value    d * q

use crate::bits::{f16_at, part};

/// Weights of a block.
pub const LEN: usize = 32;
/// Bytes of a block.
pub const BYTES: usize = 34;
/// Scales of a block.
pub const SUBS: usize = 1;
/// Offset of the codes.
pub const QS: usize = 2;

/// Unpacks a block: codes are the bytes themselves (-128 can occur in a foreign file), one scale.
#[inline(always)]
pub fn unpack_block(block: &[u8; BYTES], codes: &mut [i8; LEN], scales: &mut [f32; SUBS]) {
    let q: &[u8; LEN] = part(block, QS);
    for l in 0..LEN {
        codes[l] = q[l] as i8;
    }
    scales[0] = f16_at(block, 0);
}
