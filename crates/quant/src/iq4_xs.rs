//! IQ4_XS: 256 weights of 4 bits through the table of IQ4_NL; eight sub-blocks of 32 with a signed 6-bit scale.
//!
//! Layout   d f16 · scales_h u16 · scales_l 4 bytes · qs 128 bytes
//! Order    sub-block k is bytes 16k..16k + 16 of qs: weight l in the low nibble of byte l, l + 16 in the high one
//! Scales   scale k: low nibble from half k mod 2 of scales_l[k div 2], upper two bits from bits 2k..2k+2 of
//!          scales_h; stored with 32 added
//! Value    `d * (scale - 32) * VALUES[q]`

use crate::bits::{f16_at, nibbles_32, part};
use crate::iq4_nl::VALUES;

/// Weights of a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 136;
/// Sub-blocks of a block.
pub const SUBS: usize = 8;
/// Offset of the upper bits of the scales.
pub const SCALES_H: usize = 2;
/// Offset of the low nibbles of the scales.
pub const SCALES_L: usize = 4;
/// Offset of the nibbles.
pub const QS: usize = 8;

/// The eight scales as signed integers in `-32..32`.
#[inline(always)]
pub fn unpack_scales(block: &[u8; BYTES]) -> [i8; SUBS] {
    let high_bits = u16::from_le_bytes(*part(block, SCALES_H));
    let mut scales = [0; SUBS];
    for k in 0..SUBS {
        let low = (block[SCALES_L + k / 2] >> (4 * (k % 2))) & 15;
        let high = ((high_bits >> (2 * k)) & 3) as u8;
        scales[k] = (low | (high << 4)) as i8 - 32;
    }
    scales
}

/// Unpacks a block: codes from [`VALUES`], scales `d * (scale - 32)`.
#[inline(always)]
pub fn unpack_block(block: &[u8; BYTES], codes: &mut [i8; LEN], scales: &mut [f32; SUBS]) {
    let d = f16_at(block, 0);
    for (out, scale) in scales.iter_mut().zip(unpack_scales(block)) {
        *out = d * f32::from(scale);
    }
    for k in 0..SUBS {
        let q = nibbles_32(part(block, QS + 16 * k));
        for l in 0..32 {
            codes[32 * k + l] = VALUES[usize::from(q[l] & 15)];
        }
    }
}
