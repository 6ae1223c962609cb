//! IQ1_M: as IQ1_S with a scale for each 16 weights and a direction for each eight; about 1.75 bits a weight.
//!
//! Layout   qs 32 bytes · qh 16 bytes · scales 4 u16
//! Groups   group g has nibble g of qh: index of eleven bits, the low eight in qs[g], three more in bits 0..3 of the
//!          nibble; its bit 3 lowers the group by an eighth of the scale instead of raising it
//! Scales   sub-block k: bits 3 (k mod 4).. of scales[k div 4]: d * (1 + 2 bits). d, an f16, has no place of its own:
//!          bits 4n..4n + 4 of it are the upper four of scales[n].
//! Value    as in [`crate::iq1_s`]

use crate::bits::{f16_to_f32, part};
use crate::{grid, iq1_s};

/// Weights of a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 56;
/// Sub-blocks of a block.
pub const SUBS: usize = 16;
/// Offset of the upper bits of the indices and the directions.
pub const QH: usize = 32;
/// Offset of the scales.
pub const SCALES: usize = 48;

/// Unpacks a block: codes in `-9..=9`, one scale for 16 weights.
#[inline(always)]
pub fn unpack_block(block: &[u8; BYTES], codes: &mut [i8; LEN], scales: &mut [f32; SUBS]) {
    let packed = u64::from_le_bytes(*part(block, SCALES));
    let mut d_bits = 0;
    for n in 0..4 {
        d_bits |= (packed >> (16 * n + 12) & 15) << (4 * n);
    }
    let d = f16_to_f32(d_bits as u16);
    for k in 0..SUBS {
        let bits = (packed >> (16 * (k / 4) + 3 * (k % 4))) as u8 & 7;
        scales[k] = d * f32::from(1 + 2 * bits) * 0.125;
    }
    for g in 0..LEN / 8 {
        let nibble = grid::nibble(&block[QH..], g);
        let index = usize::from(block[g]) | usize::from(nibble & 7) << 8;
        iq1_s::put_shifted(&mut codes[8 * g..], index, nibble >= 8);
    }
}
