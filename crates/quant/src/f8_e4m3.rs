//! F8_E4M3: 128 weights of 8-bit floating point (e4m3, without infinities) under one f32 scale.
//!
//! No file holds this layout. It is what [`crate::packed`] makes of the FP8 matrices of official checkpoints, whose scales
//! stand apart and count for 128 rows: here every row has its own beside its codes.
//!
//! Layout   d f32 · qs 128 bytes
//! Value    d * e4m3(q): sign, four bits of exponent (bias 7), three of mantissa; 0x7F and 0xFF are NaN
//! Source   Micikevicius et al. 2022 (arXiv 2209.05433), E4M3; blocks of 128 as in DeepSeek-V3 (arXiv 2412.19437), section 3.3

use crate::bits::{f16_to_f32, part};

/// Weights of a block.
pub const LEN: usize = 128;
/// Bytes of a block.
pub const BYTES: usize = 132;
/// Offset of the codes.
pub const QS: usize = 4;

/// The number with these bits; exact.
///
/// Moved to where an f16 has them, the bits are the same number with an exponent that is too small by 8, subnormal numbers
/// included. So there is no branch, and loops vectorise.
#[inline(always)]
#[must_use]
pub fn value(code: u8) -> f32 {
    let code = u16::from(code);
    let nan = if code & 0x7F == 0x7F { 0x7C00 } else { 0 };
    f16_to_f32((code & 0x80) << 8 | (code & 0x7F) << 7 | nan) * 256.0
}

/// Decodes whole blocks.
#[inline(always)]
pub(crate) fn decode(bytes: &[u8], out: &mut [f32]) {
    let outs = out.as_chunks_mut::<LEN>().0.iter_mut();
    for (block, out) in bytes.as_chunks::<BYTES>().0.iter().zip(outs) {
        let d = f32::from_le_bytes(*part(block, 0));
        for (code, out) in block[QS..].iter().zip(out) {
            *out = d * value(*code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_the_number_of_the_paper() {
        for code in 0..=255u8 {
            let (exponent, mantissa) = (i32::from(code >> 3 & 15), f64::from(code & 7));
            let magnitude = match exponent {
                15 if mantissa == 7.0 => f64::NAN,
                0 => mantissa * 2f64.powi(-9),
                _ => (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
            };
            let want = if code < 128 { magnitude } else { -magnitude };
            let got = f64::from(value(code));
            assert!(got == want || got.is_nan() && want.is_nan(), "{code:#x}: {got}, want {want}");
        }
        assert_eq!((value(0x7E), value(0xFE), value(0x80).to_bits()), (448.0, -448.0, 0x8000_0000));
    }
}
