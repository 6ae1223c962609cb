//! MXFP4: 32 weights of 4-bit floating point (e2m1) under a power-of-two scale (e8m0).
//!
//! Layout   e one byte · qs 16 bytes as in [`crate::q4_0`]
//! Value    2^(e - 127) * {0, .5, 1, 1.5, 2, 3, 4, 6}[q & 7], negative if bit 3 of q is set. Codes are the doubled
//!          values, so that they are integers, and the unpacked scale is the half of that power, `2^(e - 128)`.
//! Source   OCP Microscaling Formats v1.0. There e = 255 means NaN; GGUF readers take it as the next power, 2^127
//!          after halving, and so does this one.

use crate::bits::{nibbles_32, part};

/// Weights of a block.
pub const LEN: usize = 32;
/// Bytes of a block.
pub const BYTES: usize = 17;
/// Scales of a block.
pub const SUBS: usize = 1;
/// Offset of the nibbles.
pub const QS: usize = 1;
/// Twice what each nibble stands for.
pub const VALUES_DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// `2^(exponent - 128)`, exact; 0 and 1 give subnormal numbers.
#[inline(always)]
#[must_use]
pub const fn half_scale(exponent: u8) -> f32 {
    let bits = match exponent {
        0 => 1 << 21,
        1 => 1 << 22,
        _ => (exponent as u32 - 1) << 23,
    };
    f32::from_bits(bits)
}

/// Unpacks a block: codes from [`VALUES_DOUBLED`], one scale.
#[inline(always)]
pub fn unpack_block(block: &[u8; BYTES], codes: &mut [i8; LEN], scales: &mut [f32; SUBS]) {
    let q = nibbles_32(part(block, QS));
    for l in 0..LEN {
        codes[l] = VALUES_DOUBLED[usize::from(q[l] & 15)];
    }
    scales[0] = half_scale(block[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_half_a_power_of_two() {
        for exponent in 0..=255u8 {
            assert_eq!(f64::from(half_scale(exponent)), 2f64.powi(i32::from(exponent) - 128), "{exponent}");
        }
    }
}
