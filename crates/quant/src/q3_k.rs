//! Q3_K: 256 weights of 3 bits; sixteen sub-blocks of 16 with a signed 6-bit scale.
//!
//! Layout   hmask 32 bytes · qs 64 bytes · scales 12 bytes · d f16
//! Order    low two bits as in [`crate::q2_k`]; the third bit of weight 128n + 32s + l is bit 4n + s of byte l
//!          of hmask, and it counts when *clear*: a clear bit subtracts 4
//! Scales   scale k: low nibble from byte k mod 8 (its low half for k < 8, its high half above), upper two bits from
//!          byte 8 + k mod 4 at bit 2 (k div 4); stored with 32 added
//! Value    d * (scale - 32) * q

use crate::bits::f16_at;

/// Weights of a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 110;
/// Sub-blocks of a block.
pub const SUBS: usize = 16;
/// Offset of the low bits.
pub const QS: usize = 32;
/// Offset of the packed scales.
pub const SCALES: usize = 96;
/// Offset of d.
pub const D: usize = 108;

/// The sixteen scales as signed integers in `-32..32`.
#[inline(always)]
pub fn unpack_scales(block: &[u8; BYTES]) -> [i8; SUBS] {
    let mut scales = [0; SUBS];
    for k in 0..SUBS {
        let low = (block[SCALES + k % 8] >> (4 * (k / 8))) & 15;
        let high = (block[SCALES + 8 + k % 4] >> (2 * (k / 4))) & 3;
        scales[k] = (low | (high << 4)) as i8 - 32;
    }
    scales
}

/// Unpacks a block: codes in `-4..4`, scales `d * (scale - 32)`.
#[inline(always)]
pub fn unpack_block(block: &[u8; BYTES], codes: &mut [i8; LEN], scales: &mut [f32; SUBS]) {
    let d = f16_at(block, D);
    for (out, scale) in scales.iter_mut().zip(unpack_scales(block)) {
        *out = d * f32::from(scale);
    }
    for n in 0..2 {
        for s in 0..4 {
            for l in 0..32 {
                let low = (block[QS + 32 * n + l] >> (2 * s)) & 3;
                let high = (block[l] >> (4 * n + s)) & 1;
                codes[128 * n + 32 * s + l] = (low | (high << 2)) as i8 - 4;
            }
        }
    }
}
