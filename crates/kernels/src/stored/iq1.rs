//! IQ1_S and IQ1_M: eight signs or zeros to a pattern, all raised or lowered by an eighth of the scale.
//!
//! Codes are eighths: 8 times the pattern plus or minus one. The table has them raised, so that lowering takes two off.

use shoal_quant::{iq1_m, iq1_s};

use super::patterns::{Eights, eights, eights_as_words, first_f16_times, part, scale_and_half, two_words};
use super::{Codes, FourCodes, Raw, Scales, Stored};
use crate::lanes::{Blocks, Vector, columns_16};

/// What is added to codes, which are within 9 of zero.
const OFFSET_LOG2: u32 = 4;

/// The raised codes with their offset.
static GRID: [u64; 2048] = eights_as_words(&iq1_s::GRID, 8, 1 + (1 << OFFSET_LOG2));

/// `raised` without two where byte `byte` of `word` has one of the bits `bits`.
#[inline(always)]
fn lowered<V: Vector>(v: V, raised: V::Ints, word: V::Ints, byte: usize, bits: u8) -> V::Ints {
    v.sub_8(raised, v.where_bits(v.spread_byte(word, byte), v.splat_8(bits), 2))
}

pub(crate) struct Iq1S;

impl Eights<{ iq1_s::BYTES }> for Iq1S {
    #[inline(always)]
    fn patterns(block: &[u8; iq1_s::BYTES], group: usize) -> [u64; 4] {
        let low = part::<4>(block, iq1_s::QS + 4 * group);
        let high = usize::from(u16::from_le_bytes(*part(block, iq1_s::QH + 2 * group)));
        [0, 1, 2, 3].map(|i| GRID[usize::from(low[i]) | (high >> (3 * i) & 7) << 8])
    }
}

impl Stored<{ iq1_s::BYTES }> for Iq1S {
    const GROUPS: usize = 8;
    const SPAN: usize = 2;
    const SUB: usize = 32;
    const CODES: Codes = Codes::Offset(OFFSET_LOG2);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq1_s::BYTES }>, span: usize) -> Raw<V> {
        // Both groups' 16 bits are in one word, the direction on top of each.
        let directions = v.words(blocks, iq1_s::QH + 4 * span);
        let directions = two_words(v, directions, directions);
        [eights::<V, Self, _>(v, blocks, 2 * span), eights::<V, Self, _>(v, blocks, 2 * span + 1), directions]
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        let mut out = [v.zero(); 4];
        for s in 0..2 {
            out[s] = lowered(v, raw[s][k], raw[2][s], 2 * s + 1, 0x80);
        }
        out
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq1_s::BYTES }>) -> Scales<V> {
        Scales { words: columns_16(v, blocks, iq1_s::QH), ..first_f16_times(v, blocks, 0.25) }
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        scale_and_half(v, scales, scales.words[j / 2], 16 * (j % 2) + 12, 3)
    }
}

pub(crate) struct Iq1M;

impl Eights<{ iq1_m::BYTES }> for Iq1M {
    #[inline(always)]
    fn patterns(block: &[u8; iq1_m::BYTES], group: usize) -> [u64; 4] {
        let low = part::<4>(block, 4 * group);
        let high = usize::from(u16::from_le_bytes(*part(block, iq1_m::QH + 2 * group)));
        [0, 1, 2, 3].map(|i| GRID[usize::from(low[i]) | (high >> (4 * i) & 7) << 8])
    }
}

impl Stored<{ iq1_m::BYTES }> for Iq1M {
    const GROUPS: usize = 8;
    const SPAN: usize = 2;
    const SUB: usize = 16;
    const CODES: Codes = Codes::Offset(OFFSET_LOG2);

    #[inline(always)]
    fn raw<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq1_m::BYTES }>, span: usize) -> Raw<V> {
        // Each pattern's nibble has its direction on top.
        let directions = v.words(blocks, iq1_m::QH + 4 * span);
        let directions = two_words(v, directions, directions);
        [eights::<V, Self, _>(v, blocks, 2 * span), eights::<V, Self, _>(v, blocks, 2 * span + 1), directions]
    }
    #[inline(always)]
    fn codes<V: Vector>(v: V, raw: &Raw<V>, _span: usize, k: usize) -> FourCodes<V> {
        let bits = if (k / 2).is_multiple_of(2) { 0x08 } else { 0x80 };
        let mut out = [v.zero(); 4];
        for s in 0..2 {
            out[s] = lowered(v, raw[s][k], raw[2][s], 2 * s + k / 4, bits);
        }
        out
    }
    #[inline(always)]
    fn scales<V: Vector>(v: V, blocks: &Blocks<'_, V, { iq1_m::BYTES }>) -> Scales<V> {
        let [low, high] = [v.words(blocks, iq1_m::SCALES), v.words(blocks, iq1_m::SCALES + 4)];
        // The upper four bits of each half make up d, the lowest of it first.
        let first = v.and(v.srl_32(low, 12), v.splat_32(0x000F));
        let second = v.and(v.srl_32(low, 24), v.splat_32(0x00F0));
        let third = v.and(v.srl_32(high, 4), v.splat_32(0x0F00));
        let fourth = v.and(v.srl_32(high, 16), v.splat_32(0xF000));
        let d = v.f16(v.or(v.or(first, second), v.or(third, fourth)));
        let mut out = Scales::one(v, v.mul(d, v.splat_f(0.25)));
        [out.words[0], out.words[1]] = [low, high];
        out
    }
    #[inline(always)]
    fn scale<V: Vector>(v: V, scales: &Scales<V>, j: usize) -> V::Floats {
        scale_and_half(v, scales, scales.words[j / 8], 16 * (j / 4 % 2) + 3 * (j % 4), 3)
    }
}
