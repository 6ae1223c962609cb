//! NVFP4: 64 weights of 4-bit floating point (e2m1) in four sub-blocks of 16, each under an 8-bit one (e4m3, unsigned).
//!
//! Layout   scales 4 bytes · qs 32 bytes
//! Order    sub-block k is bytes 8k..8k + 8 of qs: weight l in the low nibble of byte l, l + 8 in the high one
//! Scales   e4m3 with bias 7 and subnormal numbers; bit 7 is not looked at, except that only 0x7F, not 0xFF, means
//!          NaN, which GGUF readers take as 0, and so does this one
//! Value    scale * {0, .5, 1, 1.5, 2, 3, 4, 6}[q & 7], negative if bit 3 of q is set. Codes are the doubled values, as
//!          in [`crate::mxfp4`], and the unpacked scale is half of the stored one. A file holds one more factor for
//!          the whole tensor, in a tensor of its own: it is not part of the block.

use crate::bits::f16_to_f32;
use crate::mxfp4::VALUES_DOUBLED;

/// Weights of a block.
pub const LEN: usize = 64;
/// Bytes of a block.
pub const BYTES: usize = 36;
/// Sub-blocks of a block.
pub const SUBS: usize = 4;
/// Offset of the nibbles.
pub const QS: usize = 4;

/// Half of the number that a scale stands for, exact.
#[inline(always)]
#[must_use]
pub fn half_scale(scale: u8) -> f32 {
    if scale == 0x7F {
        return 0.0;
    }
    // Exponent and mantissa where an f16 has them are the same number, subnormal or not, but for the bias: 7 and not
    // 15, so 2^8 times as much, and half of that.
    f16_to_f32(u16::from(scale & 0x7F) << 7) * 128.0
}

/// Unpacks a block: codes from [`VALUES_DOUBLED`], one scale for 16 weights.
#[inline(always)]
pub fn unpack_block(block: &[u8; BYTES], codes: &mut [i8; LEN], scales: &mut [f32; SUBS]) {
    for k in 0..SUBS {
        scales[k] = half_scale(block[k]);
        for l in 0..8 {
            let byte = block[QS + 8 * k + l];
            codes[16 * k + l] = VALUES_DOUBLED[usize::from(byte & 15)];
            codes[16 * k + 8 + l] = VALUES_DOUBLED[usize::from(byte >> 4)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_half_of_an_e4m3() {
        for scale in 0..=255u8 {
            let (exponent, mantissa) = (i32::from(scale >> 3 & 15), f64::from(scale & 7));
            let whole = match (scale, exponent) {
                (0x7F, _) => 0.0,
                (_, 0) => mantissa * 2f64.powi(-9),
                _ => (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
            };
            assert_eq!(f64::from(half_scale(scale)), whole / 2.0, "{scale:#x}");
        }
    }
}
