//! Q6_K: 256 weights of 6 bits; sixteen sub-blocks of 16 with a signed 8-bit scale.
//!
//! Layout   ql 128 bytes · qh 64 bytes · scales 16 signed bytes · d f16
//! Order    weight 128n + 32g + l (n < 2, g < 4, l < 32): low nibble from byte 64n + 32 (g mod 2) + l of ql (low
//!          half for g < 2), upper two bits from bits 2g..2g+2 of byte 32n + l of qh
//! Value    d * scale * (q - 32)

use crate::bits::f16_at;

/// Weights of a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 210;
/// Sub-blocks of a block.
pub const SUBS: usize = 16;
/// Offset of the upper bits.
pub const QH: usize = 128;
/// Offset of the scales.
pub const SCALES: usize = 192;
/// Offset of d.
pub const D: usize = 208;

/// Unpacks a block: codes in `-32..32`, scales `d * scale`.
#[inline(always)]
pub fn unpack_block(block: &[u8; BYTES], codes: &mut [i8; LEN], scales: &mut [f32; SUBS]) {
    let d = f16_at(block, D);
    for k in 0..SUBS {
        scales[k] = d * f32::from(block[SCALES + k] as i8);
    }
    for n in 0..2 {
        for g in 0..4 {
            for l in 0..32 {
                let low = (block[64 * n + 32 * (g % 2) + l] >> (4 * (g / 2))) & 15;
                let high = (block[QH + 32 * n + l] >> (2 * g)) & 3;
                codes[128 * n + 32 * g + l] = (low | (high << 4)) as i8 - 32;
            }
        }
    }
}
